"""Name the heads: what every attention head of one model at one step does."""


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
