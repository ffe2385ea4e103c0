"""Find the circuit of every task in one model at one step.

One job does all tasks, so that the model is loaded once. Its outputs are marked `update`:
when a task is added, the circuits that are already there and still valid are kept.
"""


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
