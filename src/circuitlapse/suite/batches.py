"""Cut a corpus into the sequences that a model is trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int, UInt16
from numpy import ndarray
from torch import Tensor

from circuitlapse.errors import ModelError


def cut_batches(
    tokens: UInt16[ndarray, " token"],
    *,
    line_end: int,
    batch_size: int,
    sequence_length: int,
    seed: int | None = None,
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Cut the corpus, over and over, into sequences that each start where a line starts.

    Each has one token more than `sequence_length`: the last one is only predicted. They come as
    they stand in the corpus, or in an order drawn with `seed`.

    Raises:
        ModelError: if the corpus is shorter than one sequence.
    """
    length = sequence_length + 1
    starts = line_starts(tokens, line_end=line_end, length=length)
    if not len(starts):
        raise ModelError(
            f"the corpus has {len(tokens)} tokens, but a sequence of {sequence_length} "
            f"needs at least {length}; raise training.corpus_sentences"
        )
    if seed is not None:
        starts = np.random.default_rng(seed).permutation(starts)
    position = 0
    while True:
        index = np.arange(position, position + batch_size) % len(starts)
        rows = starts[index][:, None] + np.arange(length)
        yield torch.from_numpy(tokens[rows].astype(np.int64))
        position += batch_size


def line_starts(
    tokens: UInt16[ndarray, " token"], *, line_end: int, length: int
) -> Int[ndarray, " sequence"]:
    """Return where sequences of `length` tokens start.

    Each starts with the first line that begins at the last token of the one before, or later.
    """
    lines = np.flatnonzero(np.concatenate([[line_end], tokens[:-1]]) == line_end)
    following = np.searchsorted(lines, lines + length - 1)
    chosen = []
    line = 0
    while line < len(lines) and lines[line] + length <= len(tokens):
        chosen.append(lines[line])
        line = following[line]
    return np.array(chosen, dtype=np.int64)
