"""Run one model on all tasks: activations of both prompts, and how well it does each task."""

import pandas as pd
import torch

from circuitlapse.activations import cache_activations
from circuitlapse.behaviour import behaviour
from circuitlapse.io.activations import write_activations
from circuitlapse.io.provenance import provenance, weights_hash
from circuitlapse.io.tables import write_table
from circuitlapse.io.tasks import read_task
from circuitlapse.jobs import job_logging
from circuitlapse.models import load_model, n_tokens
from circuitlapse.progress import progress
from circuitlapse.prompts import PromptPairs
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.statistics import Bootstrap
from circuitlapse.types import UNITS

compute, step = snakemake.params.compute, snakemake.params.step
with job_logging(snakemake.log[0]) as log:
    torch.set_num_threads(compute["threads"])
    model = load_model(snakemake.input.model, compute["device"], compute["dtype"])
    weights = weights_hash(snakemake.input.model)
    rows = []
    jobs = list(zip(snakemake.input.tasks, snakemake.output.activations, strict=True))
    for source, target in progress(jobs, "tasks", log=log):
        task = read_task(source)
        pairs = PromptPairs.from_task(task).to(compute["device"])
        runs = cache_activations(model, pairs, batch_size=compute["batch_size"])
        origin = provenance({"weights": weights, "task": task.content_hash}, {"compute": compute})
        write_activations(target, runs, origin, dtype=snakemake.params.stored_dtype)
        logits = [run.logits_end[:, : n_tokens(model)] for run in (runs.clean, runs.corrupted)]
        measured = behaviour(
            *logits, pairs, metric=task.metric, bootstrap=Bootstrap(**snakemake.params.bootstrap)
        )
        log.info("%s: %s = %.4g", task.name, task.metric, measured["value"])
        named = {"task": task.name, "metric": task.metric, "unit": UNITS[task.metric]}
        made = {"prepend_bos": task.prepend_bos, "dtype": compute["dtype"], "data_seed": task.seed}
        rows.append(step | named | measured | made)
    frame = BEHAVIOUR.cast(pd.DataFrame(rows))
    settings = {"compute": compute, "bootstrap": snakemake.params.bootstrap}
    origin = provenance({"weights": weights}, settings)
    write_table(snakemake.output.behaviour, frame, provenance=origin)
