"""Tidy tables, as Parquet and as CSV."""

CIRCUIT_TABLES = [
    "circuit_summary",
    "faithfulness_curve",
    "circuit_edges",
    "ranking_curve",
    "ranking_area",
]


rule aggregate_behaviour:
    input:
        per_step(PATHS.behaviour, CONFIG.models),
    output:
        parquet=PATHS.table.format(table="behaviour"),
        csv=PATHS.table_csv.format(table="behaviour"),
    log:
        f"{PATHS.logs}/aggregate_behaviour.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_behaviour.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
    message:
        "Collect the behaviour of all models"
    script:
        "../../scripts/aggregate_behaviour.py"


rule aggregate_circuits:
    input:
        per_step(PATHS.circuit, task=TASKS),
    output:
        parquet=expand(PATHS.table, table=CIRCUIT_TABLES),
        csv=expand(PATHS.table_csv, table=CIRCUIT_TABLES),
    log:
        f"{PATHS.logs}/aggregate_circuits.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_circuits.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
    message:
        "Collect all circuits"
    script:
        "../../scripts/aggregate_circuits.py"


rule aggregate_algorithm:
    input:
        s2i=per_step(PATHS.algorithm, table="s2i"),
        roles=per_step(PATHS.algorithm, table="roles"),
        algorithm_consistency=per_step(PATHS.algorithm, table="algorithm_consistency"),
        gt_algorithm=per_step(PATHS.algorithm, table="gt_algorithm"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        parquet=expand(PATHS.table, table=ALGORITHM_TABLES),
        csv=expand(PATHS.table_csv, table=ALGORITHM_TABLES),
    log:
        f"{PATHS.logs}/aggregate_algorithm.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_algorithm.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
    message:
        "Collect what was traced of the algorithms"
    script:
        "../../scripts/aggregate_algorithm.py"


rule aggregate_components:
    input:
        scores=[
            *per_step(PATHS.heads),
            *per_step(PATHS.algorithm, table="effects"),
        ],
        summary=PATHS.table.format(table="circuit_summary"),
        edges=PATHS.table.format(table="circuit_edges"),
    output:
        parquet=PATHS.table.format(table="components"),
        csv=PATHS.table_csv.format(table="components"),
    log:
        f"{PATHS.logs}/aggregate_components.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_components.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        built={builder: CONFIG.built_by(builder) for builder in BUILDERS},
    message:
        "Collect the scores of all heads"
    script:
        "../../scripts/aggregate_components.py"


rule aggregate_stability:
    input:
        circuits=per_step(PATHS.circuit, task=TASKS),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        parquet=PATHS.table.format(table="stability"),
        csv=PATHS.table_csv.format(table="stability"),
    log:
        f"{PATHS.logs}/aggregate_stability.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_stability.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
        originals=ORIGINALS,
        settings=CONFIG.stability.model_dump(mode="json"),
    message:
        "Compare circuits over training"
    script:
        "../../scripts/aggregate_stability.py"


rule aggregate_size_correlation:
    input:
        summary=PATHS.table.format(table="circuit_summary"),
        behaviour=PATHS.table.format(table="behaviour"),
    output:
        parquet=PATHS.table.format(table="size_correlation"),
        csv=PATHS.table_csv.format(table="size_correlation"),
    log:
        f"{PATHS.logs}/aggregate_size_correlation.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_size_correlation.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=ORIGINALS,
        tasks=TASKS,
        min_step=CONFIG.stability.min_step,
    message:
        "Correlate the sizes of circuits with those of models"
    script:
        "../../scripts/aggregate_size_correlation.py"


rule aggregate_transfer:
    input:
        transfers=per_model(PATHS.transfer),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        parquet=PATHS.table.format(table="transfer"),
        csv=PATHS.table_csv.format(table="transfer"),
    log:
        f"{PATHS.logs}/aggregate_transfer.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_transfer.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
    message:
        "Collect how circuits do elsewhere"
    script:
        "../../scripts/aggregate_transfer.py"


rule aggregate_swaps:
    input:
        per_model(PATHS.swaps),
    output:
        parquet=PATHS.table.format(table="swaps"),
        csv=PATHS.table_csv.format(table="swaps"),
    log:
        f"{PATHS.logs}/aggregate_swaps.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_swaps.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        models=MODELS,
        tasks=TASKS,
    message:
        "Collect all swaps of heads"
    script:
        "../../scripts/aggregate_swaps.py"


rule aggregate_reproduction:
    input:
        **{
            table: PATHS.table.format(table=table)
            for table in (
                "behaviour",
                "circuit_summary",
                "components",
                "roles",
                "stability",
                "size_correlation",
            )
        },
    output:
        parquet=PATHS.table.format(table="reproduction"),
        csv=report(
            PATHS.table_csv.format(table="reproduction"),
            caption="../report/reproduction.rst",
            category="Reproduction",
            labels={"table": "what others found, and this run"},
        ),
    log:
        f"{PATHS.logs}/aggregate_reproduction.log",
    benchmark:
        f"{PATHS.benchmarks}/aggregate_reproduction.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        named=pythia_sizes(),
        tasks={builder: CONFIG.built_by(builder) for builder in BUILDERS},
        length=CONFIG.heads.length,
        corruption=CONFIG.task(IOI).corruption if IOI else None,
        copy_ln=CONFIG.heads.copy_ln,
    message:
        "Compare this run with what others found"
    script:
        "../../scripts/aggregate_reproduction.py"


rule tables:
    input:
        expand(
            [PATHS.table, PATHS.table_csv],
            table=[
                "behaviour",
                *CIRCUIT_TABLES,
                *ALGORITHM_TABLES,
                "components",
                "stability",
                "size_correlation",
                "transfer",
                "swaps",
                "reproduction",
            ],
        ),
    message:
        "All tables are there"
