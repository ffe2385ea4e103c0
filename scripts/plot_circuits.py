"""Draw how large and how faithful the circuit of each task is, over training."""

from circuitlapse.figures import circuits_figure, save_figure
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.tables import read_table
from circuitlapse.jobs import job_logging
from circuitlapse.schemas import CIRCUIT_SUMMARY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = circuits_figure(
        read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        tasks=params.tasks,
        threshold=params.threshold,
        min_step=params.min_step,
    )
    for target in snakemake.output:
        with atomic_path(target) as scratch:
            save_figure(figure, scratch)
        log.info("drew %s", target)
