"""Llama, and what its relatives share with it: RMSNorm, a gated MLP, grouped queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from circuitlapse.models.decoder import Block
from circuitlapse.models.families.base import Built, ConfigFile, Weights, heads_of
from circuitlapse.models.layers import Attention, Mlp, Norm


@dataclass(frozen=True)
class Variant:
    """In what a family differs from Llama.

    Attributes:
        norm: kind of all norms; a LayerNorm has no weights here (OLMo).
        norms_before, norms_after: names of the norms of attention and MLP; empty for none.
        always_qkv_bias: whether queries, keys and values have biases and the output has none,
            instead of `attention_bias` for all four.
        qk_norm: how queries and keys are normalised: not at all, `head` by head, or `all` together.
        clips: whether `clip_qkv` limits queries, keys and values.
        d_head: default of `head_dim`; None takes what divides the width.
        eps: default of `rms_norm_eps`; that of OLMo's LayerNorm is fixed.
    """

    norm: str = "rms"
    norms_before: tuple[str, str] | None = ("input_layernorm", "post_attention_layernorm")
    norms_after: tuple[str, str] | None = None
    always_qkv_bias: bool = False
    qk_norm: str = ""
    clips: bool = False
    d_head: int | None = None
    eps: float = 1e-6


class _Builder:
    """Reads one model."""

    def __init__(self, variant: Variant, config: ConfigFile, weights: Weights) -> None:
        self.variant, self._config, self._weights = variant, config, weights
        self.d_model, self.n_heads = (
            config.integer("hidden_size"),
            config.integer("num_attention_heads"),
        )
        if not ("head_dim" in config or variant.d_head):
            heads_of(config, self.d_model)
        self.d_head = config.integer("head_dim", variant.d_head or self.d_model // self.n_heads)
        self.n_kv_heads = config.integer("num_key_value_heads", self.n_heads)
        if self.n_heads % self.n_kv_heads:
            config.wrong("num_key_value_heads", f"a divisor of the {self.n_heads} heads")
        self.eps = 1e-5 if variant.norm == "layer" else config.number("rms_norm_eps", variant.eps)
        self.rotary = config.rotary(self.d_head, weights.device)
        self.clip = config.number("clip_qkv") if variant.clips and "clip_qkv" in config else None

    def norm(self, name: str, width: int) -> Norm:
        """Return a norm with the weight below `name`."""
        if self.variant.norm == "layer":
            return Norm("layer", eps=self.eps)
        return Norm("rms", self._weights.take(f"{name}.weight", width), eps=self.eps)

    def _qk_norms(self, name: str) -> dict[str, Any]:
        if not self.variant.qk_norm:
            return {}
        together = self.variant.qk_norm == "all"
        heads = {"q_norm": self.n_heads, "k_norm": self.n_kv_heads}
        norms: dict[str, Any] = {
            part: self.norm(f"{name}.{part}", self.d_head * (number if together else 1))
            for part, number in heads.items()
        }
        return norms | {"norm_all_heads": together}

    def attention(self, name: str, norm_after: Norm | None) -> Attention:
        """Return the attention below `name`."""
        qkv_only = self.variant.always_qkv_bias
        everywhere = not qkv_only and self._config.flag("attention_bias", default=False)
        if everywhere and norm_after is not None:
            self._config.wrong("attention_bias", "false in a model with a norm after attention")
        biased = everywhere or qkv_only
        rows = {"q_proj": self.n_heads, "k_proj": self.n_kv_heads, "v_proj": self.n_kv_heads}
        ports = [
            self._weights.linear(f"{name}.{port}", number * self.d_head, self.d_model, bias=biased)
            for port, number in rows.items()
        ]
        qkv = torch.cat([weight for weight, _ in ports])
        biases = [bias for _, bias in ports if bias is not None]
        out = self._weights.linear(
            f"{name}.o_proj", self.d_model, self.n_heads * self.d_head, bias=everywhere
        )
        return Attention(
            *(qkv, torch.cat(biases) if biases else None, *out),
            *(self.n_heads, self.n_kv_heads, self.rotary, self.clip),
            **self._qk_norms(name),
            norm_after=norm_after,
        )

    def mlp(self, name: str, norm_after: Norm | None) -> Mlp:
        """Return the gated MLP below `name`."""
        d_mlp = self._config.integer("intermediate_size")
        biased = self._config.flag("mlp_bias", default=False)
        w_in, b_in = self._weights.linear(f"{name}.up_proj", d_mlp, self.d_model, bias=biased)
        w_gate, b_gate = self._weights.linear(f"{name}.gate_proj", d_mlp, self.d_model, bias=biased)
        w_out, b_out = self._weights.linear(f"{name}.down_proj", self.d_model, d_mlp, bias=biased)
        act = self._config.activation("hidden_act", "silu")
        return Mlp(w_in, b_in, w_out, b_out, act, w_gate, b_gate, norm_after)

    def block(self, layer: int) -> Block:
        """Return one layer."""
        name = f"model.layers.{layer}"

        def norms(names: tuple[str, str] | None, default: Norm | None) -> list[Any]:
            there = [self.norm(f"{name}.{part}", self.d_model) for part in names or ()]
            return there or [default, default]

        ln1, ln2 = norms(self.variant.norms_before, Norm("none"))
        after_attn, after_mlp = norms(self.variant.norms_after, None)
        attn = self.attention(f"{name}.self_attn", after_attn)
        return Block(ln1, attn, ln2, self.mlp(f"{name}.mlp", after_mlp))


def builder(variant: Variant) -> Callable[[ConfigFile, Weights], Built]:
    """Return the function that builds models of a family."""

    def build(config: ConfigFile, weights: Weights) -> Built:
        model = _Builder(variant, config, weights)
        d_model, d_vocab = model.d_model, config.integer("vocab_size")
        n_layers = config.n_layers("num_hidden_layers")
        embed = weights.take("model.embed_tokens.weight", d_vocab, d_model)
        parts = {
            "embed": embed,
            "positions": None,
            "blocks": tuple(model.block(layer) for layer in range(n_layers)),
            "ln_final": model.norm("model.norm", d_model),
            "unembed": weights.unembedding(config, embed, "lm_head.weight", tied=False),
        }
        sizes = {
            "n_layers": n_layers,
            "n_heads": model.n_heads,
            "n_kv_heads": model.n_kv_heads,
            "d_model": d_model,
            "d_head": model.d_head,
            "d_mlp": config.integer("intermediate_size"),
            "d_vocab": d_vocab,
            "n_ctx": config.integer("max_position_embeddings", 2048),
            "window": config.window(n_layers),
            "parallel_attn_mlp": False,
        }
        return Built(sizes, parts)

    return build
