"""Put what was traced of the known algorithms, in all models and steps, into tables."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import ALGORITHM_SCHEMAS, CIRCUIT_SUMMARY
from circuitlapse.tables.circuits import algorithm_table

with job_logging(snakemake.log[0]) as log:
    given, order, output = snakemake.input, dict(snakemake.params.items()), snakemake.output
    summary = read_table(given.summary, CIRCUIT_SUMMARY)
    for schema, parquet, csv in zip(ALGORITHM_SCHEMAS, output.parquet, output.csv, strict=True):
        paths = given.get(schema.name)
        frames = [read_table(path, schema) for path in paths]
        table = algorithm_table(frames, schema, summary=summary, **order)
        origin = provenance({path: file_hash(path) for path in (*paths, given.summary)}, order)
        write_table(parquet, table, provenance=origin, csv=csv)
        log.info("%s: %d rows from %d files", schema.name, len(table), len(paths))
