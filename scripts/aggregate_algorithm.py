"""Put what was traced of the known algorithms, in all models and steps, into tables."""

from circuitlapse.jobs import job_logging
from circuitlapse.aggregate import stack
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.tables import read_table, write_table
from circuitlapse.schemas import ALGORITHM_SCHEMAS

with job_logging(snakemake.log[0]) as log:
    order, output = dict(snakemake.params.items()), snakemake.output
    for schema, parquet, csv in zip(ALGORITHM_SCHEMAS, output.parquet, output.csv, strict=True):
        paths = snakemake.input.get(schema.name)
        table = stack((read_table(path, schema) for path in paths), schema, **order)
        origin = provenance({path: file_hash(path) for path in paths}, order)
        write_table(parquet, table, provenance=origin, csv=csv)
        log.info("%s: %d rows from %d files", schema.name, len(table), len(paths))
