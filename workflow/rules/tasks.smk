"""Prompt pairs: built once per tokenizer, shared by all models and steps."""


rule make_task:
    input:
        unpack(lambda wildcards: PLAN.prompt_file(wildcards.task)),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
    output:
        TASK,
    log:
        log_of("make_task/{task}"),
    # first of all: a mistake in a file of prompts shows before hours of training
    priority: 10
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        name="{task}",
        builder=task_key("builder"),
        metric=task_key("metric"),
        n_prompts=task_key("n_prompts"),
        seed=task_key("seed"),
        prepend_bos=task_key("prepend_bos"),
        options=task_key("options"),
    message:
        "Make the prompts of {wildcards.task}"
    script:
        "../../scripts/make_task.py"


# Models need its output as `ancient`: other prompts are no reason to train or fetch again.
rule check_inputs:
    input:
        PLAN.prompts,
        text=PLAN.text() if CONFIG.heads.text or PLAN.published else [],
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
    output:
        touch(PATHS.checked.format(suite=CONFIG.suite)),
    log:
        log_of("check_inputs"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        **CONFIG.heads.model_dump(include={"n_mean", "n_documents", "n_positions"}),
    message:
        "Check the prompts and the text for heads"
    script:
        "../../scripts/check_inputs.py"
