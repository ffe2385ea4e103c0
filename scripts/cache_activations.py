"""Measure one checkpoint on all tasks, and write the activations where the rule has such files."""

import pandas as pd

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.io.activation_files import write_activations
from circuitlapse.io.provenance import notes_on, provenance, weights_hash
from circuitlapse.io.table_files import write_table
from circuitlapse.io.task_files import read_tasks_for
from circuitlapse.plan.slots import take_gpu
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.settings.analysis import Bootstrap

given, params, output = snakemake.input, snakemake.params, snakemake.output
with recorded_job(snakemake) as log:
    tasks = read_tasks_for(given.model, given.tasks)
    checkpoint = Checkpoint.load(given.model, params.where, take_gpu(params.compute))
    settings, bootstrap = dict(params.items()), Bootstrap(**params.bootstrap)
    weights, notes = weights_hash(given.model), notes_on(given.model, given.get("verified"))
    cached = output.get("activations") or [None] * len(tasks)
    files = list(zip(tasks, cached, output.behaviour, output.by_group, strict=True))
    for task, activations, behaviour, by_group in progress(files, "tasks", log=log):
        made_from = {"weights": weights, "task": task.content_hash}
        how = settings | {"seed": task.seed}
        origin = provenance(made_from, how, stage="activations", script=__file__) | notes
        if activations:
            runs = checkpoint.run(task)
            write_activations(activations, runs, origin, dtype=params.stored_dtype)
        logits = runs.end_logits if activations else checkpoint.end_logits(task)
        row = checkpoint.behaviour(task, *logits, bootstrap)
        write_table(behaviour, BEHAVIOUR.cast(pd.DataFrame([row])), provenance=origin)
        write_table(by_group, checkpoint.behaviour_by_group(task, logits[0]), provenance=origin)
        log.info("%s: %s = %.4g", task.name, task.metric, row["value"])
