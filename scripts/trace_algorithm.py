"""Trace the known algorithms at one checkpoint: what the heads and MLPs do in them."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.circuits.selection import circuit_of
from circuitlapse.io.activation_files import read_activations
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, notes_on, provenance, weights_hash
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.schemas import GT_ALGORITHM, HEADS, IOI_SCHEMAS
from circuitlapse.settings.analysis import Algorithm, Bootstrap

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    checkpoint = Checkpoint.load(given.model, params.where, take_gpu(params.compute))
    weights, schemas = weights_hash(given.model), IOI_SCHEMAS | {"gt_algorithm": GT_ALGORITHM}
    tables = {name: schema.empty() for name, schema in schemas.items()}
    if source := given.get("ioi_task"):
        scores, found = read_table(given.heads, HEADS), read_circuit(given.ioi_circuit)
        settings = Algorithm(**params.algorithm), Bootstrap(**params.bootstrap)
        ioi = read_task(source), scores, circuit_of(found)
        tables |= checkpoint.ioi_algorithm(
            *ioi, *settings, lengths=params.lengths, edge_scores=found.scores
        )
        for row in tables["algorithm_consistency"].itertuples():
            log.info("%s, %s: %.3g %% (%s)", row.panel, row.denominator, row.pct, row.status)
    if source := given.get("gt_task"):
        task, circuit = read_task(source), circuit_of(read_circuit(given.gt_circuit))
        inputs = {"weights": weights, "task": task.content_hash}
        runs = read_activations(given.gt_activations, inputs=inputs, **checkpoint.tensors)
        tables["gt_algorithm"] = checkpoint.greater_than_algorithm(task, runs, circuit)
    files = {name: path for name, path in given.items() if name not in ("model", "verified")}
    inputs = {name: file_hash(path) for name, path in files.items()}
    origin = provenance(
        inputs | {"weights": weights}, dict(params.items()), stage="algorithm", script=__file__
    )
    origin |= notes_on(given.model, given.get("verified"))
    for name, table in tables.items():
        write_table(snakemake.output.get(name), table, provenance=origin)
        log.info("%s: %d rows", name, len(table))
