"""What the steps of one model exchange: circuits, and sets of heads.

One job does all steps of a model. It keeps finished steps in a folder of its own, so a retry
goes on where the last attempt failed.
"""


rule transfer_circuits:
    input:
        models=at_steps(PATHS.model, CONFIG.transfer_steps),
        tasks=expand(PATHS.task, suite=CONFIG.suite, task=TASKS),
        circuits=at_steps(
            expand(PATHS.circuit, task=TASKS, allow_missing=True),
            CONFIG.transfer_steps,
        ),
    output:
        PATHS.transfer,
    log:
        f"{PATHS.logs}/transfer_circuits/{{model}}.log",
    benchmark:
        f"{PATHS.benchmarks}/transfer_circuits/{{model}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1300 + FORWARD_MB),
        runtime=minutes(240),
        gpu=GPUS,
    params:
        where=params_at(CONFIG.transfer_steps),
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
        parts=PATHS.transfer_parts,
    message:
        "Exchange the circuits of {wildcards.model} between steps and tasks"
    script:
        "../../scripts/transfer_circuits.py"


rule transfer:
    input:
        per_model(PATHS.transfer),
    message:
        "All circuits were exchanged"


rule swap_components:
    input:
        unpack(known_heads),
        models=at_steps(PATHS.model, swapping_steps),
        tasks=expand(PATHS.task, suite=CONFIG.suite, task=TASKS),
        circuits=at_steps(
            expand(PATHS.circuit, task=TASKS, allow_missing=True), lending_steps
        ),
    output:
        PATHS.swaps,
    log:
        f"{PATHS.logs}/swap_components/{{model}}.log",
    benchmark:
        f"{PATHS.benchmarks}/swap_components/{{model}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_with_models(1500 + FORWARD_MB, at_once=2),
        runtime=minutes(240),
        gpu=GPUS,
    params:
        where=params_at(swapping_steps),
        pairs=lambda wildcards: CONFIG.swap_pairs(wildcards.model),
        random_sets=CONFIG.swaps.random_sets,
        seed=CONFIG.seed,
        bootstrap=BOOTSTRAP,
        compute=CONFIG.compute.model_dump(mode="json"),
        parts=PATHS.swaps_parts,
    message:
        "Swap heads of {wildcards.model} between steps"
    script:
        "../../scripts/swap_components.py"


rule swaps:
    input:
        per_model(PATHS.swaps),
    message:
        "All swaps are there"
