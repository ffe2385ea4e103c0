"""Correlate the sizes of circuits with those of the models that they are in."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import BEHAVIOUR, CIRCUIT_SUMMARY
from circuitlapse.tables.size_correlation import size_correlation_table

with job_logging(snakemake.log[0]) as log:
    given, params = snakemake.input, dict(snakemake.params.items())
    table = size_correlation_table(
        read_table(given.summary, CIRCUIT_SUMMARY), read_table(given.behaviour, BEHAVIOUR), **params
    )
    log.info("%d rows", len(table))
    origin = provenance({path: file_hash(path) for path in given}, params)
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
