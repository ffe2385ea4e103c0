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
