"""Random heads as a control: as many from each layer as a set of heads has there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from operator import itemgetter

import numpy as np

from circuitlapse.models.graph import Head
from circuitlapse.types.status import SwapStatus

Heads = frozenset[Head]


def matched_heads(
    heads: Collection[Head], every: Collection[Head], *, n_draws: int, seed: int
) -> tuple[list[Heads], SwapStatus]:
    """Draw sets of other heads, as many from each layer as a set has there.

    What a head can do depends on its layer, so a control from other layers differs in more than its
    roles. If a layer has too few other heads, the missing ones come from the nearest layers.

    Args:
        heads: the set.
        every: all heads of the model.
        n_draws: number of draws; draws that come out alike count once.
        seed: of the draws.

    Returns:
        The draws, and `ok`, `other_layers` or `too_few_heads` (there are no draws).
    """
    others = sorted(set(every) - set(heads))
    if len(others) < len(heads):
        return [], SwapStatus.TOO_FEW_HEADS
    wanted, there = (Counter(layer for layer, _ in some) for some in (sorted(heads), others))
    draws = dict.fromkeys(
        _draw(others, wanted, np.random.default_rng([seed, draw])) for draw in range(n_draws)
    )
    enough = all(there[layer] >= n for layer, n in wanted.items())
    return list(draws), SwapStatus.OK if enough else SwapStatus.OTHER_LAYERS


def draws_of_same_layers(
    heads: Collection[Head], every: Collection[Head], *, n_draws: int, seed: int
) -> list[Heads]:
    """Return the draws of `matched_heads`; none if a layer has too few other heads.

    Heads of other layers reach other receivers, so that they are no control for effects of paths.
    """
    draws, status = matched_heads(heads, every, n_draws=n_draws, seed=seed)
    return draws if status == SwapStatus.OK else []


def _draw(others: Sequence[Head], wanted: Counter[int], random: np.random.Generator) -> Heads:
    shuffled = [others[index] for index in random.permutation(len(others))]
    taken: set[Head] = set()
    for layer, n in wanted.items():
        taken.update([head for head in shuffled if head[0] == layer][:n])
    for layer, n in wanted.items():
        missing = max(0, n - sum(at == layer for at, _ in others))
        left = [(abs(head[0] - layer), head) for head in shuffled if head not in taken]
        # Sorting keeps the random order of heads that are equally far away.
        left.sort(key=itemgetter(0))
        taken.update(head for _, head in left[:missing])
    return frozenset(taken)
