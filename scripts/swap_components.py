"""Put heads of one checkpoint into another, and measure how well that one does the tasks then."""

from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter

import pandas as pd

from circuitlapse.jobs import job_logging, progress
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.exchange.head_sets import head_sets
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, weights_hash
from circuitlapse.io.table_files import Parts, read_tables, write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.schemas import HEADS, ROLES, SWAPS
from circuitlapse.settings import Bootstrap, Compute

given, params = snakemake.input, snakemake.params
where = {each["step"]: each for each in params.where}
folders = dict(zip(where, given.models, strict=True))
control = {"random_sets": params.random_sets, "seed": params.seed}
bootstrap, compute = Bootstrap(**params.bootstrap), Compute(**params.compute)


def _load(step):
    return Checkpoint.load(folders[step], where[step], compute)


_lender = lru_cache(maxsize=1)(_load)


def _swaps(sources, step, *, tasks, sets):
    target = _load(step)
    rows = [
        target.swaps(task, _lender(source), sets[source, task.name], bootstrap=bootstrap, **control)
        for source in sources
        for task in tasks
    ]
    return pd.concat(rows, ignore_index=True)


with job_logging(snakemake.log[0]) as log:
    tasks = [read_task(path) for path in given.tasks]
    builders = {task.name: task.builder for task in tasks}
    about = {name: list(given.get(name, ())) for name in ("circuits", "roles", "heads")}
    known = {
        "roles": read_tables(about["roles"], ROLES),
        "scores": read_tables(about["heads"], HEADS),
    }
    sets = {
        (record.step, record.task): head_sets(record, builder=builders[record.task], **known)
        for record in map(read_circuit, about["circuits"])
    }
    inputs = {path: file_hash(path) for paths in about.values() for path in paths}
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    inputs |= {f"weights_{step}": weights_hash(folder) for step, folder in folders.items()}
    settings = {name: params[name] for name in ("bootstrap", "compute", "where")} | control
    parts, tables = Parts(params.parts, SWAPS), [SWAPS.empty()]
    targets = [(step, list(pairs)) for step, pairs in groupby(params.pairs, key=itemgetter(1))]
    for step, pairs in progress(targets, "targets", log=log):
        origin = provenance(inputs, settings | {"pairs": pairs})
        make = partial(_swaps, [source for source, _ in pairs], step, tasks=tasks, sets=sets)
        tables.append(parts.get(f"step{step}", origin, make))
    origin = provenance(inputs, settings | {"pairs": params.pairs})
    write_table(snakemake.output[0], pd.concat(tables, ignore_index=True), provenance=origin)
    parts.discard()
