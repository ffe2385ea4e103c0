"""Write the training text of the pocket suite, its token ids, held-out text and tokenizer."""

from pathlib import Path

import numpy as np

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import write_documents
from circuitlapse.io.provenance import provenance, write_provenance
from circuitlapse.pocket.corpus import make_corpus, make_documents, make_pocket_tokenizer

params = snakemake.params
with recorded_job(snakemake) as log:
    tokenizer = make_pocket_tokenizer()
    corpus = make_corpus(params.kinds, tokenizer, n_tokens=params.tokens, seed=params.seed)
    log.info("%s", ", ".join(f"{len(ids)} tokens of {kind}" for kind, ids in corpus.items()))
    with atomic_path(snakemake.output.text) as scratch:
        text = "".join(tokenizer.decode(ids.tolist()) for ids in corpus.values())
        scratch.write_text(text, encoding="utf-8")
    with atomic_path(snakemake.output.tokens) as scratch, Path(scratch).open("wb") as stream:
        np.savez(stream, **corpus)
    write_documents(snakemake.output.held_out, make_documents(corpus_seed=params.seed))
    with atomic_path(snakemake.output.tokenizer) as scratch:
        tokenizer.save(str(scratch))
    *files, record = snakemake.output
    origin = provenance({}, dict(params.items()), stage="corpus", script=__file__)
    with atomic_path(record) as scratch:
        write_provenance(scratch, origin, files)
