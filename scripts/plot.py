"""Draw one figure of the registry from its tables, and write it as PDF and PNG."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.figures.registry import figure_of
from circuitlapse.figures.style import save_figure
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import SCHEMAS

with recorded_job(snakemake) as log:
    figure = figure_of(snakemake.rule)
    tables = {name: read_table(path, SCHEMAS[name]) for name, path in snakemake.input.items()}
    drawn = figure.function()(**tables, **dict(snakemake.params.items()))
    for path in snakemake.output:
        with atomic_path(path) as scratch:
            save_figure(drawn, scratch)
    log.info("drew %s", ", ".join(snakemake.output))
