"""Draw the best induction, duplicate-token and previous-token heads of each model."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import tertiary_heads_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import COMPONENTS

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = tertiary_heads_figure(
        read_table(snakemake.input.components, COMPONENTS),
        labels=params.labels,
        length=params.length,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
