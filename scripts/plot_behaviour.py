"""Draw how well each model does each task, over training."""

from circuitlapse.figures import behaviour_figure, save_figure
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.tables import read_table
from circuitlapse.jobs import job_logging
from circuitlapse.schemas import BEHAVIOUR

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = behaviour_figure(
        read_table(snakemake.input.behaviour, BEHAVIOUR),
        labels=params.labels,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    for target in snakemake.output:
        with atomic_path(target) as scratch:
            save_figure(figure, scratch)
        log.info("drew %s", target)
