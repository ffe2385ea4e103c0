"""Read what the authors published of one model: metrics, faithfulness, and every circuit."""

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.circuit_files import write_circuit
from circuitlapse.io.clone import PublishedModel, TaskFiles
from circuitlapse.io.provenance import file_hash, provenance
from circuitlapse.io.table_files import write_table

with recorded_job(snakemake) as log:
    given, output, settings = snakemake.input, snakemake.output, dict(snakemake.params.items())
    tasks = {task: TaskFiles(**files) for task, files in settings.pop("tasks").items()}
    model = PublishedModel(**settings, tasks=tasks)
    hashes = {path: file_hash(path) for path in given}
    origin = provenance(hashes, settings, stage="published", script=__file__)
    write_table(output.baselines, model.behaviour(), provenance=origin)
    write_table(output.curves, model.curves(), provenance=origin)
    targets = output.circuits if isinstance(output.circuits, list) else [output.circuits]
    for record, target in zip(
        progress(model.records(), "circuits", log=log, total=len(targets)), targets, strict=True
    ):
        write_circuit(target, record, {"key": origin["key"]})
    for task, files in tasks.items():
        folders = {path.rpartition("/")[0] for path in files.graphs.values()}
        log.info("%s: %d circuits from %s", task, len(files.graphs), ", ".join(folders) or "none")
