"""What path patching returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.graph import Head
from circuitlapse.path_patching.plan import Sender

NO_CHANGE = 1e-6
"""A smaller difference between the clean and the corrupted metric leaves effects undefined."""


@dataclass(frozen=True, eq=False)
class PatchedPaths:
    """What the metric and attention become when the path from each sender is corrupted.

    Attributes:
        senders: of each row, in the order in which they were given: (layer, head), or for heads
            patched together the frozen set of theirs.
        patched: metric of run 3.
        clean, corrupted: metric of the whole model on the clean and on the corrupted prompt.
        attended: (layer, head) of the receivers whose attention was asked for.
        attention: their attention probabilities from the end position in run 3.
        clean_attention: the same in the clean run.
    """

    senders: tuple[Sender, ...]
    patched: Float[Tensor, "sender prompt"]
    clean: Float[Tensor, " prompt"]
    corrupted: Float[Tensor, " prompt"]
    attended: tuple[Head, ...]
    attention: Float[Tensor, "sender prompt receiver key"]
    clean_attention: Float[Tensor, "prompt receiver key"]

    @property
    def effect(self) -> Float[Tensor, "sender prompt"]:
        """(patched - clean) / (clean - corrupted) of every prompt.

        0 is no harm, -1 a fall to the corrupted level, more than 0 a sender that was hurting.
        NaN where clean and corrupted differ by less than 1e-6.
        """
        return _normalised(self.patched, self.clean, self.corrupted)

    @property
    def mean_effect(self) -> Float[Tensor, " sender"]:
        """The same of the means over prompts, as in the reference."""
        means = (x.double().mean(-1) for x in (self.patched, self.clean, self.corrupted))
        return _normalised(*means)


def _normalised(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    span = clean - corrupted
    return ((patched - clean) / span).masked_fill(span.abs() < NO_CHANGE, torch.nan)
