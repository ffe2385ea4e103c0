"""Make the prompt pairs of one task, for one tokenizer."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.corpus_files import read_tokenizer
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.task_files import write_task
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.custom import build_custom_task

params = snakemake.params
shared = {"n_prompts": params.n_prompts, "seed": params.seed, "prepend_bos": params.prepend_bos}

with recorded_job(snakemake) as log:
    tokenizer = read_tokenizer(snakemake.input.tokenizer)
    inputs = {}
    if file := snakemake.input.get("file"):
        inputs["file"] = file_hash(file)
        task = build_custom_task(params.name, tokenizer, file=file, metric=params.metric, **shared)
    else:
        task = build_task(
            params.name, tokenizer, builder=params.builder, options=params.options, **shared
        )
    log.info("kept %d prompt pairs, content hash %s", len(task), task.content_hash)
    if params.n_prompts is not None and len(task) < params.n_prompts:
        asked = f"task {task.name}: n_prompts is {params.n_prompts}"
        log.warning("%s, but the task has only %d prompt pairs", asked, len(task))
    for template, count in task.frame["template"].value_counts().items():
        log.info("kept %d of template %s", count, template or "(unnamed)")
    for reason, count in task.dropped.items():
        log.info("dropped %d: %s", count, reason)
    inputs["tokenizer"] = task.tokenizer_hash
    origin = provenance(inputs, dict(params.items()), stage="prompts", script=__file__)
    write_task(snakemake.output[0], task, origin)
