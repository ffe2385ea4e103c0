"""Run each model once, on the prompts of all tasks, and keep what the analyses need.

Of a model without circuits (`circuits: false`) nothing else is made: its activations are not kept.
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


rule measure_behaviour:
    input:
        model=PATHS.model,
        tasks=expand(PATHS.task, suite=CONFIG.suite, task=TASKS),
    output:
        PATHS.behaviour,
    log:
        f"{PATHS.logs}/measure_behaviour/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/measure_behaviour/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model=one_of(MEASURED),
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
    message:
        "Measure how well {wildcards.model} at step {wildcards.step} does all tasks"
    script:
        "../../scripts/measure_behaviour.py"
