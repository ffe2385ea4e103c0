"""Measure one checkpoint on all tasks, and write the activations where the rule has such files."""

import pandas as pd

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.io.activation_files import write_activations
from circuitlapse.io.provenance import provenance, published_as, weights_hash
from circuitlapse.io.table_files import write_table
from circuitlapse.io.task_files import read_tasks_for
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.settings.analysis import Bootstrap, Compute

given, params, output = snakemake.input, snakemake.params, snakemake.output
with job_logging(snakemake.log[0]) as log:
    tasks = read_tasks_for(given.model, given.tasks)
    checkpoint = Checkpoint.load(given.model, params.where, Compute(**params.compute))
    settings, bootstrap = dict(params.items()), Bootstrap(**params.bootstrap)
    inputs, published = {"weights": weights_hash(given.model)}, published_as(given.model)
    files = output.get("activations") or [None] * len(tasks)
    rows = []
    for task, file in progress(list(zip(tasks, files, strict=True)), "tasks", log=log):
        if file:
            runs = checkpoint.run(task)
            made_from, how = inputs | {"task": task.content_hash}, settings | {"seed": task.seed}
            origin = provenance(made_from, how, stage="activations", script=__file__) | published
            write_activations(file, runs, origin, dtype=params.stored_dtype)
        logits = runs.end_logits if file else checkpoint.end_logits(task)
        rows.append(checkpoint.behaviour(task, *logits, bootstrap))
        log.info("%s: %s = %.4g", task.name, task.metric, rows[-1]["value"])
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    origin = provenance(inputs, settings, stage="activations", script=__file__) | published
    write_table(output.behaviour, BEHAVIOUR.cast(pd.DataFrame(rows)), provenance=origin)
