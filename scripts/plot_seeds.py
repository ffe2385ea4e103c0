"""Draw how much behaviour and circuits differ between seeds."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import seeds_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import BEHAVIOUR, CIRCUIT_SUMMARY

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = seeds_figure(
        read_table(snakemake.input.behaviour, BEHAVIOUR),
        summary=read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        variants=params.variants,
        names=params.names,
        tasks=params.tasks,
        min_step=params.min_step,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
