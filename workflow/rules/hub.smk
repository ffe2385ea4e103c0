"""Published models: their training steps are fetched, not trained."""


def fetched(path):
    """Mark a checkpoint as temporary, unless the configuration keeps it."""
    return directory(path) if CONFIG.checkpoints.keep else temp(directory(path))


rule fetch_step:
    input:
        before_fetching,
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
    input:
        PATHS.model.format(model=MODELS[0], step=CONFIG.models[0].steps[0]),
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
    message:
        "Take the tokenizer from the first checkpoint"
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
