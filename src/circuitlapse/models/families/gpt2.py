"""GPT-2: Stanford's training runs (Mistral), and OpenAI's final models."""

from __future__ import annotations

from torch import Tensor

from circuitlapse.models.decoder import Attention, Block, Mlp, Norm
from circuitlapse.models.families.base import Built, ConfigFile, Family, Weights, heads_of


def _build(config: ConfigFile, weights: Weights) -> Built:
    config.refuse({"scale_attn_weights": (True,)})
    d_model, d_vocab = config.integer("n_embd"), config.integer("vocab_size")
    n_heads, d_mlp = heads_of(config, d_model, "n_head"), config.integer("n_inner", 4 * d_model)
    eps, act = (
        config.number("layer_norm_epsilon", 1e-5),
        config.activation("activation_function", "gelu_new"),
    )
    # The first files have no prefix: they hold the model without its head.
    top = "transformer." if any(x.startswith("transformer.") for x in weights.shapes) else ""

    def norm(name: str) -> Norm:
        gain, bias = (weights.take(f"{name}.{part}", d_model) for part in ("weight", "bias"))
        return Norm("layer", gain, bias, eps)

    def linear(name: str, d_out: int, d_in: int) -> tuple[Tensor, Tensor]:
        # Weights are [in, out] here, other than everywhere else.
        weight = weights.take(f"{name}.weight", d_in, d_out).T.contiguous()
        return weight, weights.take(f"{name}.bias", d_out)

    def block(layer: int) -> Block:
        name = f"{top}h.{layer}"
        qkv = linear(f"{name}.attn.c_attn", 3 * d_model, d_model)
        out = linear(f"{name}.attn.c_proj", d_model, d_model)
        inner = linear(f"{name}.mlp.c_fc", d_mlp, d_model)
        outer = linear(f"{name}.mlp.c_proj", d_model, d_mlp)
        return Block(
            ln1=norm(f"{name}.ln_1"),
            attn=Attention(*qkv, *out, n_heads, n_heads),
            ln2=norm(f"{name}.ln_2"),
            mlp=Mlp(*inner, *outer, act),
        )

    n_layers, n_ctx = config.integer("n_layer"), config.integer("n_positions", 1024)
    embed = weights.take(f"{top}wte.weight", d_vocab, d_model)
    parts = {
        "embed": embed,
        "positions": weights.take(f"{top}wpe.weight", n_ctx, d_model),
        "blocks": tuple(block(layer) for layer in range(n_layers)),
        "ln_final": norm(f"{top}ln_f"),
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
    "Stanford's GPT-2 runs",
    _build,
    ignored=r"\.attn\.(bias|masked_bias)$",  # causal masks in old files
)
