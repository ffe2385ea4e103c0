"""Published models: their training steps are fetched, not trained."""


rule fetch_step:
    output:
        directory(PATHS.model),
    log:
        f"{PATHS.logs}/fetch_step/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/fetch_step/{{model}}/step{{step}}.tsv"
    wildcard_constraints:
        model="|".join(map(re.escape, PUBLISHED)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        downloads=1,
    params:
        source=lambda wildcards: CONFIG.model(wildcards.model).source(wildcards.step),
    message:
        "Fetch {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/fetch_step.py"
