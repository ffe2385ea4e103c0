"""Draw faithfulness against circuit size, at each model's last step."""

from circuitlapse.jobs import job_logging
from circuitlapse.figures import faithfulness_figure
from circuitlapse.io.figure_files import write_figure
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, FAITHFULNESS_CURVE, RANKING_CURVE

with job_logging(snakemake.log[0]) as log:
    params = snakemake.params
    figure = faithfulness_figure(
        read_table(snakemake.input.curve, FAITHFULNESS_CURVE),
        rankings=read_table(snakemake.input.rankings, RANKING_CURVE),
        summary=read_table(snakemake.input.summary, CIRCUIT_SUMMARY),
        labels=params.labels,
        tasks=params.tasks,
        threshold=params.threshold,
    )
    write_figure(figure, snakemake.output)
    log.info("drew %s", ", ".join(snakemake.output))
