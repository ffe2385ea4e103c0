"""Make the tables of one entry of the registry, as Parquet and as CSV."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.io.weight_files import read_fingerprint
from circuitlapse.records import read_records
from circuitlapse.schemas import AUDIT, SCHEMAS
from circuitlapse.tables.left_out import kept, with_audit
from circuitlapse.tables.registry import job_of

READERS = {"circuit": read_circuit, "weights": read_fingerprint, "audited": read_records}


def contents(paths, source):
    """Read one file at a time, without checkpoints that are left out."""
    read = READERS.get(source.path) or (lambda path: read_table(path, SCHEMAS[source.schema]))
    found = map(read, paths)
    return found if audit is None else kept(found, audit)


with recorded_job(snakemake) as log:
    given, output, settings = snakemake.input, snakemake.output, dict(snakemake.params.items())
    job = job_of(snakemake.rule)
    source = given.get("audit")
    audit = read_table(source, AUDIT) if source else None
    files = {name: contents(given.get(name, ()), source) for name, source in job.files.items()}
    inputs = {name: read_table(given.get(name), SCHEMAS[name]) for name in job.inputs}
    tables = job.run(**files, **inputs, **settings)
    if audit is not None:
        tables = {name: with_audit(table, name, audit) for name, table in tables.items()}
    origin = provenance(
        {path: file_hash(path) for path in given}, settings, stage="tables", script=__file__
    )
    for (name, table), parquet, csv in zip(tables.items(), output.parquet, output.csv, strict=True):
        write_table(parquet, table, provenance=origin, csv=csv)
        log.info("%s: %d rows from %d files", name, len(table), len(given))
