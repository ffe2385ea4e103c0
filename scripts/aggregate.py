"""Make the tables of one entry of the registry, as Parquet and as CSV."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import SCHEMAS
from circuitlapse.tables.registry import job_of


def contents(paths, schema):
    """Read one file at a time; files without a schema are circuits."""
    for path in paths:
        yield read_table(path, SCHEMAS[schema]) if schema else read_circuit(path)


with job_logging(snakemake.log[0]) as log:
    given, output, settings = snakemake.input, snakemake.output, dict(snakemake.params.items())
    job = job_of(snakemake.rule)
    files = {name: contents(given.get(name), source.schema) for name, source in job.files.items()}
    inputs = {name: read_table(given.get(name), SCHEMAS[name]) for name in job.inputs}
    tables = job.run(**files, **inputs, **settings)
    origin = provenance(
        {path: file_hash(path) for path in given}, settings, stage="tables", script=__file__
    )
    for (name, table), parquet, csv in zip(tables.items(), output.parquet, output.csv, strict=True):
        write_table(parquet, table, provenance=origin, csv=csv)
        log.info("%s: %d rows from %d files", name, len(table), len(given))
