"""Run the circuits of all steps, and controls, in every model, and on other tasks at their step."""

from functools import partial

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.exchange.transfer import FoundCircuit
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, weights_hash
from circuitlapse.io.table_files import Parts
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.schemas import TRANSFER
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types import TransferControl

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    tasks = [read_task(path) for path in given.tasks]
    found = [
        FoundCircuit.from_record(read_circuit(path), control)
        for control, paths in (
            (TransferControl.OWN, given.circuits),
            (TransferControl.SEED, given.get("seeds", ())),
        )
        for path in paths
    ]
    bootstrap, compute = Bootstrap(**params.bootstrap), take_gpu(params.compute)
    inputs = {path: file_hash(path) for path in (*given.circuits, *given.get("seeds", ()))}
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    control = {"random_circuits": params.random_circuits, "seed": params.seed}
    settings = {"bootstrap": params.bootstrap, "compute": params.compute} | control
    parts, tables = Parts(params.parts, TRANSFER), []

    def transfers(folder, where):
        """Return the rows of one step."""
        here = Checkpoint.load(folder, where, compute)
        return here.transfer_table(tasks, found, bootstrap, **control)

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
