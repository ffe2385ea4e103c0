"""Draw how much the nodes of circuits change from step to step."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import stability_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, STABILITY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = stability_figure(
        read_table(snakemake.input.stability, STABILITY),
        summary=read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
