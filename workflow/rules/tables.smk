"""Tidy tables, as Parquet and as CSV: one rule per entry of the registry."""

TABLE_SETTINGS = {
    "models": MODELS,
    "originals": ORIGINALS,
    "tasks": TASKS,
    "built": {builder: CONFIG.built_by(builder) for builder in BUILDERS},
    "named": pythia_sizes(),
    "stability": CONFIG.stability.model_dump(mode="json"),
    "min_step": CONFIG.stability.min_step,
    "length": CONFIG.heads.length,
    "corruption": CONFIG.task(IOI).corruption if IOI else None,
    "copy_ln": CONFIG.heads.copy_ln,
}


def files_of(source):
    """Return the files of other jobs that a table is read from."""
    template = getattr(PATHS, source.path)
    if "{step}" not in template:
        return per_model(template)
    models = CONFIG.models if source.every_model else ANALYSED
    return per_step(template, models, task=TASKS, table=source.table)


def csv_of(table):
    """Return the path of a table as CSV; the report shows that of `reproduction`."""
    path = PATHS.table_csv.format(table=table)
    if table != "reproduction":
        return path
    return report(
        path,
        caption="../report/reproduction.rst",
        category="Reproduction",
        labels={"table": TABLES[table]},
    )


for name, job in JOBS.items():

    rule:
        name:
            f"aggregate_{name}"
        input:
            **{argument: files_of(source) for argument, source in job.files.items()},
            **{table: PATHS.table.format(table=table) for table in job.inputs},
        output:
            parquet=expand(PATHS.table, table=job.tables),
            csv=[csv_of(table) for table in job.tables],
        log:
            f"{PATHS.logs}/aggregate_{name}.log",
        benchmark:
            f"{PATHS.benchmarks}/aggregate_{name}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(10),
        params:
            **{setting: TABLE_SETTINGS[setting] for setting in job.settings},
        message:
            job.message
        script:
            "../../scripts/aggregate.py"


rule tables:
    input:
        expand([PATHS.table, PATHS.table_csv], table=TABLES),
    message:
        "All tables are there"
