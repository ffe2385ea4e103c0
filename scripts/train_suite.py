"""Train one model of the pocket suite and save its steps like hub snapshots."""

import numpy as np
from tokenizers import Tokenizer

from circuitlapse.io.atomic import atomic_path
from circuitlapse.jobs import job_logging
from circuitlapse.suite.tokenizer import NEW_LINE
from circuitlapse.suite.training import Recipe, Shape, make_model, save_snapshot, train

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    tokenizer = Tokenizer.from_file(snakemake.input.tokenizer)
    shape = Shape(**{name: params.train[name] for name in ("layers", "heads", "d_model")})
    model = make_model(shape, tokenizer, seed=params.train["seed"])
    log.info("%d parameters", model.num_parameters())
    folders = dict(zip(params.recipe["save_steps"], snakemake.output, strict=True))
    tokens, line_end = np.load(snakemake.input.tokens), tokenizer.token_to_id(NEW_LINE)
    for step, trained in train(model, tokens, line_end=line_end, recipe=Recipe(**params.recipe)):
        with atomic_path(folders[step]) as scratch:
            save_snapshot(trained, tokenizer, scratch)
