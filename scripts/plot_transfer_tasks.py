"""Draw how well the circuit of each task does on every task."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import transfer_tasks_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import TRANSFER

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = transfer_tasks_figure(
        read_table(snakemake.input.transfer, TRANSFER),
        labels=params.labels,
        tasks=params.tasks,
        threshold=params.threshold,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
