"""Put all circuits into tidy tables: summary, faithfulness curve, edges."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import write_table
from circuitlapse.tables.circuits import circuit_tables

with job_logging(snakemake.log[0]) as log:
    order = {"models": snakemake.params.models, "tasks": snakemake.params.tasks}
    tables = circuit_tables((read_circuit(path) for path in snakemake.input), **order)
    origin = provenance({path: file_hash(path) for path in snakemake.input}, order)
    for table, parquet, csv in zip(
        tables, snakemake.output.parquet, snakemake.output.csv, strict=True
    ):
        write_table(parquet, table, provenance=origin, csv=csv)
        log.info("%s: %d rows", parquet, len(table))
