"""Put the scores of all heads into one table."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import CIRCUIT_EDGES, CIRCUIT_SUMMARY, HEADS
from circuitlapse.tables.components import components_table

with job_logging(snakemake.log[0]) as log:
    given, settings = snakemake.input, dict(snakemake.params.items())
    table = components_table(
        (read_table(path, HEADS) for path in given.scores),
        summary=read_table(given.summary, CIRCUIT_SUMMARY),
        edges=read_table(given.edges, CIRCUIT_EDGES),
        **settings,
    )
    log.info("%d rows from %d files", len(table), len(given.scores))
    origin = provenance({path: file_hash(path) for path in given}, settings)
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
