"""Draw the sequences that a model is trained on from the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt16
from numpy import ndarray
from torch import Tensor

from circuitlapse.errors import ModelError
from circuitlapse.pocket.corpus import Corpus
from circuitlapse.settings.suite import Phase


def draw_batches(
    corpus: Corpus, phases: Sequence[Phase], *, line_end: int, seed: int
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Yield one batch per step of all phases.

    Each sequence is drawn from one kind of text, with the shares of the phase, and starts at a
    random line. It has one token more than `sequence_length`: the last one is only predicted.

    Args:
        corpus: with every kind of text that a phase asks for.
        phases: from the configuration. A phase draws the same sequences whatever comes before it.
        line_end: id of the token between lines.
        seed: decides what is drawn.

    Raises:
        ModelError: if a kind of text is shorter than one sequence.
    """
    for place, phase in enumerate(phases):
        rng = np.random.default_rng([seed, place])
        kinds, shares = zip(*phase.text.shares.items(), strict=True)
        length = phase.sequence_length + 1
        starts = [line_starts(corpus[kind], line_end=line_end, length=length) for kind in kinds]
        if missing := [kind for kind, found in zip(kinds, starts, strict=True) if not len(found)]:
            raise ModelError(
                f"the corpus has {len(corpus[missing[0]])} tokens of {missing[0]}, but a sequence "
                f"of {length - 1} needs at least {length}; raise training.corpus_tokens"
            )
        for _ in range(phase.steps):
            drawn = rng.choice(len(kinds), size=phase.batch_size, p=shares)  # [sequence]
            rows = [_cut(corpus[kinds[i]], int(rng.choice(starts[i])), length) for i in drawn]
            yield torch.from_numpy(np.stack(rows))


def _cut(tokens: UInt16[ndarray, " token"], start: int, length: int) -> Int[ndarray, " pos"]:
    return tokens[start : start + length].astype(np.int64)


def line_starts(
    tokens: UInt16[ndarray, " token"], *, line_end: int, length: int
) -> Int[ndarray, " line"]:
    """Return where the lines start from which `length` tokens follow in the text."""
    # a line starts where the token before is a line end; the text starts with a line
    starts = np.flatnonzero(np.concatenate([[line_end], tokens[:-1]]) == line_end)
    return starts[starts + length <= len(tokens)]
