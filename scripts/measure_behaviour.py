"""Run one model on all tasks, to see how well it does each; what it computes is not kept."""

import pandas as pd

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import ModelAtStep
from circuitlapse.io.provenance import provenance, published_as, weights_hash
from circuitlapse.io.table_files import write_table
from circuitlapse.io.task_files import read_tasks_for
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.statistics import Bootstrap

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    folder = snakemake.input.model
    tasks = read_tasks_for(folder, snakemake.input.tasks)
    model = ModelAtStep.load(folder, params.where, params.compute)
    rows, bootstrap = [], Bootstrap(**params.bootstrap)
    for task in progress(tasks, "tasks", log=log):
        rows.append(model.behaviour(task, *model.end_logits(task), bootstrap))
        log.info("%s: %s = %.4g", task.name, task.metric, rows[-1]["value"])
    inputs = {f"task_{task.name}": task.content_hash for task in tasks}
    origin = provenance({"weights": weights_hash(folder)} | inputs, dict(params.items()))
    table = BEHAVIOUR.cast(pd.DataFrame(rows))
    write_table(snakemake.output[0], table, provenance=origin | published_as(folder))
