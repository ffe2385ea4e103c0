"""How much memory a pass takes, so that batches can be cut to fit."""

from __future__ import annotations

import torch
from transformer_lens.model_bridge import TransformerBridge

ROWS_OF_LOGITS = 6
"""Logits and what a metric makes of them, in numbers per prompt and token of the vocabulary."""


def bytes_per_number(model: TransformerBridge, *, at_least: torch.dtype | None = None) -> int:
    """Return the size of a number of the model, or of a wider format that it is turned into."""
    return max(int(model.cfg.dtype.itemsize), at_least.itemsize if at_least else 0)


def bytes_of_logits(model: TransformerBridge) -> int:
    """Return an estimate of what reading a metric off one prompt takes, in float32 or better."""
    per_number = bytes_per_number(model, at_least=torch.float32)
    return ROWS_OF_LOGITS * int(model.cfg.d_vocab) * per_number


def bytes_per_run(model: TransformerBridge, *, n_pos: int) -> int:
    """Return an estimate of one forward and backward pass of one prompt of `n_pos` tokens."""
    cfg = model.cfg
    per_position = cfg.n_layers * (20 * cfg.d_model + 3 * cfg.d_mlp + 4 * cfg.n_heads * n_pos)
    return int(bytes_per_number(model) * n_pos * per_position) + bytes_of_logits(model)


def bytes_kept(model: TransformerBridge, *, n_pos: int, n_runs: int) -> int:
    """Return an estimate of what is kept of one prompt over `n_runs` runs, and at the end.

    In the model's number format: the outputs of both runs. In float32: the gradients at the heads
    and the MLP of each layer, those at one layer's heads twice, and per run a normalised residual
    stream of each layer (one layer's twice) and a number per head and port. In the wider of the
    two: the changes of all sources twice, while they are put together.
    """
    cfg = model.cfg
    n_sources, n_ports = 1 + cfg.n_layers * (cfg.n_heads + 1), 3 * cfg.n_heads
    per_run = (cfg.n_layers + 1) * (cfg.d_model + n_ports)
    gradients = cfg.d_model * (4 * cfg.n_layers + 2 * n_ports) + n_runs * per_run
    outputs, changes = (cfg.d_model * vectors for vectors in (6 * cfg.n_layers, 2 * n_sources))
    per_position = torch.float32.itemsize * gradients + bytes_per_number(model) * outputs
    per_position += bytes_per_number(model, at_least=torch.float32) * changes
    return int(n_pos * per_position)
