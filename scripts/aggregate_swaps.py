"""Put the swaps of all models into one table."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import SWAPS
from circuitlapse.tables.circuits import stack

with job_logging(snakemake.log[0]) as log:
    frames = [read_table(path, SWAPS) for path in snakemake.input]
    order = dict(snakemake.params.items())
    table = stack(frames, SWAPS, **order)
    log.info("%d rows from %d files", len(table), len(frames))
    origin = provenance({path: file_hash(path) for path in snakemake.input}, order)
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
