"""Write the training text of the pocket suite, its token ids, held-out text and tokenizer."""

from pathlib import Path

import numpy as np

from circuitlapse.jobs import job_logging
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import write_documents
from circuitlapse.pocket.corpus import (
    encode_lines,
    make_documents,
    make_pocket_tokenizer,
    make_sentences,
)

params = snakemake.params
with job_logging(snakemake.log[0]) as log:
    sentences = make_sentences(params.sentences, seed=params.seed)
    tokenizer = make_pocket_tokenizer()
    tokens = encode_lines(sentences, tokenizer)
    log.info("%d sentences, %d tokens", len(sentences), len(tokens))
    with atomic_path(snakemake.output.text) as scratch:
        scratch.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    with atomic_path(snakemake.output.tokens) as scratch, Path(scratch).open("wb") as stream:
        np.save(stream, tokens)
    write_documents(snakemake.output.held_out, make_documents(corpus_seed=params.seed))
    with atomic_path(snakemake.output.tokenizer) as scratch:
        tokenizer.save(str(scratch))
