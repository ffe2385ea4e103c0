"""Find the circuit of every task at one checkpoint; keep those that are still valid."""

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.io.activation_files import read_activations
from circuitlapse.io.circuit_files import is_current, write_circuit
from circuitlapse.io.provenance import provenance, published_as, weights_hash
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.settings.analysis import Bootstrap, Circuits

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    checkpoint = Checkpoint.load(snakemake.input.model, params.where, take_gpu(params.compute))
    weights, published = weights_hash(snakemake.input.model), published_as(snakemake.input.model)
    settings, bootstrap = Circuits(**params.circuits), Bootstrap(**params.bootstrap)
    files = zip(snakemake.input.tasks, snakemake.input.activations, snakemake.output, strict=True)
    for source, cached, target in progress(list(files), "tasks", log=log):
        task = read_task(source)
        inputs = {"weights": weights, "task": task.content_hash}
        origin = provenance(inputs, dict(params.items()), stage="circuits", script=__file__)
        if is_current(target, origin):
            log.info("%s: same weights, prompts, settings and code: circuit kept", task.name)
            continue
        runs = read_activations(cached, inputs=inputs, **checkpoint.tensors)
        record = checkpoint.circuit(task, runs, settings, bootstrap)
        write_circuit(target, record, origin | published)
        size = f"{record.n_edges} of {record.n_edges_total} edges"
        log.info("%s: %s, %s", task.name, record.status, size)
