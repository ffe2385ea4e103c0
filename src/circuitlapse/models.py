"""Load a model at one training step and read its weights per head."""

from __future__ import annotations

from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.errors import ModelError, unknown_name
from circuitlapse.graph import Graph
from circuitlapse.progress import no_progress_bars

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def load_model(path: str | Path, device: str = "cpu", dtype: str = "float32") -> TransformerBridge:
    """Load a folder laid out like a hub snapshot, with raw weights, in eval mode.

    Nothing is folded or centred, so the logits are those of the Hugging Face model, and no
    weight asks for a gradient. Nothing is downloaded and no code from the folder is run.

    Args:
        path: folder with `config.json` and `model.safetensors`.
        device: such as `cpu` or `cuda:0`.
        dtype: `float32`, `bfloat16` or `float64`.

    Raises:
        ModelError: if the folder lacks a file, or the architecture is not one that the
            circuit engine understands; the message says which.
    """
    for name in ("config.json", "model.safetensors"):
        if not (Path(path) / name).is_file():
            raise ModelError(f"{path}: no {name}; expected a folder laid out like a hub snapshot")
    if dtype not in DTYPES:
        raise ModelError(unknown_name("dtype", dtype, DTYPES))
    with no_progress_bars():
        model = TransformerBridge.boot_transformers(str(path), device=device, dtype=DTYPES[dtype])
    _refuse_unsupported(model)
    return model.eval().requires_grad_(False)


def _refuse_unsupported(model: TransformerBridge) -> None:
    cfg = model.cfg
    if cfg.architecture != "GPTNeoXForCausalLM":
        raise ModelError(
            f"{cfg.model_name}: architecture {cfg.architecture} is not supported; "
            "circuits are defined here for GPTNeoXForCausalLM (Pythia) models"
        )


def model_graph(model: TransformerBridge) -> Graph:
    """Return the edge graph of `model`."""
    cfg = model.cfg
    return Graph(cfg.n_layers, cfg.n_heads, parallel=bool(cfg.parallel_attn_mlp))


def n_tokens(model: TransformerBridge) -> int:
    """Return how many rows of the unembedding are tokens; the others are padding."""
    return len(model.tokenizer)
