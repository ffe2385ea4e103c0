"""Put the transfers of all circuits into one table."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import CIRCUIT_SUMMARY, TRANSFER
from circuitlapse.tables.circuits import transfer_table

with job_logging(snakemake.log[0]) as log:
    given, order = snakemake.input, dict(snakemake.params.items())
    frames = [read_table(path, TRANSFER) for path in given.transfers]
    table = transfer_table(frames, summary=read_table(given.summary, CIRCUIT_SUMMARY), **order)
    log.info("%d rows from %d files", len(table), len(frames))
    origin = provenance(
        {path: file_hash(path) for path in (*given.transfers, given.summary)}, order
    )
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
