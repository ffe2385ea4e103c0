"""Draw how a model does with heads taken from another step."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import swaps_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import SWAPS

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = swaps_figure(
        read_table(snakemake.input.swaps, SWAPS), labels=params.labels, tasks=params.tasks
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
