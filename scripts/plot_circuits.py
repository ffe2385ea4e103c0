"""Draw how large and how faithful the circuit of each task is, over training."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import circuits_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
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
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
