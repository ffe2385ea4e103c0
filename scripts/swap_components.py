"""Put heads of one checkpoint into another, and measure how well that one does the tasks then."""

from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.exchange.head_sets import head_sets_by_step
from circuitlapse.heads.naming import Naming
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, weights_hash
from circuitlapse.io.table_files import Parts, read_tables
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.schemas import HEADS, ROLES, SWAPS
from circuitlapse.settings.analysis import Bootstrap

given, params = snakemake.input, snakemake.params
where = {each["step"]: each for each in params.where}
folders = dict(zip(where, given.models, strict=True))


def load(step):
    """Load the model at one of the steps."""
    return Checkpoint.load(folders[step], where[step], compute)


with recorded_job(snakemake) as log:
    compute = take_gpu(params.compute)
    tasks = [read_task(path) for path in given.tasks]
    files = {name: list(given.get(name, ())) for name in ("circuits", "roles", "heads")}
    roles, scores = read_tables(files["roles"], ROLES), read_tables(files["heads"], HEADS)
    naming = Naming(params.role_rule, params.lengths)
    records = map(read_circuit, files["circuits"])
    sets = head_sets_by_step(records, tasks, roles, scores, naming)
    inputs = {path: file_hash(path) for paths in files.values() for path in paths}
    inputs |= {f"task_{task.name}": task.content_hash for task in tasks}
    inputs |= {f"weights_{step}": weights_hash(folder) for step, folder in folders.items()}
    names = ("bootstrap", "compute", "where", "random_sets", "seed", "role_rule", "lengths")
    settings = {name: params[name] for name in names}
    control = {"random_sets": params.random_sets, "seed": params.seed}
    control["bootstrap"] = Bootstrap(**params.bootstrap)
    load_source = lru_cache(maxsize=1)(load)  # most targets take heads of the same source

    def swaps(pairs, target):
        """Return the rows of one target."""
        sources = (load_source(source) for source, _ in pairs)
        return load(target).swap_table(tasks, sources, sets, **control)

    parts, tables = Parts(params.parts, SWAPS), []
    targets = [(step, list(pairs)) for step, pairs in groupby(params.pairs, key=itemgetter(1))]
    for step, pairs in progress(targets, "targets", log=log):
        origin = provenance(inputs, settings | {"pairs": pairs}, stage="swaps", script=__file__)
        tables.append(parts.get(f"step{step}", origin, partial(swaps, pairs, step)))
    origin = provenance(inputs, settings | {"pairs": params.pairs}, stage="swaps", script=__file__)
    parts.finish(snakemake.output[0], tables, provenance=origin)
