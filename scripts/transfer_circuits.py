"""Run the circuits of all steps in the model of every step, and on the other tasks of its own."""

from functools import partial

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.exchange.transfer import FoundCircuit
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, weights_hash
from circuitlapse.io.table_files import Parts
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.schemas import TRANSFER
from circuitlapse.settings.analysis import Bootstrap

given, params = snakemake.input, snakemake.params
with job_logging(snakemake.log[0]) as log:
    tasks = [read_task(path) for path in given.tasks]
    found = [FoundCircuit.from_record(read_circuit(path)) for path in given.circuits]
    bootstrap, compute = Bootstrap(**params.bootstrap), take_gpu(params.compute)
    inputs = {path: file_hash(path) for path in given.circuits}
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    settings = {"bootstrap": params.bootstrap, "compute": params.compute}
    parts, tables = Parts(params.parts, TRANSFER), []

    def transfers(folder, where):
        """Return the rows of one step."""
        return Checkpoint.load(folder, where, compute).transfer_table(tasks, found, bootstrap)

    steps = list(zip(given.models, params.where, strict=True))
    for folder, where in progress(steps, "steps", log=log):
        made_from, how = inputs | {"weights": weights_hash(folder)}, settings | {"where": where}
        origin = provenance(made_from, how, stage="transfer", script=__file__)
        make = partial(transfers, folder, where)
        tables.append(parts.get(f"step{where['step']}", origin, make))
    origin = provenance(
        inputs, settings | {"where": params.where}, stage="transfer", script=__file__
    )
    parts.finish(snakemake.output[0], tables, provenance=origin)
