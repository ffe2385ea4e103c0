"""What is measured of every model at every step: behaviour, circuits, heads, algorithms.

One job per model and step does all tasks, so that each job loads its model once.
"""


rule models:
    input:
        PLAN.per_step(PATHS.model, CONFIG.models),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
        text=PLAN.text(),
    message:
        "All models, their tokenizer and the text for their heads are complete"


rule cache_activations:
    input:
        model=PATHS.model,
        tasks=PLAN.prompts,
    output:
        activations=[
            kept_if_asked(path)
            for path in expand(PATHS.activations, task=TASKS, allow_missing=True)
        ],
        behaviour=PATHS.behaviour,
    log:
        log_of("cache_activations/{model}/step{step}"),
    benchmark:
        timing_of("cache_activations/{model}/step{step}")
    wildcard_constraints:
        model=pattern_of(model.name for model in PLAN.analysed),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("cache_activations"),
        runtime=minutes_of("cache_activations"),
        gpu=PLAN.gpus,
    params:
        where=where,
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
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
        log_of("measure_behaviour/{model}/step{step}"),
    benchmark:
        timing_of("measure_behaviour/{model}/step{step}")
    wildcard_constraints:
        model=pattern_of(model.name for model in CONFIG.models if not model.circuits),
    params:
        where=where,
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
    message:
        "Measure how well {wildcards.model} at step {wildcards.step} does all tasks"


rule activations:
    input:
        PLAN.kept_activations(),
    message:
        "All activations to keep are complete"


# `update`: when a task is added, circuits that are still valid stay as they are
rule discover_circuit:
    input:
        model=PATHS.model,
        tasks=PLAN.prompts,
        activations=expand(PATHS.activations, task=TASKS, allow_missing=True),
    output:
        [update(path) for path in expand(PATHS.circuit, task=TASKS, allow_missing=True)],
    log:
        log_of("discover_circuit/{model}/step{step}"),
    benchmark:
        timing_of("discover_circuit/{model}/step{step}")
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("discover_circuit"),
        runtime=minutes_of("discover_circuit"),
        gpu=PLAN.gpus,
    params:
        where=where,
        circuits=CONFIG.circuits.model_dump(mode="json"),
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Find the circuits of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/discover_circuit.py"


rule circuits:
    input:
        PLAN.per_step(PATHS.circuit, task=TASKS),
    message:
        "All circuits are complete"


rule score_heads:
    input:
        unpack(lambda wildcards: PLAN.ioi_prompts(**wildcards)),
        model=PATHS.model,
        text=PLAN.text(),
    output:
        PATHS.heads,
    log:
        log_of("score_heads/{model}/step{step}"),
    benchmark:
        timing_of("score_heads/{model}/step{step}")
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("score_heads"),
        runtime=minutes_of("score_heads"),
        gpu=PLAN.gpus,
    params:
        where=where,
        heads=CONFIG.heads.model_dump(mode="json", exclude={"text", "dataset"}),
        seed=CONFIG.seed,
        # a new score runs the rule again
        scores=[*SCORES],
        compute=COMPUTE,
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Score the heads of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/score_heads.py"


rule heads:
    input:
        PLAN.per_step(PATHS.heads),
    message:
        "All head scores are complete"


ALGORITHM_TABLES = ["effects", *JOBS["algorithm"].tables]


rule trace_algorithm:
    input:
        unpack(lambda wildcards: PLAN.known_tasks(**wildcards)),
        model=PATHS.model,
        heads=PATHS.heads,
    output:
        **{
            table: PATHS.algorithm.replace("{table}", table)
            for table in ALGORITHM_TABLES
        },
    log:
        log_of("trace_algorithm/{model}/step{step}"),
    benchmark:
        timing_of("trace_algorithm/{model}/step{step}")
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("trace_algorithm"),
        runtime=minutes_of("trace_algorithm"),
        gpu=PLAN.gpus,
    params:
        where=where,
        algorithm=CONFIG.algorithm.model_dump(mode="json"),
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
        stored_dtype=CONFIG.activations.dtype,
    message:
        "Trace the algorithms of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/trace_algorithm.py"


rule algorithms:
    input:
        PLAN.per_step(PATHS.algorithm, table=ALGORITHM_TABLES),
    message:
        "All algorithms are traced"
