"""Published models: checkpoints are downloaded, not trained."""


localrules:
    reserve_disk,


if AUDIT.asked:

    # What it finds is read when the workflow starts. If checkpoints have to be left out that were
    # not known then, the job fails, and the next start leaves them out.
    rule audit_hub:
        output:
            PATHS.audited,
        log:
            log_of("audit_hub"),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(2000),
            runtime=minutes(60),
            downloads=1,
        params:
            asked=AUDIT.asked,
            left_out=AUDIT.left_out,
            duplicates=CONFIG.checkpoints.duplicates,
            found=PATHS.audit_found,
            listings=PATHS.audit_listings,
        message:
            "Audit what the hub serves for every checkpoint"
        script:
            "../../scripts/audit_hub.py"


# The prerequisites belong to this rule, not to fetch_step: otherwise one more step in a schedule
# would make Snakemake fetch and analyse every later step again.
rule reserve_disk:
    input:
        lambda wildcards: PLAN.before_fetching(**wildcards),
    output:
        touch(PATHS.reserved),
    message:
        "Reserve disk space for {wildcards.model} at step {wildcards.step}"


rule fetch_step:
    input:
        ancient(PATHS.reserved),
        audited=ancient(PATHS.audited) if AUDIT.asked else [],
    output:
        fetched(PATHS.model),
        PATHS.weights,
    log:
        log_of("fetch_step/{model}/step{step}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
        downloads=1,
    params:
        source=lambda wildcards: AUDIT.source(**wildcards),
        where=where,
    message:
        "Fetch {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/fetch_step.py"


rule take_tokenizer:
    output:
        expand([PATHS.tokenizer, PATHS.corpus_record], suite=CONFIG.suite),
    log:
        log_of("take_tokenizer"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
        downloads=1,
    params:
        source=CONFIG.models[0].hub.source(CONFIG.models[0].steps[0]),
    message:
        "Get the tokenizer of the first model"
    script:
        "../../scripts/take_tokenizer.py"


rule fetch_text:
    output:
        expand([PATHS.text, PATHS.text_record], suite=CONFIG.suite),
    log:
        log_of("fetch_text"),
    conda:
        ENVIRONMENT
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
