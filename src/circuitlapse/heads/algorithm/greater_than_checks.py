"""The Greater-Than algorithm: heads carry the start year, MLPs favour what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm.base import STEP_SCHEMAS
from circuitlapse.models.activations import PairActivations, RunActivations
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import at_end
from circuitlapse.models.metrics import at_least_float32
from circuitlapse.models.prompts import PromptPairs

YY = "yy"
"""The role of the last two digits of the start year."""


@torch.no_grad()
def trace_greater_than(
    model: Model,
    pairs: PromptPairs,
    *,
    circuit: Circuit | None,
    activations: PairActivations,
) -> pd.DataFrame:
    """Check whether the nodes of a Greater-Than circuit do what the known algorithm does.

    MLPs with an edge to the logits, M, should favour the years after the start year, YY. Heads
    with an edge into one of M should attend to YY and carry it. One row for each:

    - `attn_yy` of a head: the share of prompts whose end attends to YY more than to any other;
    - `lens_yy` of a head: the share for which, of all answers, its output favours YY or the next;
    - `mlp_gap` of an MLP of M: the mean over prompts of the mean lens of the right answers minus
      that of the wrong ones, in logits.

    Ties do not count. The lens is what a node adds to the logits directly, at the end of the
    prompt: its output with the mean taken off, over the final LayerNorm's scale of that prompt,
    times gain and unembedding. (The scale plays no part in which answer is favoured.) A head's
    output has the bias of its values in it, an MLP's that of its output; left out are biases
    that no single node adds: of attention outputs, the final LayerNorm and the unembedding. The
    lens is of the clean run.

    Source: Hanna et al. 2023 (arXiv 2305.00586), sections 3.2 and 3.3; as checks over training,
    Tigges et al. 2024 (arXiv 2407.10827). The reference looks for YY at one place in the padded
    row, which is right for prompts of one length only; here every prompt has its own.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: Greater-Than prompts with the role yy; the answers of a pair, wrong and then
            right, are all suffixes in rising order.
        circuit: of these prompts; None where none was found.
        activations: of these prompts.

    Returns:
        The table `GT_ALGORITHM` without the columns that say which model and task; without a
        circuit, or an MLP with an edge to the logits, no rows.

    Raises:
        ValueError: if the prompts are not Greater-Than's, or the activations of other prompts.
    """
    model = as_decoder(model)
    activations.check(pairs)
    years = _years(pairs)
    rows: list[dict[str, Any]] = []
    if circuit is not None:
        heads, mlps = _nodes(circuit)
        rows += _head_rows(model, pairs, activations.clean, years, heads)
        rows += _mlp_rows(model, pairs, activations.clean, years, mlps)
    schema = STEP_SCHEMAS["gt_algorithm"]
    frame = pd.DataFrame(rows, columns=["node", "check", "value", "unit"])
    return schema.cast(frame.assign(n=len(pairs)))


@dataclass(frozen=True, eq=False)
class _Years:
    """The answers, and where the year of each prompt is among them.

    Attributes:
        tokens: of all suffixes, in rising order.
        at: place of YY among them.
    """

    tokens: Int[Tensor, " answer"]
    at: Int[Tensor, " pair"]

    @property
    def later(self) -> Bool[Tensor, "pair answer"]:
        """Which answers are right."""
        # [answer] against [pair, 1]
        return torch.arange(len(self.tokens), device=self.at.device) > self.at[:, None]

    def is_year_or_next(self, places: Int[Tensor, " pair"]) -> Bool[Tensor, " pair"]:
        """Return whether an answer is YY or the one after."""
        return (places == self.at) | (places == self.at + 1)


def _years(pairs: PromptPairs) -> _Years:
    if YY not in pairs.roles:
        raise ValueError(
            f"the prompt pairs lack the role {YY}; expected those of a greater_than task, found "
            f"{', '.join(pairs.roles) or 'none'}"
        )
    answers = [[*wrong, *right] for wrong, right in zip(pairs.wrong, pairs.correct, strict=True)]
    written = pairs.clean.gather(1, pairs.roles[YY][:, None])[:, 0].tolist()  # token of YY [pair]
    if answers.count(answers[0]) < len(answers) or written != [w[-1] for w in pairs.wrong]:
        raise ValueError(
            "the wrong and the right answers of a greater_than pair are all suffixes in rising "
            "order, and the last wrong one is the year of the prompt; these pairs differ"
        )
    device = pairs.clean.device
    at = torch.tensor([len(wrong) - 1 for wrong in pairs.wrong], device=device)
    return _Years(torch.tensor(answers[0], device=device), at)


def _nodes(circuit: Circuit) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the heads with an edge into an MLP with an edge to the logits, and these MLPs."""
    graph = circuit.graph
    to_logits = circuit.mask[:, -1]  # [source]
    mlps = [layer for layer in range(graph.n_layers) if to_logits[graph.mlp_source(layer)]]
    heads = circuit.heads_into([graph.mlp_target(layer) for layer in mlps])
    return [(int(layer), int(head)) for layer, head in zip(*heads.nonzero(), strict=True)], mlps


