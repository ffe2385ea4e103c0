"""Draw how much the circuit of each step has in common with that of the reference step."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import stability_reference_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, STABILITY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = stability_reference_figure(
        read_table(snakemake.input.stability, STABILITY),
        summary=read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
