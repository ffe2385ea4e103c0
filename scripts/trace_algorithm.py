"""Trace the known algorithms at one checkpoint: what the heads and MLPs do in them."""

from circuitlapse.jobs import job_logging
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.circuits.selection import circuit_of
from circuitlapse.io.activation_files import read_activations
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import file_hash, provenance, published_as, weights_hash
from circuitlapse.io.table_files import read_table, write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.models.load import DTYPES
from circuitlapse.schemas import GT_ALGORITHM, HEADS, IOI_SCHEMAS
from circuitlapse.settings import Algorithm, Bootstrap, Compute

params, given = snakemake.params, snakemake.input
with job_logging(snakemake.log[0]) as log:
    checkpoint = Checkpoint.load(given.model, params.where, Compute(**params.compute))
    weights = weights_hash(given.model)
    schemas = IOI_SCHEMAS | {"gt_algorithm": GT_ALGORITHM}
    tables = {name: schema.empty() for name, schema in schemas.items()}
    if source := given.get("ioi_task"):
        tables |= checkpoint.ioi_algorithm(
            read_task(source),
            read_table(given.heads, HEADS),
            circuit_of(read_circuit(given.ioi_circuit)),
            Algorithm(**params.algorithm),
            Bootstrap(**params.bootstrap),
        )
        for row in tables["algorithm_consistency"].itertuples():
            log.info("%s, %s: %.3g %% (%s)", row.panel, row.denominator, row.pct, row.status)
    else:
        log.info("no ioi task: its tables are empty")
    if source := given.get("gt_task"):
        task, circuit = read_task(source), circuit_of(read_circuit(given.gt_circuit))
        inputs = {"weights": weights, "task": task.content_hash}
        how = {"device": params.compute["device"], "dtype": DTYPES[params.compute["dtype"]]}
        runs = read_activations(given.gt_activations, inputs=inputs, **how)
        tables["gt_algorithm"] = checkpoint.greater_than_algorithm(task, runs, circuit)
    else:
        log.info("no greater_than task: its table is empty")
    hashes = {name: file_hash(path) for name, path in given.items() if name != "model"}
    origin = provenance({"weights": weights} | hashes, dict(params.items()))
    origin |= published_as(given.model)
    for (name, table), path in zip(tables.items(), snakemake.output, strict=True):
        write_table(path, table, provenance=origin)
        log.info("%s: %d rows", name, len(table))
