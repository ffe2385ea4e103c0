"""What a detector of heads gets, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.models.activations import RunActivations
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.types import NAME_ROLES


class ScoreStatus(StrEnum):
    """Whether a score means something."""

    OK = "ok"
    NO_TOKENS = "no_tokens"
    """The tokenizer lacks the words that the score is about."""
    NO_EFFECT = "no_effect"
    """Taking the head away changes nothing, so that no share of its effect is defined."""
    NO_NAME_MOVERS = "no_name_movers"
    """There is no head whose queries could be changed."""
    NO_PROMPTS = "no_prompts"
    """There is no IOI task, whose prompts the score is about."""
    NO_TEXT = "no_text"
    """There is no text to measure the score on."""
    SKIPPED = "skipped"
    """The score leaves out the layer."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what it may be run on.

    Attributes:
        model: from `load_model`.
        seed: of everything drawn at random.
        pairs: IOI prompts, whose `roles` give the positions io, s1 and s2; None without them.
        clean: activations of the clean prompts of `pairs`, when they are at hand.
        text: token ids of documents of any length, for scores on running text; None without them.
    """

    model: TransformerBridge
    seed: int
    pairs: PromptPairs | None = None
    clean: RunActivations | None = None
    text: Sequence[Int[Tensor, " _"]] | None = None


@dataclass(frozen=True, eq=False)
class HeadScore:
    """One number per head.

    Attributes:
        values: [layer, head], float32; NaN where the score is not defined.
        n: how many observations (prompts, sequences, pairs of words, positions) are behind it.
        status: why a value is NaN, for heads where it is; one for all heads or [layer][head].
            `status_of` reads either.
    """

    values: Float[Tensor, "layer head"]
    n: int
    status: ScoreStatus | Sequence[Sequence[ScoreStatus]] = ScoreStatus.OK

    def status_of(self, layer: int, head: int) -> ScoreStatus:
        """Return the status of one head."""
        return self.status if isinstance(self.status, ScoreStatus) else self.status[layer][head]

    @classmethod
    def undefined(cls, model: TransformerBridge, status: ScoreStatus) -> HeadScore:
        """Return NaN for every head."""
        shape = (model.cfg.n_layers, model.cfg.n_heads)
        return cls(torch.full(shape, torch.nan), 0, status)


def with_names(pairs: PromptPairs | None) -> PromptPairs:
    """Return the prompts as they are.

    Raises:
        ValueError: if there are no prompts, or they lack one of these roles.
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
    """Pick from `x` [pair, pos, ...] what stands at the positions [pair, role, ...]."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    picked: Tensor = x[rows, positions.to(x.device)]
    return picked