def _head_rows(
    model: Decoder,
    pairs: PromptPairs,
    clean: RunActivations,
    years: _Years,
    heads: list[tuple[int, int]],
) -> Iterator[dict[str, Any]]:
    z = at_end(clean.z, pairs.end)  # [pair, layer, head, d_head]
    for layer, head in heads:
        attention = at_end(clean.pattern[:, layer, head], pairs.end)  # [pair, key]
        looks = strict_argmax(attention) == pairs.roles[YY]
        lens = _lens(
            model, pairs, clean, years, z[:, layer, head] @ model.blocks[layer].attn.W_O[head]
        )
        says = years.is_year_or_next(strict_argmax(lens))  # [pair]
        for check, passed in (("attn_yy", looks), ("lens_yy", says)):
            share = passed.double().mean().item()
            yield {"node": f"a{layer}.h{head}", "check": check, "value": share, "unit": "share"}


def _mlp_rows(
    model: Decoder,
    pairs: PromptPairs,
    clean: RunActivations,
    years: _Years,
    mlps: list[int],
) -> Iterator[dict[str, Any]]:
    right, written = years.later, at_end(clean.mlp_out, pairs.end)  # [pair, layer, d_model]
    for layer in mlps:
        lens = _lens(model, pairs, clean, years, written[:, layer]).double()  # [pair, answer]
        # Mean lens of the right and of the wrong answers, whose numbers differ between prompts.
        above, below = ((lens * part).sum(1) / part.sum(1) for part in (right, ~right))
        gap = (above - below).mean().item()
        yield {"node": f"m{layer}", "check": "mlp_gap", "value": gap, "unit": "logits"}


def _lens(
    model: Decoder,
    pairs: PromptPairs,
    clean: RunActivations,
    years: _Years,
    written: Float[Tensor, "pair d_model"],
) -> Float[Tensor, "pair answer"]:
    """Return what a node's output adds to the logits of the answers, without later biases."""
    norm = model.ln_final
    # With the scale of the whole residual stream, the norm is linear in what a node writes.
    scale = at_end(clean.final_scale[..., None], pairs.end)  # [pair, 1]
    normed = norm.centre(written) / scale * norm.gain(written)
    unembed = model.unembed[years.tokens]  # [answer, d_model]
    return at_least_float32(normed) @ at_least_float32(unembed).T


def strict_argmax(x: Float[Tensor, "pair place"]) -> Int[Tensor, " pair"]:
    """Return the place of the largest value of each row; -1 where two places share it."""
    largest = x.amax(1, keepdim=True)  # [pair, 1]
    tied = (x == largest).sum(1) > 1  # [pair]
    return x.argmax(1).masked_fill(tied, -1)
