"""Draw what the heads of the IOI circuit do, over training."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import ioi_components_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import COMPONENTS, S2I

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = ioi_components_figure(
        read_table(snakemake.input.components, COMPONENTS),
        s2i=read_table(snakemake.input.s2i, S2I),
        labels=params.labels,
        task=params.task,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
