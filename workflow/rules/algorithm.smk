"""Trace the known algorithms: which heads and MLPs do which part of IOI and of Greater-Than."""

ALGORITHM_TABLES = ["s2i", "roles", "algorithm_consistency", "gt_algorithm"]


rule trace_algorithm:
    input:
        unpack(known_tasks),
        model=PATHS.model,
        heads=PATHS.heads,
    output:
        expand(
            PATHS.algorithm, table=["effects", *ALGORITHM_TABLES], allow_missing=True
        ),
    log:
        f"{PATHS.logs}/trace_algorithm/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/trace_algorithm/{{model}}/step{{step}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1300 + FORWARD_MB),
        runtime=minutes(60),
        gpu=GPUS,
    params:
        where=model_params,
        algorithm=CONFIG.algorithm.model_dump(mode="json"),
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Trace the algorithms of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/trace_algorithm.py"


rule algorithms:
    input:
        per_step(PATHS.algorithm, table=["effects", *ALGORITHM_TABLES]),
    message:
        "All algorithms are traced"
