"""Train one model of the pocket suite and save its checkpoints like hub snapshots."""

from circuitlapse.jobs import job_logging, progress
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import read_corpus, read_tokenizer
from circuitlapse.io.provenance import PROVENANCE, checked_hash, provenance, write_provenance
from circuitlapse.io.weight_files import keep_fingerprint
from circuitlapse.pocket.corpus import NEW_LINE
from circuitlapse.pocket.training import make_model, save_snapshot, train
from circuitlapse.settings.suite import Train, Training
from circuitlapse.tasks.vocabulary import Vocabulary

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    tokenizer = read_tokenizer(snakemake.input.tokenizer)
    corpus = read_corpus(snakemake.input.tokens)
    shape, training = Train(**params.train), Training(**params.recipe)
    model = make_model(shape, tokenizer)
    log.info("%d parameters", model.num_parameters())
    inputs = {
        "corpus": checked_hash(snakemake.input.tokens),
        "tokenizer": Vocabulary(tokenizer).hash,
    }
    settings = {name: value for name, value in params.items() if name != "where"}
    folders = dict(zip(training.save_steps, snakemake.output.models, strict=True))
    end = tokenizer.token_to_id(NEW_LINE)
    run = train(model, corpus, line_end=end, training=training, data_seed=shape.data_seed)
    for step, loss in (steps := progress(run, "steps", log=log, total=training.save_steps[-1] + 1)):
        steps.set_postfix_str(f"loss {loss:.3f} nats per token", refresh=False)
        if step in folders:
            with atomic_path(folders[step]) as scratch:
                save_snapshot(model, tokenizer, scratch)
                origin = provenance(
                    inputs, settings | {"step": step}, stage="training", script=__file__
                )
                write_provenance(scratch / PROVENANCE, origin, scratch.iterdir())
    kept = zip(folders.values(), snakemake.output.weights, params.where, strict=True)
    for folder, path, where in kept:
        keep_fingerprint(folder, path, where)
