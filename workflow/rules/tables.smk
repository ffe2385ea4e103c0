"""Tidy tables, as Parquet and as CSV: one rule per entry of the registry."""

for made, name, job in jobs_of(RESULTS):

    rule:
        name:
            f"aggregate_{made.prefix}{name}"
        input:
            **made.plan.files_of(job),
            **made.tables([*job.inputs, *["audit"] * (job.audited and not made.prefix)]),
        output:
            parquet=expand(made.plan.paths.table, table=job.tables),
            csv=[csv_of(made.plan.paths, table) for table in job.tables],
        log:
            log_of(f"aggregate_{made.prefix}{name}"),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(1000),
            runtime=minutes(10),
        params:
            **{setting: made.plan.table_settings[setting] for setting in job.settings},
        message:
            job.message
        script:
            "../../scripts/aggregate.py"


rule tables:
    input:
        [made.table_files for made in RESULTS.values()],
    message:
        "All tables are complete"
