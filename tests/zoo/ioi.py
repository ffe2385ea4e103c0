"""Parts of IOI models of the zoo, on top of `tests.planted_ioi`: distractors, and the true edges.

**Distractors.** All heads that nothing is planted in, and all MLPs, get random weights that read
everything but ballast. They write to JUNK, features that nothing planted reads, and leak: `leak`
times as much goes to every feature, random too. Leaks depend on the names of a prompt, so halves of
the prompts give circuits that differ.
"""

from __future__ import annotations

import torch

from tests.planted import FEATURES
from tests.planted_ioi import DUPLICATE, INHIBIT, MOVERS, N_HEADS, N_LAYERS, head_weights

JUNK, NO_BALLAST = FEATURES[28:], torch.cat([FEATURES[:27], FEATURES[28:]])
READ, WRITE = 1 / 2, 1 / 10
"""Sizes of the weights of a distractor, per feature."""


def plant_distractors(model, *, leak, seed, planted=(DUPLICATE, *INHIBIT, *MOVERS)):
    """Fill all heads but the planted ones, and all MLPs, with random weights."""
    draw = torch.Generator().manual_seed(seed)

    def reads(n):
        return READ * NO_BALLAST.T @ torch.randn(len(NO_BALLAST), n, generator=draw)

    def writes(n):
        junk, all_features = (
            torch.randn(n, len(features), generator=draw) @ features
            for features in (JUNK, NO_BALLAST)
        )
        return WRITE * (junk + leak * all_features)

    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            into, _, out = head_weights(model, (layer, head))
            drawn = reads(into[0].numel()).view(into.shape), writes(len(out))
            if (layer, head) not in planted:
                into.copy_(drawn[0])
                out.copy_(drawn[1])
        mlp = model.h[layer].mlp
        n_neurons = mlp.c_fc.weight.shape[1]
        mlp.c_fc.weight.copy_(reads(n_neurons))
        mlp.c_proj.weight.copy_(writes(n_neurons))


def true_edges(*, movers=MOVERS, inhibit=INHIBIT):
    """Return the names of the edges along which what differs between the prompts travels."""
    names = {"input->a0.h1<q>"}
    for layer, head in inhibit:
        names.add(f"a0.h1->a{layer}.h{head}<v>")
        names |= {f"a{layer}.h{head}->a{at}.h{mover}<q>" for at, mover in movers}
    return frozenset(names | {f"a{layer}.h{head}->logits" for layer, head in movers})
