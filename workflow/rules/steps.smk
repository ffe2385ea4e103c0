"""What is measured of every model at every step: behaviour, circuits, heads, algorithms.

One job per model and step does all tasks, so that each job loads its model once.
"""


rule cache_activations:
    input:
        model=PATHS.model,
        tasks=expand(PATHS.task, suite=CONFIG.suite, task=TASKS),
    output:
        activations=[
            kept_if_asked(path)
            for path in expand(PATHS.activations, task=TASKS, allow_missing=True)
        ],
        behaviour=PATHS.behaviour,
    log:
        f"{PATHS.logs}/cache_activations/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/cache_activations/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model=one_of(model.name for model in ANALYSED),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1000 + FORWARD_MB),
        runtime=minutes(30),
        gpu=GPUS,
    params:
        where=model_params,
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Run {wildcards.model} at step {wildcards.step} on all tasks"
    script:
        "../../scripts/cache_activations.py"


# a model with `circuits: false`: its behaviour is measured, and nothing else
use rule cache_activations as measure_behaviour with:
    output:
        behaviour=PATHS.behaviour,
    log:
        f"{PATHS.logs}/measure_behaviour/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/measure_behaviour/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model=one_of(MEASURED),
    params:
        where=model_params,
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
    message:
        "Measure how well {wildcards.model} at step {wildcards.step} does all tasks"


# a new task leaves circuits in place that are still valid (`update`)
rule discover_circuit:
    input:
        model=PATHS.model,
        tasks=expand(PATHS.task, suite=CONFIG.suite, task=TASKS),
        activations=expand(PATHS.activations, task=TASKS, allow_missing=True),
    output:
        [update(path) for path in expand(PATHS.circuit, task=TASKS, allow_missing=True)],
    log:
        f"{PATHS.logs}/discover_circuit/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/discover_circuit/{{model}}/step{{step}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1300 + FORWARD_MB),
        runtime=minutes(120),
        gpu=GPUS,
    params:
        where=model_params,
        circuits=CONFIG.circuits.model_dump(mode="json"),
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Find the circuits of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/discover_circuit.py"


rule circuits:
    input:
        per_step(PATHS.circuit, task=TASKS),
    message:
        "All circuits are there"


rule score_heads:
    input:
        unpack(ioi_prompts),
        model=PATHS.model,
        text=text_for_heads,
    output:
        PATHS.heads,
    log:
        f"{PATHS.logs}/score_heads/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/score_heads/{{model}}/step{{step}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1000 + FORWARD_MB),
        runtime=minutes(60),
        gpu=GPUS,
    params:
        where=model_params,
        heads=CONFIG.heads.model_dump(mode="json", exclude={"text", "dataset"})
        | {"seed": CONFIG.seed},
        compute=CONFIG.compute.model_dump(mode="json"),
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Score the heads of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/score_heads.py"


rule heads:
    input:
        per_step(PATHS.heads),
    message:
        "All head scores are there"


ALGORITHM_TABLES = ["effects", *JOBS["algorithm"].tables]


rule trace_algorithm:
    input:
        unpack(known_tasks),
        model=PATHS.model,
        heads=PATHS.heads,
    output:
        expand(PATHS.algorithm, table=ALGORITHM_TABLES, allow_missing=True),
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
        per_step(PATHS.algorithm, table=ALGORITHM_TABLES),
    message:
        "All algorithms are traced"
