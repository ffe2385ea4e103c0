"""Models of one step whose edges are known, from easy to hard.

`tests.planted` and `tests.planted_ioi` explain what is planted. Here something is added that makes
the edges harder to find:

    leaks       all heads and MLPs also write, with random weights, to what planted heads read and
                to the answer. `leak` is how much, compared with what distractors write to JUNK.
                These edges have an effect, so that the planted ones are not all there is
    attention   COPY's scores are 10, not 3: it attends to one place alone, and hardly differently
                if a query or key changes a little. The first-order effect, 5 s A (1 - A) for
                scores s, is then far below the true one, which is as large as before
    MLP         in place of COPY, an MLP reads ASKED. For each token two of its neurons make a step
                from 0 to 1 at 1/2, flat at both ends: there the gradient is (almost) 0
    LayerNorm   ballast is 4, not 1024: what distractors write changes by how much LayerNorm
                divides, and so the logits
    IOI         DUPLICATE's scores are 24, saturated too; one name mover has a negative effect
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests import planted
from tests.zoo.ioi import ioi_pairs, save_ioi, true_edges

STEEPNESS, HALF_WIDTH = 16.0, 1.0
"""Of the step of the saturated MLP: slope of its neurons, and where they bend."""
STEP_EDGES = frozenset({"input->a0.h1<v>", "a0.h1->m1", "m1->logits"})


@dataclass(frozen=True)
class Still:
    """A model of one step.

    Attributes:
        name: in the table.
        edges: names of the planted edges.
        save: saves the model in a folder, with distractors drawn by a seed.
        pairs: returns its prompts.
    """

    name: str
    edges: frozenset[str]
    save: Callable[..., Path]
    pairs: Callable[[], Any] = planted.planted_pairs


def save_copying(folder, *, seed, leak, more=lambda layers: None, **how):
    """Save a model of `tests.planted`, with leaks."""

    def plant(layers):
        more(layers)
        add_leaks(layers, leak=leak, seed=seed)

    return planted.save_planted_model(folder, more=plant, **how)


def add_leaks(layers, *, leak, seed):
    """Let every head and MLP write to all features but ballast."""
    draw = torch.Generator().manual_seed(seed)
    for layer in layers:
        for weight in (layer.attention.dense.weight, layer.mlp.dense_4h_to_h.weight):
            drawn = torch.randn(len(planted.NO_BALLAST), weight.shape[1], generator=draw)
            weight += leak * planted.NO_BALLAST.T @ drawn / 5


def plant_step(layers):
    """Replace COPY, and what it needs, by an MLP that writes ASKED to ANSWER with a steep step."""
    for head in (planted.PREVIOUS, planted.COPY):
        planted.head_weights(layers, head)  # sets them to zero
    mlp, n = layers[1].mlp, planted.N_TOKENS
    for sign, neurons in ((1, slice(0, n)), (-1, slice(n, 2 * n))):
        mlp.dense_h_to_4h.weight[neurons] = STEEPNESS * planted.ASKED
        mlp.dense_h_to_4h.bias[neurons] = sign * HALF_WIDTH - STEEPNESS / 2
        mlp.dense_4h_to_h.weight[:, neurons] = sign * planted.ANSWER.T / (2 * HALF_WIDTH)


_SIX = frozenset(planted.EDGES)
STILL = (
    Still("copying", _SIX, partial(save_copying, leak=0.03)),
    Still("sequential", _SIX, partial(save_copying, leak=0.03, parallel=False)),
    Still("many leaks", _SIX, partial(save_copying, leak=0.25)),
    Still("attention", _SIX, partial(save_copying, leak=0.03, by_token=10.0)),
    Still("MLP", STEP_EDGES, partial(save_copying, leak=0.1, more=plant_step)),
    Still("LayerNorm", _SIX, partial(save_copying, leak=0.05, later_ballast=4.0)),
    Still("IOI", true_edges(), partial(save_ioi, leak=0.03), ioi_pairs),
)
"""Every model of one step."""
