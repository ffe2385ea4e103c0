"""Run a model on prompt pairs with TransformerBridge hooks, and read its answer logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.prompts import PromptPairs

HookFn = Callable[[Tensor, Any], Tensor | None]
Hooks = Sequence[tuple[str, HookFn]]


def end_logits(
    model: TransformerBridge,
    tokens: Int[Tensor, "pair pos"],
    *,
    pairs: PromptPairs,
    hooks: Hooks = (),
) -> Float[Tensor, "pair vocab"]:
    """Return the logits at each pair's end position; only those rows are unembedded.

    Args:
        model: the model to run.
        tokens: the clean or the corrupted tokens of `pairs`.
        pairs: gives the end positions and the attention mask.
        hooks: (hook name, function) as `run_with_hooks` takes them.
    """
    rows = torch.arange(len(pairs), device=tokens.device)

    def keep_end(x: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
        return x[rows, pairs.end][:, None]

    logits: Tensor = model.run_with_hooks(
        tokens,
        return_type="logits",
        attention_mask=pairs.attention_mask.long(),
        fwd_hooks=[*hooks, ("unembed.hook_in", keep_end)],
    )
    return logits[:, 0]


def recorder(store: dict[str, Tensor], name: str) -> HookFn:
    """Return a hook that puts what passes it into `store[name]`.

    It hands the same tensor on. Some hooks see a reshaped view; unless the view goes back
    into the run, no gradient reaches it.
    """

    def record(x: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
        store[name] = x
        return x

    return record


@contextmanager
def separate_inputs(model: TransformerBridge) -> Iterator[None]:
    """Give every head's query, key and value, and every MLP, an input of its own to hook."""
    before = (model.cfg.use_split_qkv_input, model.cfg.use_hook_mlp_in)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    try:
        yield
    finally:
        model.set_use_split_qkv_input(before[0])
        model.set_use_hook_mlp_in(before[1])
