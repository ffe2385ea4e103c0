"""Does the algorithm stay? Run the circuits of all steps in the models of all others.

One job does all steps of a model, because a circuit of one step is needed at each of them. It
keeps what it has done in a folder of its own, so that the next attempt goes on where one failed.
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
