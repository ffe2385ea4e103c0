"""Measure what every attention head at one checkpoint does."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.checkpoint import Checkpoint
from circuitlapse.io.activation_files import read_activations
from circuitlapse.io.corpus_files import read_documents, read_tokenizer_of
from circuitlapse.io.provenance import file_hash, notes_on, provenance, weights_hash
from circuitlapse.io.table_files import write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.plan.slots import take_gpu
from circuitlapse.settings.analysis import Bootstrap, Heads

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    checkpoint = Checkpoint.load(given.model, params.where, take_gpu(params.compute))
    inputs = {"weights": weights_hash(given.model)}
    task = runs = None
    if source := given.get("task"):
        task = read_task(source)
        inputs["task"] = task.content_hash
        runs = read_activations(given.activations, inputs=inputs, **checkpoint.tensors)
    documents = []
    if text := given.get("text"):
        documents = read_documents(text, read_tokenizer_of(given.model))
        inputs["text"] = file_hash(text)
    how = {"seed": params.seed, "scores": params.scores}
    settings, bootstrap = Heads(**params.heads), Bootstrap(**params.bootstrap)
    scores = checkpoint.heads(task, runs, documents, settings, bootstrap, **how)
    for name, of_heads in scores.groupby("score", sort=False)["value"]:
        log.info("%s: at most %.4g", name, of_heads.max())
    origin = provenance(inputs, dict(params.items()), stage="heads", script=__file__)
    origin |= notes_on(given.model, given.get("verified"))
    write_table(snakemake.output[0], scores, provenance=origin)
