"""Published models: checkpoints are downloaded, not trained."""


def fetched(path):
    """Mark a checkpoint as temporary, unless the configuration keeps it."""
    return directory(path) if CONFIG.checkpoints.keep else temp(directory(path))


localrules:
    reserve_disk,


# The prerequisites belong to this rule, not to fetch_step: otherwise one more step in a schedule
# would make Snakemake fetch and analyse every later step again.
rule reserve_disk:
    input:
        before_fetching,
    output:
        touch(PATHS.reserved),
    message:
        "Reserve disk space for {wildcards.model} at step {wildcards.step}"


rule fetch_step:
    input:
        ancient(PATHS.reserved),
    output:
        fetched(PATHS.model),
    log:
        f"{PATHS.logs}/fetch_step/{{model}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/fetch_step/{{model}}/step{{step}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
        downloads=1,
    params:
        source=lambda wildcards: CONFIG.model(wildcards.model).hub.source(
            int(wildcards.step)
        ),
    message:
        "Fetch {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/fetch_step.py"


rule take_tokenizer:
    output:
        PATHS.tokenizer.format(suite=CONFIG.suite),
    log:
        f"{PATHS.logs}/take_tokenizer.log",
    benchmark:
        f"{PATHS.benchmarks}/take_tokenizer.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
        downloads=1,
    params:
        source=CONFIG.models[0].hub.source(CONFIG.models[0].steps[0]),
    message:
        "Take the tokenizer of the first model"
    script:
        "../../scripts/take_tokenizer.py"


rule fetch_text:
    output:
        PATHS.text.format(suite=CONFIG.suite),
    log:
        f"{PATHS.logs}/fetch_text.log",
    benchmark:
        f"{PATHS.benchmarks}/fetch_text.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        downloads=1,
    params:
        dataset=CONFIG.heads.dataset,
        n_documents=3 * max(CONFIG.heads.n_mean, CONFIG.heads.n_documents),
        min_letters=10 * CONFIG.heads.n_positions,
    message:
        "Fetch text from {params.dataset}"
    script:
        "../../scripts/fetch_text.py"
