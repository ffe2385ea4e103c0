"""What path patching is asked for, checked and put in order; and what it returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import PORTS, Head

LOGITS = "logits"
"""The receiver that is the final residual stream."""
SENDER_POSITIONS = ("all", "end")

Sender = Head | frozenset[Head]
"""A head, or heads whose z are taken from the corrupted run together."""

SenderHeads = tuple[Head, ...]
"""The heads of a sender, in order."""


class HeadPort(NamedTuple):
    """The query (`q`), key (`k`) or value (`v`) vectors of a head."""

    layer: int
    head: int
    port: str


Receivers = Sequence[HeadPort] | Literal["logits"]


@dataclass(frozen=True, eq=False)
class PatchPlan:
    """What to patch.

    Attributes:
        receivers: None for the logits.
        senders: sorted by the layer of their first head; one without heads comes last.
        attended: receivers whose attention is kept.
        end_only: whether only the end position is computed.
        freeze_mlps: whether MLPs are held in run 2.
        metric: see `per_prompt_metric`.
    """

    receivers: tuple[HeadPort, ...] | None
    senders: tuple[SenderHeads, ...]
    attended: tuple[Head, ...]
    end_only: bool
    freeze_mlps: bool
    metric: str

    @property
    def last(self) -> int:
        """Last layer with a receiver; -1 without any."""
        return max((receiver.layer for receiver in self.receivers or ()), default=-1)

    @property
    def reaching(self) -> tuple[SenderHeads, ...]:
        """Senders with a receiver after any of their heads; they come first in `senders`."""
        to_logits = self.receivers is None
        # The first head of a sender decides: it has the most layers behind it.
        return tuple(
            heads for heads in self.senders if heads and (to_logits or heads[0][0] < self.last)
        )

    @property
    def side_by_side(self) -> int:
        """Most heads that one sender has in one layer; 1 without senders."""
        counts = (Counter(layer for layer, _ in heads).values() for heads in self.reaching)
        return max((max(count) for count in counts), default=1)

    def received_in(self, layer: int) -> list[HeadPort]:
        """Return the receivers of a layer."""
        return [receiver for receiver in self.receivers or () if receiver.layer == layer]


def make_plan(
    model: Decoder,
    *,
    receivers: Receivers,
    senders: Sequence[Sender],
    sender_positions: str,
    freeze_mlps: bool,
    attention: bool,
    metric: str,
) -> PatchPlan:
    """Check what is asked for, see `patch_paths`.

    Raises:
        UnknownNameError: if `sender_positions`, a port or a word for `receivers` is unknown.
        ValueError: if a sender or a receiver is not in the model.
    """
    if sender_positions not in SENDER_POSITIONS:
        raise UnknownNameError(unknown_name("sender_positions", sender_positions, SENDER_POSITIONS))
    sets = [heads_of(sender) for sender in senders]
    refuse_other_heads(model, [head for heads in sets for head in heads])
    ports = _checked_ports(model, receivers)
    return PatchPlan(
        receivers=ports,
        # The empty sender last; the same heads asked for twice are patched once.
        senders=tuple(sorted(set(sets), key=lambda heads: (not heads, heads))),
        attended=tuple(sorted({port[:2] for port in ports or ()})) if attention else (),
        # The logits are read at the end, and in run 2 no position sees another.
        end_only=sender_positions == "end" or ports is None,
        freeze_mlps=freeze_mlps,
        metric=metric,
    )


def as_sender(given: Head | Collection[Head]) -> Sender:
    """Return a head as a tuple, and a collection of heads as a frozen set."""
    # A head is a pair of numbers; the first element of a collection of heads is a pair itself.
    if isinstance(next(iter(given), None), Integral):
        layer, head = cast(Head, given)
        return (layer, head)
    return frozenset((layer, head) for layer, head in cast(Collection[Head], given))


def heads_of(sender: Sender) -> SenderHeads:
    """Return the heads of a sender, in order."""
    return tuple(sorted(sender)) if isinstance(sender, frozenset) else (sender,)


def refuse_other_heads(model: Decoder, heads: Sequence[Head]) -> None:
    """Check that the model has these heads.

    Raises:
        ValueError: naming the first that it lacks.
    """
    for layer, head in heads:
        if not (0 <= layer < model.cfg.n_layers and 0 <= head < model.cfg.n_heads):
            raise ValueError(
                f"a{layer}.h{head} is not in the model, which has {model.cfg.n_layers} layers of "
                f"{model.cfg.n_heads} heads"
            )


def _checked_ports(model: Decoder, receivers: Receivers) -> tuple[HeadPort, ...] | None:
    if isinstance(receivers, str):
        if receivers != LOGITS:
            raise UnknownNameError(unknown_name("receivers", receivers, (LOGITS,)))
        return None
    refuse_other_heads(model, [(layer, head) for layer, head, _ in receivers])
    for _, _, port in receivers:
        if port not in PORTS:
            raise UnknownNameError(unknown_name("port", port, PORTS))
    return tuple(sorted({HeadPort(*receiver) for receiver in receivers}))


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
        # [sender], and two numbers: a ratio of means, which single prompts cannot blow up
        means = (x.double().mean(-1) for x in (self.patched, self.clean, self.corrupted))
        return _normalised(*means)


def _normalised(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    span = clean - corrupted  # [prompt], broadcast against [sender, prompt]; or a number
    # The division by 0 comes first: its inf or NaN is masked here.
    return ((patched - clean) / span).masked_fill(span.abs() < NO_CHANGE, torch.nan)
