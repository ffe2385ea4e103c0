"""Draw one circuit as a diagram."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import circuit_diagram, why_no_edge
from circuitlapse.figures.style import task_title
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_EDGES, CIRCUIT_SUMMARY, ROLES

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    here = "model == @params.model and task == @params.task and step == @params.step"
    edges = read_table(snakemake.input.edges, CIRCUIT_EDGES).query(here)
    summary = read_table(snakemake.input.summary, CIRCUIT_SUMMARY).query(here)
    figure = circuit_diagram(
        edges,
        roles=read_table(snakemake.input.roles, ROLES).query(here),
        title=f"{params.label} at step {params.step}: {task_title(params.task)}, "
        f"{len(edges)} edges",
        why_empty=why_no_edge(summary["status"]),
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
