"""Small random models of every family, made by `transformers` from its own configuration classes.

Every weight is drawn, gains and biases too, so that a weight in the wrong place changes the logits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

VOCAB = 50
N_WORDS = 46
"""The tokenizer is smaller than the vocabulary, as in Pythia."""
CONTEXT = 64
N_LAYERS, N_HEADS = 2, 4
SPELLINGS = ("new", "old")
"""Keys of config.json: those of transformers 5, or those of most files on hubs."""

ARCHITECTURES = {
    "gpt_neox": "GPTNeoX",
    "gpt2": "GPT2",
    "llama": "Llama",
    "olmo": "Olmo",
    "olmo2": "Olmo2",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
}
"""Family, as `model_type` has it -> stem of its classes in transformers."""

SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "intermediate_size": 40,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
NEOX_SHAPE = SHAPE | {"hidden_size": 64}
"""A quarter of every head then holds two frequencies, of which one depends on the base."""
GPT2_SHAPE = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": N_LAYERS,
    "n_head": N_HEADS,
    "n_inner": 40,
    "n_positions": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@dataclass(frozen=True)
class Variant:
    """A model of a family.

    Attributes:
        family: key of `ARCHITECTURES`.
        config: what differs from `SHAPE` and from the defaults of the family.
        file: what is odd about the file of weights: `buffers` (masks and frequencies lie
            in it, as in old files), `bare` (GPT-2 without the prefix `transformer.`), or `head`
            (a tied model that stores its unembedding, too).
    """

    family: str
    config: dict[str, Any] = field(default_factory=dict)
    file: str = ""


GROUPED = {"num_key_value_heads": 2}
TIED = {"tie_word_embeddings": True}
UNTIED = {"tie_word_embeddings": False}
WIDE_HEADS = {"head_dim": 12}
OTHER_BASE = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
LINEAR = {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}


def _rotary(**values: Any) -> dict[str, Any]:
    values = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25} | values
    return {"rope_parameters": values}


VARIANTS: dict[str, Variant] = {
    "gpt_neox": Variant("gpt_neox"),
    "gpt_neox-sequential": Variant("gpt_neox", {"use_parallel_residual": False}),
    "gpt_neox-no-attention-bias": Variant("gpt_neox", {"attention_bias": False}),
    "gpt_neox-full-rotary": Variant("gpt_neox", _rotary(partial_rotary_factor=1.0)),
    "gpt_neox-other-base": Variant("gpt_neox", _rotary(rope_theta=500.0)),
    "gpt_neox-linear": Variant("gpt_neox", _rotary(rope_type="linear", factor=4.0)),
    "gpt_neox-tied": Variant("gpt_neox", TIED),
    "gpt_neox-other-norms": Variant("gpt_neox", {"layer_norm_eps": 0.1, "hidden_act": "gelu_fast"}),
    "gpt_neox-buffers": Variant("gpt_neox", file="buffers"),
    "gpt2": Variant("gpt2"),
    "gpt2-bare": Variant("gpt2", file="bare"),
    "gpt2-head": Variant("gpt2", file="head"),
    "gpt2-untied": Variant("gpt2", UNTIED),
    "gpt2-other-norms": Variant("gpt2", {"layer_norm_epsilon": 0.1, "activation_function": "gelu"}),
    "gpt2-scores-by-layer": Variant("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2-buffers": Variant("gpt2", file="buffers"),
    "gpt2-bare-buffers": Variant("gpt2", {"n_inner": None}, file="bare-buffers"),
    "llama": Variant("llama"),
    "llama-grouped": Variant("llama", GROUPED),
    "llama-multi-query": Variant("llama", {"num_key_value_heads": 1}),
    "llama-tied": Variant("llama", GROUPED | TIED),
    "llama-tied-head": Variant("llama", TIED, file="head"),
    "llama-biases": Variant("llama", GROUPED | {"attention_bias": True, "mlp_bias": True}),
    "llama-wide-heads": Variant("llama", GROUPED | WIDE_HEADS),
    "llama-linear": Variant("llama", LINEAR),
    "llama-other-base": Variant("llama", OTHER_BASE),
    "llama-other-norms": Variant("llama", {"rms_norm_eps": 0.1, "hidden_act": "gelu"}),
    "llama-buffers": Variant("llama", file="buffers"),
    "olmo": Variant("olmo"),
    "olmo-clipped": Variant("olmo", {"clip_qkv": 1.0}),
    "olmo-grouped": Variant("olmo", GROUPED | TIED | OTHER_BASE),
    "olmo2": Variant("olmo2"),
    "olmo2-grouped": Variant("olmo2", GROUPED | OTHER_BASE),
    "olmo2-other-norms": Variant("olmo2", {"rms_norm_eps": 0.1}),
    "qwen2": Variant("qwen2", GROUPED),
    "qwen2-tied": Variant("qwen2", GROUPED | TIED | OTHER_BASE),
    "qwen3": Variant("qwen3", GROUPED | WIDE_HEADS),
    "qwen3-tied": Variant("qwen3", TIED | {"num_key_value_heads": 4, "head_dim": 8} | OTHER_BASE),
    "qwen3-biases": Variant("qwen3", GROUPED | WIDE_HEADS | {"attention_bias": True}),
}

ALGEBRAS = (
    "gpt_neox",
    "gpt_neox-sequential",
    "gpt_neox-no-attention-bias",
    "gpt2",
    "llama-grouped",
    "llama-multi-query",
    "llama-biases",
    "llama-wide-heads",
    "olmo-clipped",
    "olmo2",
    "olmo2-grouped",
    "qwen2",
    "qwen3",
)
"""Variants in which circuits and gradients go different ways."""
NOT_IN_TRANSFORMER_LENS = "gpt_neox-no-attention-bias"
"""TransformerLens asserts that a GPT-NeoX has these biases."""


@cache
def tokenizer() -> Tokenizer:
    """Return a tokenizer of `N_WORDS` words: an end of text, and `w1`, `w2` ..."""
    words = {"<|endoftext|>": 0} | {f"w{index}": index for index in range(1, N_WORDS)}
    found = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.add_special_tokens(["<|endoftext|>"])
    return found


def save(
    name: str,
    folder: Path,
    *,
    spelling: str = "new",
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> Path:
    """Save a variant with random weights, laid out like a hub snapshot.

    Args:
        name: key of `VARIANTS`.
        folder: is made.
        spelling: one of `SPELLINGS`.
        dtype: of the file.
        changes: further keys of the configuration.
    """
    import transformers

    variant = VARIANTS[name]
    stem = ARCHITECTURES[variant.family]
    shape = {"gpt2": GPT2_SHAPE, "gpt_neox": NEOX_SHAPE}.get(variant.family, SHAPE)
    config = getattr(transformers, f"{stem}Config")(**(shape | variant.config | changes))
    kind = "LMHeadModel" if variant.family == "gpt2" else "ForCausalLM"
    model = getattr(transformers, f"{stem}{kind}")(config)
    _draw(model)
    model.to(dtype).save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    if variant.file:
        edit_weights(folder, lambda weights: _odd(weights, variant))
    if spelling == "old":
        edit_config(folder, _spell_as_hubs_do)
    return folder


def edit_config(folder: Path, edit: Any) -> None:
    """Rewrite config.json: `edit` changes the mapping that it gets."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2))


