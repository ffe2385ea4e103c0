"""GPT-2: Stanford's training runs (Mistral), and OpenAI's final models."""

from __future__ import annotations

from torch import Tensor

from circuitlapse.models.decoder import Block
from circuitlapse.models.families.base import Built, ConfigFile, Family, Weights, heads_of
from circuitlapse.models.layers import Attention, Mlp


def _linear(weights: Weights, name: str, d_out: int, d_in: int) -> tuple[Tensor, Tensor]:
    # Weights are stored as [in, out], other than everywhere else.
    weight = weights.take(f"{name}.weight", d_in, d_out).T.contiguous()
    return weight, weights.take(f"{name}.bias", d_out)


def _block(config: ConfigFile, weights: Weights, name: str, d_model: int, d_mlp: int) -> Block:
    # Stanford's models divide the scores of layer 0 by 1, of layer 1 by 2, and so on.
    by_layer = config.flag("scale_attn_by_inverse_layer_idx", default=False)
    divisor = 1.0 + int(name.rpartition(".")[2]) if by_layer else 1.0
    eps = config.number("layer_norm_epsilon", 1e-5)
    n_heads = heads_of(config, d_model, "n_head")
    return Block(
        weights.layer_norm(f"{name}.ln_1", d_model, eps),
        Attention(
            *_linear(weights, f"{name}.attn.c_attn", 3 * d_model, d_model),
            *_linear(weights, f"{name}.attn.c_proj", d_model, d_model),
            *(n_heads, n_heads),
            score_divisor=divisor,
        ),
        weights.layer_norm(f"{name}.ln_2", d_model, eps),
        Mlp(
            *_linear(weights, f"{name}.mlp.c_fc", d_mlp, d_model),
            *_linear(weights, f"{name}.mlp.c_proj", d_model, d_mlp),
            config.activation("activation_function", "gelu_new"),
        ),
    )


def _build(config: ConfigFile, weights: Weights) -> Built:
    config.refuse({"scale_attn_weights": (True,)})
    d_model, d_vocab = config.integer("n_embd"), config.integer("vocab_size")
    d_mlp, n_layers = config.integer("n_inner", 4 * d_model), config.n_layers("n_layer")
    n_heads, n_ctx = heads_of(config, d_model, "n_head"), config.integer("n_positions", 1024)
    # The first files have no prefix: they hold the model without its head.
    top = "transformer." if any(x.startswith("transformer.") for x in weights.shapes) else ""
    embed = weights.take(f"{top}wte.weight", d_vocab, d_model)
    blocks = (
        _block(config, weights, f"{top}h.{layer}", d_model, d_mlp) for layer in range(n_layers)
    )
    eps = config.number("layer_norm_epsilon", 1e-5)
    parts = {
        "embed": embed,
        "positions": weights.take(f"{top}wpe.weight", n_ctx, d_model),
        "blocks": tuple(blocks),
        "ln_final": weights.layer_norm(f"{top}ln_f", d_model, eps),
        "unembed": weights.unembedding(config, embed, "lm_head.weight", tied=True),
    }
    sizes = {
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "d_model": d_model,
        "d_head": d_model // n_heads,
        "d_mlp": d_mlp,
        "d_vocab": d_vocab,
        "n_ctx": n_ctx,
        "parallel_attn_mlp": False,
    }
    return Built(sizes, parts)


GPT2 = Family(
    "GPT2LMHeadModel",
    _build,
    ignored=r"\.attn\.(bias|masked_bias)$",  # causal masks in old files
)
