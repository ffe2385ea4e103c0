"""Draw when heads that do the work appear: one per model, the best one, how many."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import components_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import COMPONENTS

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = components_figure(
        read_table(snakemake.input.components, COMPONENTS),
        labels=params.labels,
        tasks=params.tasks,
        length=params.length,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
