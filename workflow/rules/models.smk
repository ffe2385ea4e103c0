"""The pocket suite: one corpus, and models that are trained on it."""


rule make_corpus:
    output:
        text=PATHS.corpus_text,
        tokens=PATHS.corpus_tokens,
        tokenizer=PATHS.tokenizer,
    params:
        sentences=CONFIG.training.corpus_sentences,
        seed=CONFIG.training.corpus_seed,
        sequence_length=CONFIG.training.sequence_length,
    log:
        f"{PATHS.logs}/make_corpus/{{suite}}.log",
    benchmark:
        f"{PATHS.benchmarks}/make_corpus/{{suite}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        ENVIRONMENT
    script:
        "../../scripts/make_corpus.py"


rule train_suite:
    input:
        tokens=PATHS.corpus_tokens.format(suite=CONFIG.suite),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
    output:
        [
            directory(path)
            for path in expand(
                PATHS.model, step=CONFIG.training.save_steps, allow_missing=True
            )
        ],
    params:
        train=lambda wildcards: CONFIG.model(wildcards.model).train.model_dump(),
        save_steps=CONFIG.training.save_steps,
        batch_size=CONFIG.training.batch_size,
        sequence_length=CONFIG.training.sequence_length,
        learning_rate=CONFIG.training.learning_rate,
        warmup_steps=CONFIG.training.warmup_steps,
        weight_decay=CONFIG.training.weight_decay,
        threads=CONFIG.training.threads,
    log:
        f"{PATHS.logs}/train_suite/{{model}}.log",
    benchmark:
        f"{PATHS.benchmarks}/train_suite/{{model}}.tsv"
    threads: CONFIG.training.threads
    resources:
        mem_mb=2000,
        runtime=60,
    conda:
        ENVIRONMENT
    script:
        "../../scripts/train_suite.py"


rule models:
    input:
        per_step(PATHS.model),
