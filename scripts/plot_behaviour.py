"""Draw how well each model does each task, over training."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import behaviour_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import BEHAVIOUR

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = behaviour_figure(
        read_table(snakemake.input.behaviour, BEHAVIOUR),
        labels=params.labels,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
