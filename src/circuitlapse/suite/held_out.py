"""Text like that of the corpus which no model of the suite has learned from."""

from __future__ import annotations

from circuitlapse.suite.corpus import make_sentences

N_DOCUMENTS = 150
"""More than the 117 that a copy-suppression score takes with a held-out mean."""

SENTENCES = 12
"""Per document: at least 61 tokens, which that score needs, as no line has fewer than 6."""


def make_documents(n_documents: int = N_DOCUMENTS, *, corpus_seed: int) -> list[str]:
    """Return documents: sentences with a line end between them, as the models read the corpus.

    They are drawn from the grammar with a seed that no corpus has, so that what they share with
    the corpus of `corpus_seed` is by chance: mostly sentences of few words.
    """
    lines = make_sentences(n_documents * SENTENCES, seed=f"held out from corpus {corpus_seed}")
    return ["\n".join(lines[at : at + SENTENCES]) for at in range(0, len(lines), SENTENCES)]
