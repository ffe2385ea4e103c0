"""Draw whether Greater-Than circuits do what the known algorithm does, over training."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import greater_than_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, GT_ALGORITHM

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = greater_than_figure(
        read_table(snakemake.input.checks, GT_ALGORITHM),
        summary=read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        task=params.task,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
