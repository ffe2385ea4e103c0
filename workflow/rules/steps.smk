"""What is measured of every model at every step: behaviour, circuits, heads, algorithms.

A job does all tasks of a model at a step in turn, so that it loads the model once. With
`compute.tasks_per_job: 1`, activations, behaviour and circuits have a job per task.
"""


rule models:
    input:
        PLAN.per_step(PATHS.model, CONFIG.models),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
        text=PLAN.text(),
    message:
        "All models, their tokenizer and the text for their heads are complete"


if PLAN.verified:

    # `update`: the record stays while its job starts, because it says which step it is about
    rule verify_model:
        input:
            model=lambda wildcards: PATHS.model.format(
                model=wildcards.model, step=PLAN.verified_step(**wildcards)
            ),
        output:
            update(PLAN.verified),
        log:
            log_of(PLAN.verify_job),
        # first of all: a wrong model shows before hours of training
        priority: 10
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, input, attempt: memory_mb(
                1500 + loading_mb([input.model], VERIFYING), attempt
            ),
            runtime=minutes(60),
        params:
            step=lambda wildcards: PLAN.verified_step(**wildcards),
        message:
            "Compare {wildcards.model} with TransformerLens at step {params.step}"
        script:
            "../../scripts/verify_model.py"


rule cache_activations:
    input:
        model=PATHS.model,
        verified=VERIFIED,
        tasks=PLAN.of_job(TASK),
    output:
        activations=[kept_if_asked(path) for path in PLAN.of_job(PATHS.activations)],
        behaviour=PLAN.of_job(PATHS.behaviour),
        by_group=PLAN.of_job(PATHS.by_group),
    log:
        log_of(PLAN.job_name("cache_activations")),
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
        f"Run {{wildcards.model}} at step {{wildcards.step}} on {TASKS_OF_JOB}"
    script:
        "../../scripts/cache_activations.py"


# a model with `circuits: false`: its behaviour is measured, and nothing else
use rule cache_activations as measure_behaviour with:
    output:
        behaviour=PLAN.of_job(PATHS.behaviour),
        by_group=PLAN.of_job(PATHS.by_group),
    log:
        log_of(PLAN.job_name("measure_behaviour")),
    wildcard_constraints:
        model=pattern_of(model.name for model in CONFIG.models if not model.circuits),
    params:
        where=where,
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
    message:
        f"Measure how well {{wildcards.model}} at step {{wildcards.step}} does {TASKS_OF_JOB}"


rule activations:
    input:
        PLAN.kept_activations(),
    message:
        "All activations to keep are complete"


# `update`: when the job runs again, circuits that are still valid stay as they are
rule discover_circuit:
    input:
        model=PATHS.model,
        verified=VERIFIED,
        tasks=PLAN.of_job(TASK),
        activations=PLAN.of_job(PATHS.activations),
    output:
        [update(path) for path in PLAN.of_job(PATHS.circuit)],
    log:
        log_of(PLAN.job_name("discover_circuit")),
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
        f"Find the circuits of {{wildcards.model}} at step {{wildcards.step}} on {TASKS_OF_JOB}"
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
        verified=VERIFIED,
        text=PLAN.text(),
    output:
        PATHS.heads,
    log:
        log_of("score_heads/{model}/step{step}"),
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
        bootstrap=BOOTSTRAP,
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


ALGORITHM_TABLES = ["effects", "role_splits", *JOBS["algorithm"].tables]


rule trace_algorithm:
    input:
        unpack(lambda wildcards: PLAN.known_tasks(**wildcards)),
        model=PATHS.model,
        verified=VERIFIED,
        heads=PATHS.heads,
    output:
        **{
            table: PATHS.algorithm.replace("{table}", table)
            for table in ALGORITHM_TABLES
        },
    log:
        log_of("trace_algorithm/{model}/step{step}"),
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
        lengths=CONFIG.heads.lengths,
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
