"""Draw whether the heads with a known role carry the IOI algorithm, over training."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import algorithm_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import ALGORITHM_CONSISTENCY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = algorithm_figure(
        read_table(snakemake.input.consistency, ALGORITHM_CONSISTENCY),
        labels=params.labels,
        task=params.task,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