def edit_weights(folder: Path, edit: Any) -> None:
    """Rewrite model.safetensors: `edit` changes the mapping from names to tensors that it gets."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file({name: w.contiguous() for name, w in weights.items()}, path, {"format": "pt"})


def hugging_face(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the model of transformers, with attention written out."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval().requires_grad_(False)


def _draw(model: torch.nn.Module) -> None:
    draw = torch.Generator().manual_seed(0)
    # Large enough that heads attend to some tokens more than to others.
    spread = 1.6 * model.config.hidden_size**-0.5
    for name, weight in model.named_parameters():
        gain = "norm" in name or "ln_" in name
        noise = torch.randn(weight.shape, generator=draw)
        centre = 1.0 if gain and name.endswith("weight") else 0.0
        weight.data = centre + (spread if weight.ndim > 1 else 0.2) * noise


def _odd(weights: dict[str, torch.Tensor], variant: Variant) -> None:
    if variant.file == "head":
        embedding = next(w for name, w in weights.items() if name.split(".")[-2] in EMBEDDINGS)
        weights["lm_head.weight"] = embedding.clone()
    if "buffers" in variant.file:
        weights |= _old_buffers(variant.family)
    if "bare" in variant.file:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)


EMBEDDINGS = ("wte", "embed_tokens", "embed_in")


def _old_buffers(family: str) -> dict[str, torch.Tensor]:
    """Return what old versions of transformers stored beside the weights; all is recomputed."""
    place = {
        "gpt_neox": "gpt_neox.layers.{}.attention.",
        "gpt2": "transformer.h.{}.attn.",
        "llama": "model.layers.{}.self_attn.",
    }[family]
    mask = torch.ones(1, 1, CONTEXT, CONTEXT).tril()
    channels = {"gpt_neox": 4, "gpt2": 0, "llama": 8}[family]  # of each head that are rotated
    buffers = {"rotary_emb.inv_freq": 10000.0 ** -(torch.arange(0, channels, 2) / channels)}
    if family == "gpt_neox":
        buffers |= {"bias": mask.bool(), "masked_bias": torch.tensor(-1e9)}
    if family == "gpt2":
        buffers = {"bias": mask, "masked_bias": torch.tensor(-1e4)}
    return {
        place.format(layer) + name: buffer.clone()
        for layer in range(N_LAYERS)
        for name, buffer in buffers.items()
    }


def _spell_as_hubs_do(config: dict[str, Any]) -> None:
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.40.0"
    rotary = config.pop("rope_parameters", None)
    if rotary is None:
        config["n_ctx"] = config["n_positions"]
        return
    base = "rotary_emb_base" if config["model_type"] == "gpt_neox" else "rope_theta"
    config[base] = rotary["rope_theta"]
    if config["model_type"] == "gpt_neox":
        config["rotary_pct"] = rotary["partial_rotary_factor"]
    linear = rotary["rope_type"] == "linear"
    config["rope_scaling"] = {"type": "linear", "factor": rotary["factor"]} if linear else None
