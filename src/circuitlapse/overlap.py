"""What circuits are made of, and how much two of them have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.records import CircuitRecord

Shares = pd.Series
"""The share of each edge, or node, of a circuit; they add up to 1. The index says which it is."""


class Parts(NamedTuple):
    """The edges and the nodes of one circuit, each with its share.

    Attributes:
        edge: |score| over that of all edges of the circuit, by the place of the edge in the
            score matrix, row by row.
        node: the same of the edges that touch a head or an MLP, by its name. An edge counts for
            both of its ends. `input` and `logits` are left out: every circuit has them, so that
            with them any two circuits would have something in common.
    """

    edge: Shares
    node: Shares


def parts_of(
    record: CircuitRecord,
    in_circuit: Bool[ndarray, "source target"],
    scores: Float[ndarray, "source target"],
) -> Parts:
    """Return the parts of a circuit of the record's graph."""
    rows, columns = np.nonzero(in_circuit)
    weight = np.abs(scores[rows, columns]).astype(np.float64)
    nodes = np.array([*record.sources, "logits"])
    row_of = {str(name): row for row, name in enumerate(nodes)}
    owner = np.array([row_of[node] for node, _ in record.target_names])
    ends = np.concatenate([rows, owner[columns]])
    at_node = np.bincount(ends, weights=np.tile(weight, 2), minlength=len(nodes))
    at_an_end = np.isin(nodes, ("input", "logits"))
    touched = np.unique(ends[~at_an_end[ends]])
    return Parts(
        edge=_shares(weight, rows * len(record.targets) + columns),
        node=_shares(at_node[touched], nodes[touched]),
    )


def _shares(weight: Float[ndarray, " part"], names: ndarray) -> Shares:
    shares = pd.Series(weight, index=names)
    return shares / shares.sum()


def jaccard(one: Shares, other: Shares) -> float:
    """Return the number of parts in both circuits over that in either; NaN where neither has any.

    Shares do not count.
    """
    both = len(one.index.intersection(other.index))
    either = len(one) + len(other) - both
    return both / either if either else float("nan")


def weighted_jaccard(one: Shares, other: Shares) -> float:
    """Return the sum of the smaller over that of the larger shares, of all parts of either circuit.

    A part that a circuit lacks has no share in it. NaN where neither has any parts, or where all
    scores of a circuit are 0.
    """
    if one.isna().any() or other.isna().any():
        return float("nan")
    a, b = one.align(other, fill_value=0.0)
    larger = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / larger) if larger else float("nan")


def smoothed(values: pd.Series, *, alpha: float) -> pd.Series:
    """Return the exponentially weighted mean so far: S_0 = J_0, S_i = a J_i + (1 - a) S_(i-1).

    It is NaN where the value itself is, and goes on from the last one before such a gap.
    """
    # with ignore_na=False, pandas weighs values after a gap differently for alpha=0.5 than for
    # any other alpha
    return values.ewm(alpha=alpha, adjust=False, ignore_na=True).mean().where(values.notna())
