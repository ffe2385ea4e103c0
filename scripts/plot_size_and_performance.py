"""Draw how large circuits are beside how well the models do the tasks."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import size_and_performance_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_SUMMARY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = size_and_performance_figure(
        read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
