"""What the families share: checked reading of `config.json` and of weights, and common parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from circuitlapse.errors import ModelError
from circuitlapse.models.layers import ACTIVATIONS, Norm, Rotary

REFUSED: Mapping[str, str] = {
    "quantization_config": "quantised weights",
    "num_experts": "a mixture of experts",
    "num_local_experts": "a mixture of experts",
    "attn_logit_softcapping": "a soft cap on attention scores",
    "final_logit_softcapping": "a soft cap on logits",
    "add_cross_attention": "cross-attention",
    "embedding_multiplier": "scaled embeddings",
    "residual_multiplier": "scaled residuals",
    "logits_scaling": "scaled logits",
    "logit_scale": "scaled logits",
    "attention_multiplier": "scaled attention",
}
"""Keys of `config.json` that change what a model computes, and that no family here implements."""
SLIDES = "use_sliding_window"
_UNSET: tuple[Any, ...] = (None, False, 0, 0.0, [], {})
LARGEST = 2**31 - 1
"""The largest number of anything in a configuration."""
MOST_LAYERS = 10_000


class ConfigFile:
    """The values of a `config.json`, read key by key.

    Args:
        values: the content of the file.
        source: name of the file in messages.
    """

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self._values, self._source = values, source

    def __contains__(self, key: str) -> bool:
        """Return whether the file sets a key to anything but null."""
        return self._values.get(key) is not None

    def wrong(self, key: str, expected: str) -> NoReturn:
        """Raise a ModelError about the value of a key."""
        found = f"is {self._values[key]!r}" if key in self._values else "is missing"
        raise ModelError(f"{self._source}: {key} {found}, expected {expected}")

    def names(self, key: str) -> list[str]:
        """Return a list of names, empty for null or a missing key.

        Raises:
            ModelError: if it is anything else.
        """
        value = self._values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.wrong(key, "a list of names")
        return value

    def integer(self, key: str, default: int | None = None, *, most: int = LARGEST) -> int:
        """Return a positive whole number; null and a missing key mean the default.

        Args:
            key: of the number.
            default: what null and a missing key mean.
            most: the largest number, so that no file takes all memory and time.

        Raises:
            ModelError: if it is anything else, or missing without a default.
        """
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.wrong(key, "a whole number above 0")
        if value > most:
            self.wrong(key, f"at most {most}")
        return value

    def n_layers(self, key: str) -> int:
        """Return the number of layers; see `integer`."""
        return self.integer(key, most=MOST_LAYERS)

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number above 0; null and a missing key mean the default.

        Raises:
            ModelError: if it is anything else, or missing without a default.
        """
        value = self._value(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf:
            self.wrong(key, "a number above 0")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false.

        Raises:
            ModelError: if it is anything else.
        """
        value = self._value(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "true or false")
        return value

    def activation(self, key: str, default: str) -> str:
        """Return the name of an activation function.

        Raises:
            ModelError: if it is not implemented.
        """
        value = self._values.get(key, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            self.wrong(key, f"one of {', '.join(ACTIVATIONS)}")
        return str(value)

    def refuse(self, others: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Refuse what is in `REFUSED`, and keys that have other than the given values.

        Raises:
            ModelError: naming the key and what it means.
        """
        for key, meaning in REFUSED.items():
            if self._values.get(key) not in _UNSET:
                raise ModelError(
                    f"{self._source}: {key} is {self._values[key]!r}, which means {meaning}; "
                    "expected a model without"
                )
        for key, allowed in (others or {}).items():
            if self._values.get(key, allowed[0]) not in allowed:
                self.wrong(key, " or ".join(map(repr, allowed)))

    def rotary(
        self,
        d_head: int,
        device: torch.device,
        *,
        base_key: str = "rope_theta",
        share_key: str = "",
        share: float = 1.0,
    ) -> Rotary:
        """Return the rotary embedding, from today's keys of the file or from older ones.

        Args:
            d_head: width of a head.
            device: of the embedding.
            base_key: older key of the base.
            share_key: older key of the share of channels that are rotated; empty if all are.
            share: default of that share.

        Raises:
            ModelError: if the frequencies are scaled in another way than linearly.
        """
        nested: dict[str, Any] = {}
        for section in map(self._section, ("rope_parameters", "rope_scaling")):
            # `type` is the older name of `rope_type`; the later section wins by either name.
            nested |= {"rope_type": section["type"]} if "type" in section else {}
            nested |= section
        keys = ConfigFile({**self._values, **nested}, self._source)
        kind = nested.get("rope_type", "default")
        if not isinstance(kind, str) or kind not in ("default", "linear"):
            raise ModelError(
                f"{self._source}: rope_type is {kind!r}, expected 'default' or 'linear'"
            )
        if not share_key and keys.number("partial_rotary_factor", 1.0) != 1:
            keys.wrong("partial_rotary_factor", "1 in a model of this family")
        base = keys.number("rope_theta" if "rope_theta" in nested else base_key, 10_000.0)
        if share_key and "partial_rotary_factor" in nested:
            share_key = "partial_rotary_factor"
        share = keys.number(share_key, share) if share_key else share
        channels = int(d_head * share)
        if channels % 2 or channels > d_head:
            keys.wrong(share_key or "head_dim", f"an even number of {d_head} channels to rotate")
        stretch = keys.number("factor") if kind == "linear" else 1.0
        return Rotary.of(channels, base=base, stretch=stretch, device=device)

    def window(self, layers: int) -> int | None:
        """Return the positions that the most short-sighted layer sees, or None for all."""
        slides = any(kind != "full_attention" for kind in self.names("layer_types")[:layers])
        if "sliding_window" not in self or not (slides or self.flag(SLIDES, default=True)):
            return None
        return self.integer("sliding_window")

    def _value(self, key: str, default: Any) -> Any:
        """Return a value; null and a missing key mean the default."""
        value = self._values.get(key)
        return default if value is None else value

    def _section(self, key: str) -> dict[str, Any]:
        value = self._values.get(key) or {}
        if not isinstance(value, dict):
            self.wrong(key, "a mapping")
        return value


@dataclass
class Weights:
    """The weights of a file by name, and what was wrong with those that were asked for.

    Attributes:
        shapes: shape of every weight in the file.
        device: where the weights go.
        read: returns a weight; None to return empty ones, which checks names and shapes first.
        taken: names that were asked for.
        missing, misshapen: sentences about them.
    """

    shapes: Mapping[str, tuple[int, ...]]
    device: torch.device
    read: Callable[[str], Tensor] | None = None
    taken: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    def take(self, name: str, *shape: int) -> Tensor:
        """Return the weight of this name and shape."""
        self.taken.add(name)
        if self.read is not None:
            return self.read(name)
        if name not in self.shapes:
            self.missing.append(f"{name} {list(shape)}")
        elif self.shapes[name] != shape:
            found = list(self.shapes[name])
            self.misshapen.append(f"{name} is {found}, but config.json makes it {list(shape)}")
        return torch.empty(shape, device="meta")

    def linear(
        self, name: str, d_out: int, d_in: int, *, bias: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return weight [out, in] and bias of a linear map; None for the bias it does not have."""
        weight = self.take(f"{name}.weight", d_out, d_in)
        return weight, self.take(f"{name}.bias", d_out) if bias else None

    def layer_norm(self, name: str, width: int, eps: float) -> Norm:
        """Return a LayerNorm."""
        gain, bias = (self.take(f"{name}.{part}", width) for part in ("weight", "bias"))
        return Norm("layer", gain, bias, eps)

    def unembedding(self, config: ConfigFile, embed: Tensor, name: str, *, tied: bool) -> Tensor:
        """Return the unembedding: a weight of its own, or the embedding again.

        Args:
            config: says which; without a word, `tied` does.
            embed: the embedding.
            name: of the weight.
            tied: default of the family.

        Raises:
            ModelError: if the two are tied but differ in the file.
        """
        if not config.flag("tie_word_embeddings", default=tied):
            return self.take(name, *embed.shape)
        if name not in self.shapes:
            return embed
        stored = self.take(name, *embed.shape)
        if self.read is not None and not torch.equal(stored, embed):
            config.wrong("tie_word_embeddings", f"false, as {name} is not the embedding")
        return embed


class Built(NamedTuple):
    """What a family makes of a model; see `Decoder` and `DecoderConfig`."""

    sizes: dict[str, Any]
    parts: dict[str, Any]


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        architecture: class in transformers.
        build: makes the parts of a decoder.
        ignored: pattern of weights that follow from the configuration.
    """

    architecture: str
    build: Callable[[ConfigFile, Weights], Built]
    ignored: str = r"(^|\.)rotary_emb\.inv_freq$"


def heads_of(config: ConfigFile, d_model: int, key: str = "num_attention_heads") -> int:
    """Return the number of heads, which must divide the width of the model.

    Raises:
        ModelError: if it does not.
    """
    n_heads = config.integer(key)
    if d_model % n_heads:
        config.wrong(key, f"a divisor of the width {d_model}")
    return n_heads
