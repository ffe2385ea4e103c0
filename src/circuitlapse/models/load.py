"""Load a model at one training step, and refuse models that the engine does not cover."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.errors import REMAKE, ModelError, unknown_name
from circuitlapse.models.graph import Graph, Head
from circuitlapse.models.snapshot import CONFIG, no_progress_bars, weight_files

REMEDY = f"if the workflow made this folder, {REMAKE}"
SUPPORTED = ("GPTNeoXForCausalLM", "GPT2LMHeadModel")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def load_model(path: str | Path, device: str = "cpu", dtype: str = "float32") -> TransformerBridge:
    """Load a folder laid out like a hub snapshot, with raw weights, in eval mode.

    Nothing is folded or centred, so the logits are those of the Hugging Face model, and no
    weight asks for a gradient. Nothing is downloaded and no code from the folder is run.

    Args:
        path: folder with `config.json` and `model.safetensors`, or with
            `model.safetensors.index.json` and the files that it names.
        device: `cpu`, `cuda` or one GPU, such as `cuda:0`.
        dtype: `float32`, `bfloat16` or `float64`.

    Raises:
        ModelError: if the folder is not there, lacks a file or holds a broken one, the device is
            not there, or the architecture is not one that the circuit engine understands; the
            message says which.
    """
    if not Path(path).is_dir():
        raise ModelError(
            f"{path}: there is no such folder; expected one laid out like a hub snapshot "
            f"(a relative path starts in {Path.cwd()}); names on a hub are not fetched"
        )
    for name in (CONFIG, *weight_files(path)):
        if not (Path(path) / name).is_file():
            raise ModelError(
                f"{path}: no {name}; expected a local folder laid out like a hub snapshot; {REMEDY}"
            )
    if dtype not in DTYPES:
        raise ModelError(unknown_name("dtype", dtype, DTYPES))
    _refuse_absent(device)
    try:
        with no_progress_bars():
            model = TransformerBridge.boot_transformers(
                str(path), device=device, dtype=DTYPES[dtype]
            )
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {REMEDY}") from error
    _refuse_unsupported(model)
    return model.eval().requires_grad_(False)


def _refuse_absent(device: str) -> None:
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= found:
        gpus = {0: "no CUDA GPU", 1: "one CUDA GPU, cuda:0"}.get(
            found, f"{found} CUDA GPUs, up to cuda:{found - 1}"
        )
        raise ModelError(
            f"compute.device is {device}, but PyTorch finds {gpus} on this machine; "
            f"set compute.device to {'one of them' if found else 'cpu'}, "
            "or run where there is such a GPU"
        )


def _refuse_unsupported(model: TransformerBridge) -> None:
    """Refuse features that the algebra of the engine does not cover, and untested families."""
    cfg = model.cfg
    features = {
        "RMSNorm": cfg.uses_rms_norm or cfg.normalization_type != "LN",
        "a gated MLP": cfg.gated_mlp,
        "grouped-query attention": cfg.n_key_value_heads not in (None, cfg.n_heads),
        "normalisation after attention or MLP": cfg.use_normalization_before_and_after,
        "normalised queries and keys": cfg.use_qk_norm,
        "a soft cap on attention scores or logits": max(
            cfg.attn_scores_soft_cap, cfg.output_logits_soft_cap
        )
        > 0,
        "local attention": cfg.use_local_attn,
        "attention scores scaled by layer": cfg.scale_attn_by_inverse_layer_idx,
        "unscaled attention scores": not getattr(
            model.original_model.config, "scale_attn_weights", True
        ),
        "a mixture of experts": cfg.num_experts is not None,
        f"{cfg.positional_embedding_type} position embeddings": cfg.positional_embedding_type
        not in ("rotary", "standard"),
    }
    found = [name for name, there in features.items() if there]
    if found or cfg.architecture not in SUPPORTED:
        why = f"it has {', '.join(found)}" if found else "it is not tested"
        raise ModelError(
            f"{cfg.model_name}: {cfg.architecture} is not supported, because {why}; "
            f"circuits can be found in {' and '.join(SUPPORTED)} models"
        )


def model_graph(model: TransformerBridge) -> Graph:
    """Return the edge graph of `model`."""
    cfg = model.cfg
    return Graph(cfg.n_layers, cfg.n_heads, parallel=bool(cfg.parallel_attn_mlp))


def all_heads(model: TransformerBridge) -> list[Head]:
    """Return every head, in order."""
    return [(at, head) for at in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]


def n_tokens(model: TransformerBridge) -> int:
    """Return how many rows of the unembedding are tokens; the others are padding."""
    return len(model.tokenizer)


def n_parameters(model: TransformerBridge) -> int:
    """Return the number of weights, embeddings included.

    They are counted on an empty model of the same shape, because a bridge holds some weights twice.
    """
    with torch.device("meta"):
        empty = type(model.original_model)(model.original_model.config)
    return int(empty.num_parameters())
