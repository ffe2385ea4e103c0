"""The pocket suite: one corpus, and models trained on it."""


rule make_corpus:
    output:
        text=PATHS.corpus_text,
        tokens=PATHS.corpus_tokens,
        held_out=PATHS.held_out_text,
        tokenizer=PATHS.tokenizer,
        record=PATHS.corpus_record,
    log:
        log_of("make_corpus/{suite}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        kinds=CONFIG.training.kinds,
        tokens=CONFIG.training.corpus_tokens,
        seed=CONFIG.training.corpus_seed,
    message:
        "Write the corpus of {wildcards.suite}"
    script:
        "../../scripts/make_corpus.py"


rule train_suite:
    input:
        tokens=PATHS.corpus_tokens.format(suite=CONFIG.suite),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
    output:
        models=[directory(path) for path in of_saved_steps(PATHS.model)],
        weights=of_saved_steps(PATHS.weights),
    log:
        log_of("train_suite/{model}"),
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        where=lambda wildcards: [
            PLAN.where(wildcards.model, step) for step in CONFIG.training.save_steps
        ],
        train=lambda wildcards: CONFIG.model(wildcards.model).train.model_dump(),
        unfinished=PATHS.unfinished,
        recipe=CONFIG.training.model_dump(exclude={"corpus_tokens", "corpus_seed"}),
    message:
        "Train {wildcards.model}; progress and time left: {log}"
    script:
        "../../scripts/train_suite.py"
