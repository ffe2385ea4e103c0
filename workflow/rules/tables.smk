"""Tidy tables, as Parquet and as CSV: one rule per entry of the registry."""

for name, job in JOBS.items():

    rule:
        name:
            f"aggregate_{name}"
        input:
            **PLAN.files_of(job),
            **{table: PATHS.table.format(table=table) for table in job.inputs},
        output:
            parquet=expand(PATHS.table, table=job.tables),
            csv=[csv_of(table) for table in job.tables],
        log:
            log_of(f"aggregate_{name}"),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(1000),
            runtime=minutes(10),
        params:
            **{setting: PLAN.table_settings[setting] for setting in job.settings},
        message:
            job.message
        script:
            "../../scripts/aggregate.py"


rule tables:
    input:
        expand([PATHS.table, PATHS.table_csv], table=TABLES),
    message:
        "All tables are complete"
