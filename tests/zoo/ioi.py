"""IOI models of the zoo: those of `tests.planted_ioi`, with distractors and more prompts.

**Distractors.** All heads that nothing is planted in, and all MLPs, get random weights that read
everything but ballast. They write to JUNK, features that nothing planted reads, and leak: `leak`
times as much goes to every feature, random too. Leaks depend on the words of a prompt, so halves of
the prompts give circuits that differ.

**Tokens.** Beside those of the prompts there are N_FILLERS others, random directions of JUNK. So
the 5 highest of all logits are hardly names by chance, as `copy` asks.

**Prompts.** Every IO and S, in either order, with two choices of the three words between the names:
120 pairs. Those that swap their two prompts are twins and form a group: 60 groups.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import torch

from circuitlapse import PromptPairs
from tests.planted import FEATURES
from tests.planted_ioi import (
    DUPLICATE,
    INHIBIT,
    MOVERS,
    N_HEADS,
    N_LAYERS,
    ROOT,
    SCORE,
    TOKEN,
    head_weights,
    planted_ioi_pairs,
    save_planted_ioi,
)

JUNK, NO_BALLAST = FEATURES[28:], torch.cat([FEATURES[:27], FEATURES[28:]])
READ, WRITE = 1 / 2, 1 / 10
"""Sizes of the weights of a distractor, per feature."""
N_FILLERS = 40
WORDS = (6, 7, 8)
"""The tokens of prompts that are no names."""


def save_ioi(folder, *, seed, leak, more=lambda model: None, planted=(), drift=0.0, step=0):
    """Save a model of `tests.planted_ioi`, with distractors.

    Args:
        folder: where to.
        seed: of the distractors.
        leak: how much they write to what others read.
        more: plants other heads.
        planted: the heads that it plants, besides those of `tests.planted_ioi`.
        drift: how far the distractors of each step are from the common ones, 0 to 1.
        step: of training.
    """

    def plant(model):
        every = {DUPLICATE, *INHIBIT, *MOVERS, *planted}
        plant_distractors(model, leak=leak, seed=seed, planted=every, drift=drift, step=step)
        draw = torch.Generator().manual_seed(seed)
        fillers = torch.randn(N_FILLERS, len(JUNK), generator=draw)
        model.wte.weight[len(TOKEN) :] = torch.nn.functional.normalize(fillers) @ JUNK
        more(model)

    return save_planted_ioi(folder, more=plant, n_tokens=len(TOKEN) + N_FILLERS)


def plant_distractors(model, *, leak, seed, planted, drift, step):
    """Fill all heads but the planted ones, and all MLPs, with random weights."""
    common, own = (torch.Generator().manual_seed(n) for n in (seed, 1000 * (seed + 1) + step))

    def drawn(*shape):
        both = (torch.randn(shape, generator=generator) for generator in (common, own))
        return sum(
            share * part for share, part in zip(((1 - drift**2) ** 0.5, drift), both, strict=True)
        )

    def reads(n):
        return READ * NO_BALLAST.T @ drawn(len(NO_BALLAST), n)

    def writes(n):
        junk, every = (drawn(n, len(features)) @ features for features in (JUNK, NO_BALLAST))
        return WRITE * (junk + leak * every)

    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            into, _, out = head_weights(model, (layer, head))
            weights = reads(into[0].numel()).view(into.shape), writes(len(out))
            if (layer, head) not in planted:
                into.copy_(weights[0])
                out.copy_(weights[1])
        mlp = model.h[layer].mlp
        n_neurons = mlp.c_fc.weight.shape[1]
        mlp.c_fc.weight.copy_(reads(n_neurons))
        mlp.c_proj.weight.copy_(writes(n_neurons))


def plant_suppressor(model, at, gain, *, attend_to, names):
    """Plant a head that attends to a place and lowers the logit of the name there."""
    into, bias, out = head_weights(model, at)
    strength = SCORE**0.5 * ROOT
    bias[6] = strength
    into[:, 1, 6] = strength * attend_to
    into[:, 2, : len(names)] = names.T
    out[: len(names)] = -gain * names


def true_edges(*, movers=MOVERS, inhibit=INHIBIT):
    """Return the names of the edges along which what differs between the prompts travels."""
    names = {"input->a0.h1<q>"}
    for layer, head in inhibit:
        names.add(f"a0.h1->a{layer}.h{head}<v>")
        names |= {f"a{layer}.h{head}->a{at}.h{mover}<q>" for at, mover in movers}
    return frozenset(names | {f"a{layer}.h{head}->logits" for layer, head in movers})


@cache
def ioi_pairs():
    """Return the prompts; see above."""
    once = planted_ioi_pairs()
    draw = torch.Generator().manual_seed(2)
    clean, corrupted = once.clean.repeat(2, 1), once.corrupted.repeat(2, 1)
    # Twins have the same names at places 0 and 2, and get the same words.
    keys = [(*row[[0, 2]].tolist(), copy) for copy, row in product((0, 1), once.clean)]
    words = {key: torch.randint(WORDS[0], WORDS[-1] + 1, (3,), generator=draw) for key in keys}
    groups = {key: number for number, key in enumerate(words)}
    for row, key in enumerate(keys):
        clean[row, [1, 3, 5]] = corrupted[row, [1, 3, 5]] = words[key]
    answers = [[*side, *side] for side in (once.correct, once.wrong)]
    pairs = PromptPairs(clean, corrupted, once.end.repeat(2), *answers)
    roles = {name: place.repeat(2) for name, place in once.roles.items()}
    return replace(pairs, roles=roles, groups=torch.tensor([groups[key] for key in keys]).numpy())
