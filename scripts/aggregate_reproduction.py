"""Compare the tables of this run with what the study and others found."""

import pandas as pd

from circuitlapse.jobs import job_logging
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import write_table
from circuitlapse.tables.reproduction import STATEMENTS, Run, reproduction_table

with job_logging(snakemake.log[0]) as log:
    settings = dict(snakemake.params.items())
    tables = {name: pd.read_parquet(path) for name, path in snakemake.input.items()}
    table = reproduction_table(Run(tables, **settings), STATEMENTS)
    for verdict, count in table["verdict"].value_counts().items():
        log.info("%s: %d statements", verdict, count)
    origin = provenance({path: file_hash(path) for path in snakemake.input}, settings)
    write_table(snakemake.output.parquet, table, provenance=origin, csv=snakemake.output.csv)
