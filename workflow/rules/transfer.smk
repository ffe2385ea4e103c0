"""What the steps of one model exchange: circuits, and sets of heads.

One job does all steps of a model. It keeps finished steps in a folder of its own, so a retry
goes on where the last attempt failed.
"""


rule transfer_circuits:
    input:
        unpack(lambda wildcards: PLAN.transfer_inputs(wildcards.model)),
        tasks=PLAN.prompts,
    output:
        PATHS.transfer,
    log:
        log_of("transfer_circuits/{model}"),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("transfer_circuits"),
        runtime=minutes_of("transfer_circuits"),
        gpu=PLAN.gpus,
    params:
        where=lambda wildcards: PLAN.transferred(wildcards.model),
        random_circuits=CONFIG.transfer.random_circuits,
        seed=CONFIG.seed,
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
        parts=PATHS.transfer_parts,
    message:
        "Exchange the circuits of {wildcards.model} between steps and tasks"
    script:
        "../../scripts/transfer_circuits.py"


rule transfer:
    input:
        PLAN.per_model(PATHS.transfer),
    message:
        "All transfers are complete"


rule swap_components:
    input:
        unpack(lambda wildcards: PLAN.swap_inputs(wildcards.model)),
        tasks=PLAN.prompts,
    output:
        PATHS.swaps,
    log:
        log_of("swap_components/{model}"),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory_of("swap_components"),
        runtime=minutes_of("swap_components"),
        gpu=PLAN.gpus,
    params:
        where=lambda wildcards: PLAN.swapped(wildcards.model),
        pairs=lambda wildcards: CONFIG.swap_pairs(wildcards.model),
        role_rule=CONFIG.algorithm.rule,
        lengths=CONFIG.heads.lengths,
        random_sets=CONFIG.swaps.random_sets,
        seed=CONFIG.seed,
        bootstrap=BOOTSTRAP,
        compute=COMPUTE,
        parts=PATHS.swaps_parts,
    message:
        "Swap heads of {wildcards.model} between steps"
    script:
        "../../scripts/swap_components.py"


rule swaps:
    input:
        PLAN.per_model(PATHS.swaps),
    message:
        "All swaps are complete"
