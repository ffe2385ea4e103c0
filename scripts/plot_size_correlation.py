"""Draw how large circuits are against how large the models are."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import size_correlation_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import BEHAVIOUR, CIRCUIT_SUMMARY, SIZE_CORRELATION

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = size_correlation_figure(
        read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        behaviour=read_table(snakemake.input.behaviour, BEHAVIOUR),
        correlation=read_table(snakemake.input.correlation, SIZE_CORRELATION),
        labels=params.labels,
        tasks=params.tasks,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
