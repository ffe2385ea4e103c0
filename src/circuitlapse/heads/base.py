"""What a detector of heads takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.models.activations import RunActivations
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Heads
from circuitlapse.types import NAME_ROLES
from circuitlapse.types.status import ScoreStatus

DEFAULTS = Heads()
"""Options of detectors where a caller gives none: the defaults of the configuration."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, and the prompts and text to run it on.

    Attributes:
        model: the decoder.
        seed: of all random draws.
        pairs: IOI prompts, whose `roles` give the positions io, s1 and s2; None without them.
        clean: activations of the clean prompts of `pairs`, if they are already computed.
        text: token ids of documents of any length, for scores on running text; None without them.
    """

    model: Decoder
    seed: int
    pairs: PromptPairs | None = None
    clean: RunActivations | None = None
    text: Sequence[Int[Tensor, " _"]] | None = None

    @classmethod
    def of(cls, model: Model, seed: int, **given: Any) -> Subject:
        """Return the subject of any model; see `as_decoder`."""
        return cls(as_decoder(model), seed, **given)


@dataclass(frozen=True, eq=False)
class HeadScore:
    """One number per head.

    Attributes:
        values: [layer, head], float32; NaN where the score is not defined.
        n: number of observations: prompts, sequences, pairs of words or positions.
        low, high: ends of the bootstrap interval, in the shape of the values; None where there is
            none.
        status: why a value is NaN: one status for all heads, or [layer][head]. `status_of` reads
            either.
    """

    values: Float[Tensor, "layer head"]
    n: int
    status: ScoreStatus | Sequence[Sequence[ScoreStatus]] = ScoreStatus.OK
    low: Float[Tensor, "layer head"] | None = None
    high: Float[Tensor, "layer head"] | None = None

    def status_of(self, layer: int, head: int) -> ScoreStatus:
        """Return the status of one head."""
        return self.status if isinstance(self.status, ScoreStatus) else self.status[layer][head]

    def interval_of(self, layer: int, head: int) -> tuple[float, float]:
        """Return the interval of one head; NaN where there is none."""
        low, high = (
            float("nan") if ends is None else float(ends[layer, head])
            for ends in (self.low, self.high)
        )
        return low, high

    @classmethod
    def undefined(cls, model: Decoder, status: ScoreStatus) -> HeadScore:
        """Return NaN for every head."""
        shape = (model.cfg.n_layers, model.cfg.n_heads)
        return cls(torch.full(shape, torch.nan), 0, status)


def with_names(pairs: PromptPairs | None) -> PromptPairs:
    """Return IOI prompts unchanged, after a check.

    Raises:
        ValueError: if there are no prompts, or they lack a role of `NAME_ROLES`.
    """
    if pairs is None or not len(pairs):
        raise ValueError(f"this score needs prompt pairs with the roles {', '.join(NAME_ROLES)}")
    if missing := [role for role in NAME_ROLES if role not in pairs.roles]:
        raise ValueError(
            f"the prompt pairs lack the roles {', '.join(missing)}; expected those of an ioi "
            f"task, found {', '.join(pairs.roles) or 'none'}"
        )
    return pairs


def positions_of_names(pairs: PromptPairs) -> Int[Tensor, "pair role"]:
    """Return the positions of io, s1 and s2 in each clean prompt, in this order."""
    return torch.stack([pairs.roles[role] for role in NAME_ROLES], 1).to(pairs.clean.device)


def at_positions(x: Tensor, positions: Int[Tensor, "pair role"]) -> Tensor:
    """Select the positions of each pair: `x` [pair, pos, ...] becomes [pair, role, ...]."""
    rows = torch.arange(len(x), device=x.device)[:, None]  # [pair, 1], against [pair, role]
    picked: Tensor = x[rows, positions.to(x.device)]  # [pair, role, ...]
    return picked
