"""Draw how well the circuits of all steps do in the models of all steps."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import transfer_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import TRANSFER

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = transfer_figure(
        read_table(snakemake.input.transfer, TRANSFER),
        labels=params.labels,
        tasks=params.tasks,
        threshold=params.threshold,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
