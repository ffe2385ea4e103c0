"""The parts of a layer: norms, rotary positions, attention and MLP, in one form for every family.

Heads come with weights of their own: where several share keys and values (grouped-query
attention), each has a copy of them. What a head writes to the residual stream is always
`z @ W_O`; see `Attention.scale_of` for norms after the sublayer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, split, unflatten
from torch.nn import functional

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
        partial(functional.gelu, approximate="tanh"),
    ),
    **dict.fromkeys(("silu", "swish"), functional.silu),
    "relu": functional.relu,
}
"""Activation functions of an MLP, by their names in `config.json`."""


@dataclass(frozen=True, eq=False)
class Norm:
    """LayerNorm (`layer`), RMSNorm (`rms`), or nothing at all (`none`).

    Attributes:
        kind: which of them.
        weight: gain; None for ones.
        bias: None for zeros.
        eps: added to the variance, or to the mean square.
    """

    kind: str
    weight: Float[Tensor, " d"] | None = None
    bias: Float[Tensor, " d"] | None = None
    eps: float = 0.0

    def __call__(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the normalised input, with gain and bias."""
        if self.kind == "layer":
            return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        if self.kind == "rms":
            return functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)
        return x

    def scale(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Return what the input is divided by: standard deviation, root mean square, or 1."""
        if self.kind == "layer":
            # LayerNorm takes the population variance, so there is no correction by n - 1.
            return (x.var(-1, correction=0) + self.eps).sqrt()
        if self.kind == "rms":
            return (x.square().mean(-1) + self.eps).sqrt()
        return torch.ones_like(x[..., 0])

    def normalised(
        self, x: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch 1"]]:
        """Return the direction in which the scale grows, and the scale, both in float32.

        The direction is the input after division, without gain and bias, or 0 where nothing is
        divided.
        """
        x = x.float()
        plain = replace(self, weight=None, bias=None)
        direction = torch.zeros_like(x) if self.kind == "none" else plain(x)
        return direction, self.scale(x)[..., None]

    def centre(self, x: Tensor, *, dim: int = -1) -> Tensor:
        """Take the mean off, as LayerNorm does; the others do not."""
        return x - x.mean(dim, keepdim=True) if self.kind == "layer" else x

    def gain(self, like: Float[Tensor, "*batch d"]) -> Float[Tensor, " d"]:
        """Return the gain in the dtype of a tensor whose last axis is normalised."""
        return like.new_ones(like.shape[-1]) if self.weight is None else self.weight.to(like.dtype)

    def to(self, dtype: torch.dtype) -> Norm:
        """Return the same norm with weights in another dtype."""
        weight, bias = (None if x is None else x.to(dtype) for x in (self.weight, self.bias))
        return replace(self, weight=weight, bias=bias)

    def offset(self, like: Float[Tensor, "*batch d"]) -> Float[Tensor, " d"]:
        """Return the bias in the dtype of a tensor whose last axis is normalised."""
        return like.new_zeros(like.shape[-1]) if self.bias is None else self.bias.to(like.dtype)


@dataclass(frozen=True, eq=False)
class Rotary:
    """Rotary position embedding of the first channels of queries and keys (arXiv 2104.09864).

    Attributes:
        frequencies: of each pair of channels, in float32.
    """

    frequencies: Float[Tensor, " pair"]
    _tables: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, channels: int, *, base: float, stretch: float = 1.0, device: Any) -> Rotary:
        """Return the embedding that rotates so many channels.

        Args:
            channels: even number, at most d_head.
            base: of the frequencies.
            stretch: linear scaling of positions; 2 halves all frequencies.
            device: of the frequencies.
        """
        exponents = torch.arange(0, channels, 2, dtype=torch.float32) / channels
        return cls((1.0 / base**exponents / stretch).to(device))

    def angles(
        self, n_pos: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "pos channel"], Float[Tensor, "pos channel"]]:
        """Return cosine and sine of the first positions; they are kept for the next call."""
        key = (n_pos, dtype)
        if key not in self._tables:
            positions = torch.arange(n_pos, device=self.frequencies.device).float()
            # Channel i is paired with channel i + channels / 2, so that each angle comes twice.
            angle = (positions[:, None] * self.frequencies).repeat(1, 2)
            self._tables[key] = (angle.cos().to(dtype), angle.sin().to(dtype))
        return self._tables[key]


@dataclass(frozen=True, eq=False)
class Attention:
    """The heads of one layer.

    Attributes:
        qkv: rows of all queries, then of the distinct keys, then of the distinct values.
        qkv_bias: None for zeros.
        out: output weight, before the gain of `norm_after`.
        out_bias: None for zeros.
        n_heads, n_kv_heads: see `DecoderConfig`.
        rotary: None for models with learned positions.
        clip: largest absolute value of queries, keys and values; None for no limit.
        q_norm, k_norm: of queries and keys, before rotation; None for none.
        norm_all_heads: whether these normalise all heads together.
        norm_after: of the sum of what all heads write.
        score_divisor: of attention scores, besides the square root of d_head.
    """

    qkv: Float[Tensor, "rows d_model"]
    qkv_bias: Float[Tensor, " rows"] | None
    out: Float[Tensor, "d_model columns"]
    out_bias: Float[Tensor, " d_model"] | None
    n_heads: int
    n_kv_heads: int
    rotary: Rotary | None = None
    clip: float | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    norm_all_heads: bool = False
    norm_after: Norm | None = None
    score_divisor: float = 1.0

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.out.shape[1] // self.n_heads

    @property
    def heads_are_joint(self) -> bool:
        """Whether a head's query or output depends on the other heads of its layer."""
        return self.norm_all_heads or self.norm_after is not None

    def ports(
        self, x: Float[Tensor, "*batch d_model"]
    ) -> tuple[Float[Tensor, "*batch head d_head"], ...]:
        """Return query, key and value of every head, before clipping, norms and rotation."""
        rows = functional.linear(x, self.qkv, self.qkv_bias)
        return self._by_port(unflatten(rows, -1, (-1, self.d_head)), -2)

    def ungrouped(self) -> Attention:
        """Return the same attention with keys and values of its own for every head."""
        if self.n_kv_heads == self.n_heads:
            return self

        def copied(rows: Tensor) -> Tensor:
            return torch.cat(self._by_port(unflatten(rows, 0, (-1, self.d_head)), 0)).flatten(0, 1)

        bias = None if self.qkv_bias is None else copied(self.qkv_bias)
        return replace(
            self,
            qkv=copied(self.qkv),
            qkv_bias=bias,
            n_kv_heads=self.n_heads,
            k_norm=self.k_norm_of_heads,
        )

    def _by_port(self, rows: Tensor, dim: int) -> tuple[Tensor, ...]:
        """Return queries, keys and values, one per query head along `dim`."""
        query, *others = split(rows, [self.n_heads, self.n_kv_heads, self.n_kv_heads], dim)
        return query, *(self._per_query(part, dim) for part in others)

    def _per_query(self, x: Tensor, dim: int) -> Tensor:
        shared = self.n_heads // self.n_kv_heads
        return x if shared == 1 else x.repeat_interleave(shared, dim)

    @cached_property
    def _weights(self) -> tuple[Float[Tensor, "head d_model d_head"], ...]:
        return self._by_port(unflatten(self.qkv, 0, (-1, self.d_head)).mT, 0)

    @cached_property
    def _biases(self) -> tuple[Float[Tensor, "head d_head"], ...]:
        bias = self.qkv.new_zeros(len(self.qkv)) if self.qkv_bias is None else self.qkv_bias
        return self._by_port(unflatten(bias, 0, (-1, self.d_head)), 0)

    @property
    def W_Q(self) -> Float[Tensor, "head d_model d_head"]:  # noqa: N802 - TransformerLens' name
        """Query weights of every head."""
        return self._weights[0]

    @property
    def W_K(self) -> Float[Tensor, "head d_model d_head"]:  # noqa: N802
        """Key weights of every head."""
        return self._weights[1]

    @property
    def W_V(self) -> Float[Tensor, "head d_model d_head"]:  # noqa: N802
        """Value weights of every head."""
        return self._weights[2]

    @property
    def b_Q(self) -> Float[Tensor, "head d_head"]:  # noqa: N802
        """Query biases of every head."""
        return self._biases[0]

    @property
    def b_K(self) -> Float[Tensor, "head d_head"]:  # noqa: N802
        """Key biases of every head."""
        return self._biases[1]

    @property
    def b_V(self) -> Float[Tensor, "head d_head"]:  # noqa: N802
        """Value biases of every head."""
        return self._biases[2]

    @cached_property
    def _writes(self) -> Float[Tensor, "d_model columns"]:
        norm = self.norm_after
        return self.out if norm is None or norm.weight is None else self.out * norm.weight[:, None]

    @property
    def W_O(self) -> Float[Tensor, "head d_head d_model"]:  # noqa: N802
        """What each head multiplies its z with to write to the residual stream."""
        return unflatten(self._writes.T, 0, (self.n_heads, -1))

    @cached_property
    def b_O(self) -> Float[Tensor, " d_model"]:  # noqa: N802
        """Output bias, which belongs to no head."""
        return self.out.new_zeros(len(self.out)) if self.out_bias is None else self.out_bias

    def clipped(self, x: Tensor) -> Tensor:
        """Return queries, keys or values within the limits of `clip`."""
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    @cached_property
    def k_norm_of_heads(self) -> Norm | None:
        """The norm of keys with a gain for the key of every head, those that are shared too."""
        norm = self.k_norm
        if norm is None or norm.weight is None or not self.norm_all_heads:
            return norm
        gain = unflatten(norm.weight, 0, (-1, self.d_head))
        return replace(norm, weight=self._per_query(gain, 0).flatten())

    def normalised(
        self, x: Float[Tensor, "head pair pos d_head"], norm: Norm | None
    ) -> Float[Tensor, "head pair pos d_head"]:
        """Return normalised queries or keys: each by itself, or all heads together.

        Copies of a shared key count once for every head. As long as they are equal, their mean
        square is that of the distinct keys.
        """
        if norm is None or not self.norm_all_heads:
            return x if norm is None else norm(x)
        joined = norm(x.movedim(0, 2).flatten(2))  # [pair, pos, head * d_head]
        apart: Tensor = unflatten(joined, 2, (len(x), -1))
        return apart.movedim(2, 0)

    def divided(
        self, mixed: Float[Tensor, "*batch head d_head"]
    ) -> tuple[Float[Tensor, "*batch head d_head"], Float[Tensor, "*batch"] | None]:
        """Return z, and the scale of `norm_after` that it has been divided by; see `scale_of`."""
        scale = self.scale_of(mixed)
        return (mixed if scale is None else mixed / scale[..., None, None]), scale

    def scale_of(
        self, mixed: Float[Tensor, "*batch head d_head"]
    ) -> Float[Tensor, "*batch"] | None:
        """Return what `norm_after` divides by: the scale of the sum over all heads; or None.

        z is what a head mixed from its values, divided by it. So the norm belongs to what the
        heads write, and their sum is still what attention adds to the residual stream.
        """
        if self.norm_after is None:
            return None
        return self.norm_after.scale(functional.linear(mixed.flatten(-2), self.out))

    def write(self, z: Float[Tensor, "*batch head d_head"]) -> Float[Tensor, "*batch d_model"]:
        """Return what attention adds to the residual stream: all heads, and the output bias."""
        return functional.linear(z.flatten(-2), self._writes, self.out_bias)


@dataclass(frozen=True, eq=False)
class Mlp:
    """The MLP of one layer; with `w_gate`, a gated one (arXiv 2002.05202).

    Attributes:
        w_in, b_in, w_gate, b_gate, w_out, b_out: weights [out, in]; None for biases of zero.
        activation: a name in `ACTIVATIONS`.
        norm_after: of the output; it belongs to what the MLP writes.
    """

    w_in: Float[Tensor, "d_mlp d_model"]
    b_in: Float[Tensor, " d_mlp"] | None
    w_out: Float[Tensor, "d_model d_mlp"]
    b_out: Float[Tensor, " d_model"] | None
    activation: str
    w_gate: Float[Tensor, "d_mlp d_model"] | None = None
    b_gate: Float[Tensor, " d_mlp"] | None = None
    norm_after: Norm | None = None

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Return what the MLP makes of its normalised input."""
        hidden = functional.linear(x, self.w_in, self.b_in)
        act = ACTIVATIONS[self.activation]
        if self.w_gate is None:
            hidden = act(hidden)
        else:
            hidden = act(functional.linear(x, self.w_gate, self.b_gate)) * hidden
        out = functional.linear(hidden, self.w_out, self.b_out)
        return out if self.norm_after is None else self.norm_after(out)
