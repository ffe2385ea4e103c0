"""How much memory a pass takes, so that batches can be cut to fit."""

from __future__ import annotations

from transformer_lens.model_bridge import TransformerBridge

BYTES = 4


def bytes_per_run(model: TransformerBridge, *, n_pos: int) -> int:
    """Return an estimate of one forward and backward pass of one prompt of `n_pos` tokens."""
    cfg = model.cfg
    per_position = cfg.n_layers * (20 * cfg.d_model + 3 * cfg.d_mlp + 4 * cfg.n_heads * n_pos)
    return int(BYTES * (n_pos * per_position + 6 * cfg.d_vocab))


def bytes_kept(model: TransformerBridge, *, n_pos: int, n_runs: int) -> int:
    """Return an estimate of what is kept of one prompt over `n_runs` runs, and at the end.

    The changes of all sources, both runs' outputs, the gradients at one layer's heads twice,
    and per run and layer a normalised residual stream and a number per head and port.
    """
    cfg = model.cfg
    n_sources, n_ports = 1 + cfg.n_layers * (cfg.n_heads + 1), 3 * cfg.n_heads
    vectors = 2 * n_sources + 10 * cfg.n_layers + 2 * n_ports + n_runs * cfg.n_layers
    return int(BYTES * n_pos * (cfg.d_model * vectors + n_runs * cfg.n_layers * n_ports))
