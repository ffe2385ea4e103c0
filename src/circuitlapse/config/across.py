"""The keys that say which training steps of a model are compared by exchanging parts of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from circuitlapse.config.fields import Section, Steps, key

Pair = Annotated[
    Steps,
    Field(
        strict=False,
        min_length=2,
        max_length=2,
        json_schema_extra={"x-allowed": "a pair [source, target] of two steps"},
    ),
]


class Transfer(Section):
    """Circuits in the models of other steps, and on other tasks."""

    steps: Steps | None = key(
        "Training steps that exchange their circuits, ascending; each must be analysed in every "
        "model. null takes all analysed steps of a model. Checkpoints that are fetched stay on "
        "disk until then, so name a few steps where models are large.",
        None,
        reruns="transfer",
        allowed="a list of steps, or null",
        strict=False,
        min_length=1,
    )


class Swaps(Section):
    """Heads of one training step in the model of another."""

    pairs: tuple[Pair, ...] | None = key(
        "Pairs [source, target] of training steps: which step lends heads to which; each must be "
        "analysed in every model. null lets the last step of transfer.steps lend to the others.",
        None,
        reruns="swaps",
        allowed="a list of pairs [source, target] of two steps, or null",
        strict=False,
    )
    random_sets: int = key(
        "How often as many heads are drawn at random, as a control; 0 for no control.",
        3,
        reruns="swaps",
        ge=0,
        le=100,
    )
