"""Compare the circuits of every model over training, and those of two halves of the prompts."""

from circuitlapse.jobs import job_logging
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.schemas import CIRCUIT_SUMMARY
from circuitlapse.settings import Stability
from circuitlapse.tables.stability import stability_table

with job_logging(snakemake.log[0]) as log:
    given, params = snakemake.input, dict(snakemake.params.items())
    table = stability_table(
        (read_circuit(path) for path in given.circuits),
        summary=read_table(given.summary, CIRCUIT_SUMMARY),
        **params | {"settings": Stability(**params["settings"])},
    )
    log.info("%d rows from %d circuits", len(table), len(given.circuits))
    origin = provenance({path: file_hash(path) for path in given}, params)
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
