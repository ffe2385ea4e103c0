"""GPT-NeoX: Pythia and PolyPythias, and the pocket suite."""

from __future__ import annotations

from torch import Tensor, unflatten

from circuitlapse.models.decoder import Attention, Block, Mlp, Norm
from circuitlapse.models.families.base import Built, ConfigFile, Family, Weights, heads_of


def _build(config: ConfigFile, weights: Weights) -> Built:
    d_model, d_vocab = config.integer("hidden_size"), config.integer("vocab_size")
    d_mlp, n_heads = config.integer("intermediate_size"), heads_of(config, d_model)
    eps, d_head = config.number("layer_norm_eps", 1e-5), d_model // n_heads
    act, biased = (
        config.activation("hidden_act", "gelu"),
        config.flag("attention_bias", default=True),
    )
    rotary = config.rotary(
        d_head, weights.device, base_key="rotary_emb_base", share_key="rotary_pct", share=0.25
    )

    def norm(name: str) -> Norm:
        gain, bias = (weights.take(f"{name}.{part}", d_model) for part in ("weight", "bias"))
        return Norm("layer", gain, bias, eps)

    def linear(name: str, *shape: int, bias: bool = True) -> tuple[Tensor, Tensor | None]:
        weight = weights.take(f"{name}.weight", *shape)
        return weight, weights.bias(f"{name}.bias", shape[0], there=bias)

    def attention(name: str) -> Attention:
        # Stored head by head, with query, key and value of one head below each other.
        stored, stored_bias = linear(f"{name}.query_key_value", 3 * d_model, d_model, bias=biased)
        qkv = _by_port(stored, n_heads, d_head)
        bias = None if stored_bias is None else _by_port(stored_bias, n_heads, d_head)
        out, out_bias = linear(f"{name}.dense", d_model, d_model, bias=biased)
        return Attention(qkv, bias, out, out_bias, n_heads, n_heads, rotary)

    def block(layer: int) -> Block:
        name = f"gpt_neox.layers.{layer}"
        inner = linear(f"{name}.mlp.dense_h_to_4h", d_mlp, d_model)
        outer = linear(f"{name}.mlp.dense_4h_to_h", d_model, d_mlp)
        return Block(
            ln1=norm(f"{name}.input_layernorm"),
            attn=attention(f"{name}.attention"),
            ln2=norm(f"{name}.post_attention_layernorm"),
            mlp=Mlp(*inner, *outer, act),
        )

    n_layers = config.integer("num_hidden_layers")
    # Hubs and files have embed_out; transformers 5 calls it lm_head in memory.
    head = "lm_head" if "lm_head.weight" in weights.shapes else "embed_out"
    embed = weights.take("gpt_neox.embed_in.weight", d_vocab, d_model)
    parts = {
        "embed": embed,
        "positions": None,
        "blocks": tuple(block(layer) for layer in range(n_layers)),
        "ln_final": norm("gpt_neox.final_layer_norm"),
        "unembed": weights.unembedding(config, embed, f"{head}.weight", tied=False),
    }
    sizes = {
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "d_model": d_model,
        "d_head": d_head,
        "d_mlp": d_mlp,
        "d_vocab": d_vocab,
        "n_ctx": config.integer("max_position_embeddings", 2048),
        "parallel_attn_mlp": config.flag("use_parallel_residual", default=True),
    }
    return Built(sizes, parts)


def _by_port(rows: Tensor, n_heads: int, d_head: int) -> Tensor:
    """Sort rows from (head, port) to (port, head)."""
    apart: Tensor = unflatten(rows, 0, (n_heads, 3, d_head))
    return apart.transpose(0, 1).flatten(0, 2).contiguous()


GPT_NEOX = Family(
    "GPTNeoXForCausalLM",
    "Pythia, PolyPythias",
    _build,
    # causal masks and rotary frequencies in old files
    ignored=r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$",
)
