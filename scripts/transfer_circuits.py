"""Run the circuits of all steps in the model of every step, and on the other tasks of its own."""

from functools import partial

import pandas as pd

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.exchange.transfer import FoundCircuit
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, weights_hash
from circuitlapse.io.table_files import Parts, write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.schemas import TRANSFER
from circuitlapse.settings import Bootstrap, Compute

given, params = snakemake.input, snakemake.params


def _transfer(folder, where, *, tasks, found):
    checkpoint = Checkpoint.load(folder, where, Compute(**params.compute))
    bootstrap = Bootstrap(**params.bootstrap)
    rows = [checkpoint.transfer(task, checkpoint.run(task), found, bootstrap) for task in tasks]
    return pd.concat(rows, ignore_index=True)


with job_logging(snakemake.log[0]) as log:
    tasks = [read_task(path) for path in given.tasks]
    found = [FoundCircuit.from_record(read_circuit(path)) for path in given.circuits]
    inputs = {path: file_hash(path) for path in given.circuits}
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    settings = {"bootstrap": params.bootstrap, "compute": params.compute}
    parts, tables = Parts(params.parts, TRANSFER), []
    steps = list(zip(given.models, params.where, strict=True))
    for folder, where in progress(steps, "steps", log=log):
        origin = provenance(inputs | {"weights": weights_hash(folder)}, settings | {"where": where})
        make = partial(_transfer, folder, where, tasks=tasks, found=found)
        tables.append(parts.get(f"step{where['step']}", origin, make))
    origin = provenance(inputs, settings | {"where": params.where})
    write_table(snakemake.output[0], pd.concat(tables, ignore_index=True), provenance=origin)
    parts.discard()
