"""Find the circuit of every task at one checkpoint; keep those that are still valid."""

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.io.activation_files import read_activations
from circuitlapse.io.circuit_files import is_current, write_circuit
from circuitlapse.io.provenance import notes_on, provenance, weights_hash
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.settings.analysis import Bootstrap, Circuits

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    checkpoint = Checkpoint.load(given.model, params.where, take_gpu(params.compute))
    weights, notes = weights_hash(given.model), notes_on(given.model, given.get("verified"))
    settings, bootstrap = Circuits(**params.circuits), Bootstrap(**params.bootstrap)
    files = zip(given.tasks, given.activations, snakemake.output, strict=True)
    for source, cached, target in progress(list(files), "tasks", log=log):
        task = read_task(source)
        inputs = {"weights": weights, "task": task.content_hash}
        origin = provenance(inputs, dict(params.items()), stage="circuits", script=__file__)
        if is_current(target, origin):
            log.info("%s: same weights, prompts, settings and code: circuit kept", task.name)
            continue
        runs = read_activations(cached, inputs=inputs, **checkpoint.tensors)
        record = checkpoint.circuit(task, runs, settings, bootstrap)
        write_circuit(target, record, origin | notes)
        size = f"{record.n_edges} of {record.n_edges_total} edges"
        log.info("%s: %s, %s", task.name, record.status, size)
