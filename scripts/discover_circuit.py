"""Find the circuit of every task in one model at one step; keep those that are still valid."""

import torch

from circuitlapse.discovery import DiscoverySettings, discover_circuit, record_of
from circuitlapse.io.activations import read_activations
from circuitlapse.io.circuits import is_current, write_circuit
from circuitlapse.io.provenance import provenance, weights_hash
from circuitlapse.io.tasks import read_task
from circuitlapse.jobs import job_logging
from circuitlapse.models import DTYPES, load_model
from circuitlapse.progress import progress
from circuitlapse.prompts import PromptPairs

params, compute = snakemake.params, snakemake.params.compute
with job_logging(snakemake.log[0]) as log:
    torch.set_num_threads(compute["threads"])
    model = load_model(snakemake.input.model, compute["device"], compute["dtype"])
    weights = weights_hash(snakemake.input.model)
    settings = DiscoverySettings.from_config(params.circuits, params.bootstrap)
    used = {"circuits": params.circuits, "bootstrap": params.bootstrap, "compute": compute}
    files = zip(snakemake.input.tasks, snakemake.input.activations, snakemake.output, strict=True)
    for source, cached, target in progress(list(files), "tasks", log=log):
        task = read_task(source)
        inputs = {"weights": weights, "task": task.content_hash}
        origin = provenance(inputs, used | params.step)
        if is_current(target, origin):
            log.info("%s: same weights, prompts, settings and code: circuit kept", task.name)
            continue
        found = discover_circuit(
            model,
            PromptPairs.from_task(task).to(compute["device"]),
            activations=read_activations(
                cached, device=compute["device"], dtype=DTYPES[compute["dtype"]], inputs=inputs
            ),
            metric=task.metric,
            settings=settings,
            batch_size=compute["batch_size"],
        )
        record = record_of(
            found, task=task.name, metric=task.metric, settings=settings, **params.step
        )
        write_circuit(target, record, origin)
        size = f"{record.n_edges} of {record.n_edges_total} edges"
        log.info("%s: %s, %s", task.name, record.status, size)
