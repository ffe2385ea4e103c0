"""GPT-NeoX: Pythia and PolyPythias, and the pocket suite."""

from __future__ import annotations

from torch import Tensor, unflatten

from circuitlapse.models.decoder import Block
from circuitlapse.models.families.base import Built, ConfigFile, Family, Weights, heads_of
from circuitlapse.models.layers import Attention, Mlp


class _Builder:
    """Reads one model."""

    def __init__(self, config: ConfigFile, weights: Weights) -> None:
        self.config, self.weights = config, weights
        self.d_model, self.d_mlp = (
            config.integer("hidden_size"),
            config.integer("intermediate_size"),
        )
        self.n_heads = heads_of(config, self.d_model)
        self.d_head, self.eps = self.d_model // self.n_heads, config.number("layer_norm_eps", 1e-5)
        self.rotary = config.rotary(
            self.d_head,
            weights.device,
            base_key="rotary_emb_base",
            share_key="rotary_pct",
            share=0.25,
        )

    def attention(self, name: str) -> Attention:
        """Return the attention below `name`."""
        biased, d_model = self.config.flag("attention_bias", default=True), self.d_model
        # Stored head by head, with query, key and value of one head below each other.
        rows, bias = self.weights.linear(
            f"{name}.query_key_value", 3 * d_model, d_model, bias=biased
        )
        return Attention(
            self._by_port(rows),
            None if bias is None else self._by_port(bias),
            *self.weights.linear(f"{name}.dense", d_model, d_model, bias=biased),
            n_heads=self.n_heads,
            n_kv_heads=self.n_heads,
            rotary=self.rotary,
        )

    def _by_port(self, rows: Tensor) -> Tensor:
        """Sort rows from (head, port) to (port, head)."""
        apart: Tensor = unflatten(rows, 0, (self.n_heads, 3, self.d_head))
        return apart.transpose(0, 1).flatten(0, 2).contiguous()

    def block(self, layer: int) -> Block:
        """Return one layer."""
        name, weights = f"gpt_neox.layers.{layer}", self.weights
        mlp = Mlp(
            *weights.linear(f"{name}.mlp.dense_h_to_4h", self.d_mlp, self.d_model),
            *weights.linear(f"{name}.mlp.dense_4h_to_h", self.d_model, self.d_mlp),
            self.config.activation("hidden_act", "gelu"),
        )
        return Block(
            weights.layer_norm(f"{name}.input_layernorm", self.d_model, self.eps),
            self.attention(f"{name}.attention"),
            weights.layer_norm(f"{name}.post_attention_layernorm", self.d_model, self.eps),
            mlp,
        )


def _build(config: ConfigFile, weights: Weights) -> Built:
    model = _Builder(config, weights)
    n_layers, d_vocab = config.n_layers("num_hidden_layers"), config.integer("vocab_size")
    embed = weights.take("gpt_neox.embed_in.weight", d_vocab, model.d_model)
    # Hubs and files have embed_out; transformers 5 calls it lm_head in memory.
    head = "lm_head" if "lm_head.weight" in weights.shapes else "embed_out"
    parts = {
        "embed": embed,
        "positions": None,
        "blocks": tuple(model.block(layer) for layer in range(n_layers)),
        "ln_final": weights.layer_norm("gpt_neox.final_layer_norm", model.d_model, model.eps),
        "unembed": weights.unembedding(config, embed, f"{head}.weight", tied=False),
    }
    sizes = {
        "n_layers": n_layers,
        "n_heads": model.n_heads,
        "n_kv_heads": model.n_heads,
        "d_model": model.d_model,
        "d_head": model.d_head,
        "d_mlp": model.d_mlp,
        "d_vocab": d_vocab,
        "n_ctx": config.integer("max_position_embeddings", 2048),
        "parallel_attn_mlp": config.flag("use_parallel_residual", default=True),
    }
    return Built(sizes, parts)


GPT_NEOX = Family(
    "GPTNeoXForCausalLM",
    _build,
    # causal masks and rotary frequencies in old files
    ignored=r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$",
)
