"""What every step of the IOI algorithm needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.algorithm.base import Thresholds
from circuitlapse.heads.base import Subject
from circuitlapse.heads.s_inhibition import s_inhibition
from circuitlapse.path_patching import Head, HeadPort, PatchedPaths, Receivers, patch_paths
from circuitlapse.prompts import PromptPairs
from circuitlapse.selection import Circuit

SCORES = ("copy", "copy_neg", "cspa", "induction", "duplicate")
"""What has to be known of every head."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its prompts, and what is known of its heads, which are in the order of layers.

    Attributes:
        scores: one of `SCORES` -> its values.
        seed: of the names that S-inhibition heads are misled with.
        options: of `patch_paths` and `s_inhibition`.
    """

    model: TransformerBridge
    pairs: PromptPairs
    scores: Mapping[str, Float[ndarray, " head"]]
    circuit: Circuit | None
    thresholds: Thresholds
    seed: int
    options: Mapping[str, Any]

    def patch(self, receivers: Receivers) -> PatchedPaths:
        """Patch the paths from all heads."""
        return patch_paths(self.model, self.pairs, receivers=receivers, **self.options)

    def test(self, *, name_movers: Sequence[Head], candidates: Sequence[Head]) -> pd.DataFrame:
        """Test for S-inhibition."""
        subject = Subject(self.model, self.seed, self.pairs)
        return s_inhibition(subject, name_movers=name_movers, candidates=candidates, **self.options)

    def heads(self, mask: Bool[ndarray, " head"]) -> list[Head]:
        """Return (layer, head) where a mask is true."""
        return [divmod(int(at), self.model.cfg.n_heads) for at in np.flatnonzero(mask)]

    def ports(self, mask: Bool[ndarray, " head"], port: str) -> list[HeadPort]:
        """Return one port of the heads where a mask is true."""
        return [HeadPort(layer, head, port) for layer, head in self.heads(mask)]


def shape_of(model: TransformerBridge) -> tuple[int, int]:
    """Return the number of layers, and of heads of each."""
    return (model.cfg.n_layers, model.cfg.n_heads)


def values_of(
    scores: pd.DataFrame, name: str, *, shape: tuple[int, int]
) -> Float[ndarray, " head"]:
    """Return one score of every head.

    Raises:
        ValueError: if there is not one row for each.
    """
    rows = scores[scores["score"] == name].sort_values(["layer", "head"])
    places = [tuple(place) for place in rows[["layer", "head"]].to_numpy().tolist()]
    if places != list(np.ndindex(shape)):
        raise ValueError(
            f"scores must have one row of {name} for each of {shape[0]} layers of {shape[1]} "
            f"heads, found {len(rows)} rows"
        )
    return rows["value"].to_numpy(dtype=np.float64)


def refuse_other_graph(circuit: Circuit | None, shape: tuple[int, int]) -> None:
    """Check that a circuit is one of a model with so many layers and heads.

    Raises:
        ValueError: naming both.
    """
    if circuit is None:
        return
    found = (circuit.graph.n_layers, circuit.graph.n_heads)
    if found != shape:
        raise ValueError(
            f"the circuit is one of {found[0]} layers of {found[1]} heads, but the model has "
            f"{shape[0]} of {shape[1]}"
        )
