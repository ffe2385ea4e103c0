"""Train one model of the pocket suite and save its checkpoints like hub snapshots."""

from circuitlapse.jobs import progress
from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.corpus_files import read_corpus, read_tokenizer
from circuitlapse.io.provenance import checked_hash, provenance
from circuitlapse.io.training_files import UnfinishedTraining
from circuitlapse.io.weight_files import keep_fingerprint
from circuitlapse.pocket.corpus import NEW_LINE
from circuitlapse.pocket.training import make_model, make_optimizer, save_snapshot, train
from circuitlapse.settings.suite import Train, Training
from circuitlapse.tasks.vocabulary import Vocabulary

params = snakemake.params
with recorded_job(snakemake) as log:
    tokenizer = read_tokenizer(snakemake.input.tokenizer)
    corpus = read_corpus(snakemake.input.tokens)
    shape, training = Train(**params.train), Training(**params.recipe)
    model = make_model(shape, tokenizer)
    optimizer = make_optimizer(model)
    log.info("%d parameters", model.num_parameters())
    inputs = {
        "corpus": checked_hash(snakemake.input.tokens),
        "tokenizer": Vocabulary(tokenizer).hash,
    }
    settings = {"train": params.train, "recipe": params.recipe}
    origins = {
        step: provenance(inputs, settings | {"step": step}, stage="training", script=__file__)
        for step in training.save_steps
    }
    saved = UnfinishedTraining(params.unfinished, origins)
    done = saved.resume(model, optimizer)
    run = train(
        model,
        optimizer,
        corpus,
        line_end=tokenizer.token_to_id(NEW_LINE),
        training=training,
        data_seed=shape.data_seed,
        done=done,
    )
    n_steps = training.save_steps[-1] + 1
    bar = progress(run, "steps", log=log, total=n_steps, done=0 if done is None else done + 1)
    for step, loss in bar:
        bar.set_postfix_str(f"loss {loss:.3f} nats per token", refresh=False)
        if step in origins:
            saved.save(step, model, optimizer, lambda path: save_snapshot(model, tokenizer, path))
    saved.finish(dict(zip(training.save_steps, snakemake.output.models, strict=True)))
    kept = zip(snakemake.output.models, snakemake.output.weights, params.where, strict=True)
    for folder, path, where in kept:
        keep_fingerprint(folder, path, where)
saved.discard()  # not before the job is recorded: without a record, it runs again
