"""Run one model on all tasks: activations of both prompts, and how well it does each task."""

import pandas as pd

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import ModelAtStep
from circuitlapse.io.activation_files import write_activations
from circuitlapse.io.provenance import provenance, published_as, weights_hash
from circuitlapse.io.table_files import write_table
from circuitlapse.io.task_files import read_tasks_for
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.statistics import Bootstrap

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    folder = snakemake.input.model
    tasks = read_tasks_for(folder, snakemake.input.tasks)
    model, published = ModelAtStep.load(folder, params.where, params.compute), published_as(folder)
    inputs, settings = {"weights": weights_hash(folder)}, dict(params.items())
    rows, hashes = [], {}
    files = list(zip(tasks, snakemake.output.activations, strict=True))
    for task, target in progress(files, "tasks", log=log):
        runs = model.run(task)
        hashes[f"task_{task.name}"] = task.content_hash
        origin = provenance(inputs | {"task": task.content_hash}, settings | {"seed": task.seed})
        write_activations(target, runs, origin | published, dtype=params.stored_dtype)
        rows.append(model.behaviour(task, *runs.end_logits, Bootstrap(**params.bootstrap)))
        log.info("%s: %s = %.4g", task.name, task.metric, rows[-1]["value"])
    table, origin = BEHAVIOUR.cast(pd.DataFrame(rows)), provenance(inputs | hashes, settings)
    write_table(snakemake.output.behaviour, table, provenance=origin | published)
