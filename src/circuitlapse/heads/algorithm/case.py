"""A model, its IOI prompts and the scores of its heads: what all measurements start from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.base import DEFAULTS, Subject
from circuitlapse.heads.naming import Naming
from circuitlapse.heads.path_patching import (
    Head,
    HeadPort,
    PatchedPaths,
    Receivers,
    patch_many_paths,
    patch_paths,
)
from circuitlapse.heads.s_inhibition import FlipTest, flip_test
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import Metric, RoleRule

TOP_EDGES = 0.1
"""Share of all edges, by |score|, among which an S-inhibition head has one into a name mover.

The size of a circuit varies by a factor of two or more between neighbouring steps, and a head whose
edge is near its end would come and go with it. A rank does not. Circuits are mostly smaller, so the
condition is wider: the effect along the edge and the test by flips decide.
"""
ROLE_SCORES = ("copy", "copy_neg", "cspa", "induction", "duplicate", "prev_token")
"""The scores that roles, and the sources of the role graph, depend on."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its prompts and the scores of its heads, in the order of layers.

    Attributes:
        scores: one of `ROLE_SCORES` -> its values.
        seed: of the names that S-inhibition heads are misled with.
        lengths: numbers of random tokens that induction and duplicate were measured with.
    """

    model: Decoder
    pairs: PromptPairs
    scores: Mapping[str, Float[ndarray, " head"]]
    circuit: Circuit | None
    settings: Algorithm
    bootstrap: Bootstrap
    seed: int
    limits: Limits
    lengths: Sequence[int] = DEFAULTS.lengths
    edge_scores: Float[ndarray, "source target"] | None = None

    @property
    def strong_edges(self) -> Circuit | None:
        """The edges that connect an S-inhibition head to name movers; None if they are not known.

        By the rule `paper` those of the circuit, else the `TOP_EDGES` with the highest scores.
        """
        if self.settings.rule == RoleRule.PAPER or self.edge_scores is None:
            return self.circuit
        graph, size = model_graph(self.model), np.abs(self.edge_scores)
        known = np.sort(size[graph.exists])  # rising
        return Circuit(graph, graph.exists & (size >= known[-math.ceil(TOP_EDGES * len(known))]))

    @cached_property
    def layers(self) -> Int[ndarray, " head"]:
        """The layer of every head."""
        n_layers, n_heads = shape_of(self.model)
        return np.repeat(np.arange(n_layers), n_heads)

    def named(self, score: str, *, above: float) -> Bool[ndarray, " head"]:
        """Return which heads a score above some value names; none whose score is NaN."""
        naming, values = Naming(self.settings.rule, self.lengths), self.scores[score]
        return np.asarray((values > above) & naming.may_name(score, self.layers, values))

    def above_mean(self, score: str) -> Bool[ndarray, " head"]:
        """Return which heads a score above its mean over all heads names."""
        # pandas takes the mean over the heads whose score is not NaN.
        return self.named(score, above=pd.Series(self.scores[score]).mean())

    def patch(
        self, receivers: Receivers, senders: Sequence[Collection[Head]] | None = None
    ) -> PatchedPaths:
        """Patch the paths from all heads, or from sets of heads that are patched together."""
        return patch_paths(
            self.model,
            self.pairs,
            receivers=receivers,
            senders=senders,
            freeze_mlps=self.settings.freeze_mlps,
            limits=self.limits,
        )

    def patch_many(
        self, wanted: Sequence[tuple[Receivers, Sequence[Collection[Head]]]]
    ) -> list[PatchedPaths]:
        """Patch the paths from sets of heads to each of several sets of receivers."""
        return patch_many_paths(
            self.model,
            self.pairs,
            wanted,
            sender_positions="all",
            freeze_mlps=self.settings.freeze_mlps,
            attention=False,
            metric=Metric.LOGIT_DIFF,
            limits=self.limits,
        )

    def test(self, *, name_movers: Sequence[Head], candidates: Sequence[Head]) -> FlipTest:
        """Test for S-inhibition."""
        subject = Subject(self.model, self.seed, self.pairs)
        return flip_test(
            subject,
            name_movers=name_movers,
            candidates=candidates,
            settings=self.settings,
            bootstrap=self.bootstrap,
            limits=self.limits,
        )

    def before(self, receivers: Sequence[HeadPort]) -> Bool[ndarray, " head"]:
        """Return which heads are in an earlier layer than one of the receivers."""
        return np.asarray(self.layers < max(port.layer for port in receivers))

    def heads(self, mask: Bool[ndarray, " head"]) -> list[Head]:
        """Return (layer, head) where a mask is true."""
        return [divmod(int(at), self.model.cfg.n_heads) for at in np.flatnonzero(mask)]

    def ports(self, mask: Bool[ndarray, " head"], port: str) -> list[HeadPort]:
        """Return one port of the heads where a mask is true."""
        return [HeadPort(layer, head, port) for layer, head in self.heads(mask)]


def shape_of(model: Decoder) -> tuple[int, int]:
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
    # Sorted, they must be exactly (0, 0), (0, 1), ...: no head twice, none missing.
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
