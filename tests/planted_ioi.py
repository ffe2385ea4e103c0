"""A GPT-2 with weights set by hand that does IOI by the known algorithm, and by nothing else.

Prompts have six tokens: a name, `and`, another name, `gave`, one of the two names again, `to`.
The answer is the name that comes once. Which of the two first names that is changes, so a prompt
is IO and S gave S to, or S and IO gave S to. Places are 0 to 5.

**Features.** `d_model` is 64. As in `tests.planted`, 32 orthonormal features each sum to 0, and a
constant BALLAST of 1024 makes LayerNorm (almost) the identity.

    TOKEN   0-8    which token stands here: the embedding, and the unembedding, which GPT-2 shares
    PLACE   9-14   which place this is: the position embedding
    TWICE   15-20  at which place the same name stood before: written by DUPLICATE
    AVOID   21-26  which place not to look at: written by the INHIBIT heads
    BALLAST 27     constant: the position embedding

**Heads.** d_head is 8; there are 3 layers of 8 heads. All heads but these write nothing.

    a0.h1 DUPLICATE  attends to the same name, but not at place 4; moves PLACE from there to TWICE.
                     Scores are 24 where the names agree, so at place 4 it finds the first mention
    a1.h2 INHIBIT    attend to place 4; move TWICE from there to AVOID, 2 times and 1 time. So at
    a1.h5            the end, AVOID is 3 times the place of the first mention of S
    a2.h0 MOVERS     attend to places 0 and 2, with a score less by AVOID where it says so; move
    a2.h3            TOKEN from there to TOKEN, with the gains 4, 2, -1 and 1
    a2.h4
    a2.h7

**Attention.** With AVOID = 3 the movers give the place of IO e^3 / (e^3 + 1) of what places 0 and
2 get together (all but e^-24), and the rest to that of S. IO minus S is tanh(3/2). With gains of
6 in all, the logit difference is 6 tanh(3/2) = 5.43.

**Corrupted prompts** have IO in place of S at place 4: all the same with both names exchanged, so
the corrupted logit difference is -6 tanh(3/2), and clean minus corrupted is 12 tanh(3/2).

**Effects on the logits.** A mover of gain g, taken from the corrupted run, gives -g tanh(3/2)
instead of g tanh(3/2): E is -g / 6, which is -4/6, -2/6, 1/6 and -1/6. All together it is -1.

**Effects on the movers' queries**, if all four, or any, listen: with a2.h0 and a2.h3 listening
and a1.h2 corrupted, AVOID is 1 at the place of S and 2 at that of IO, so these two movers give
tanh(-1/2); with a1.h5 corrupted it is 2 and 1, and they give tanh(1/2). a2.h4 and a2.h7 keep what
they had, and their gains cancel. E is (tanh(-1/2) - tanh(3/2)) / (2 tanh(3/2)), and the same with
tanh(1/2).

**Effects on the values of INHIBIT heads**: with DUPLICATE corrupted on the way to a1.h2 alone,
AVOID is what it is when a1.h2 itself is corrupted, but now all four movers hear it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import torch

from tests.planted import FEATURES

N_NAMES, D_MODEL, N_HEADS, D_HEAD, N_LAYERS = 6, 64, 8, 8, 3
AND, GAVE, TO = 6, 7, 8
TOKEN, PLACE, TWICE, AVOID = FEATURES[:9], FEATURES[9:15], FEATURES[15:21], FEATURES[21:27]
N_TOKENS, NAMES, BALLAST = len(TOKEN), TOKEN[:N_NAMES], FEATURES[27]

DUPLICATE = (0, 1)
INHIBIT = {(1, 2): 2.0, (1, 5): 1.0}
MOVERS = {(2, 0): 4.0, (2, 3): 2.0, (2, 4): -1.0, (2, 7): 1.0}
SCORE, LATER_BALLAST = 24.0, 1024.0
COUPLES = tuple(permutations(range(N_NAMES), 2))


def save_planted_ioi(folder, *, more=lambda model: None, n_tokens=N_TOKENS):
    """Save the model, laid out like a hub snapshot.

    Args:
        folder: where to.
        more: plants other heads.
        n_tokens: size of the vocabulary; tokens beyond those of prompts have no features.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=n_tokens,
        n_positions=len(PLACE),
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=N_HEADS,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    set_weights(model.transformer)
    with torch.no_grad():
        more(model.transformer)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def set_weights(model):
    """Set every weight."""
    for weight in model.parameters():
        weight.zero_()
    model.wte.weight[: len(TOKEN)] = TOKEN
    model.wpe.weight.copy_(PLACE + LATER_BALLAST * BALLAST)
    for norm in (model.ln_f, *(ln for block in model.h for ln in (block.ln_1, block.ln_2))):
        norm.weight.fill_(LATER_BALLAST / math.sqrt(D_MODEL))
    plant_duplicate(model)
    for at, gain in INHIBIT.items():
        plant_inhibit(model, at, gain)
    for at, gain in MOVERS.items():
        plant_mover(model, at, gain)


def head_weights(model, at):
    """Return views of a head: [d_model; q, k or v; dim], its query bias, [dim, d_model]."""
    layer, head = at
    attention = model.h[layer].attn
    reads = attention.c_attn.weight.view(D_MODEL, 3, N_HEADS, D_HEAD)[:, :, head]
    bias = attention.c_attn.bias.view(3, N_HEADS, D_HEAD)[0, head]
    writes = attention.c_proj.weight.view(N_HEADS, D_HEAD, D_MODEL)[head]
    return reads, bias, writes


ROOT = math.sqrt(math.sqrt(D_HEAD))
"""Times itself it undoes the division of scores by sqrt(d_head)."""


def plant_duplicate(model, at=DUPLICATE, gain=1.0):
    reads, bias, writes = head_weights(model, at)
    strength = math.sqrt(SCORE) * ROOT
    reads[:, 0, :6] = reads[:, 1, :6] = strength * NAMES.T
    bias[6] = 2 * strength
    reads[:, 1, 6] = -strength * PLACE[4]
    reads[:, 2, :6] = PLACE.T
    writes[:6] = gain * TWICE


def plant_inhibit(model, at, gain):
    reads, bias, writes = head_weights(model, at)
    strength = math.sqrt(SCORE) * ROOT
    bias[0] = strength
    reads[:, 1, 0] = strength * PLACE[4]
    reads[:, 2, :6] = TWICE.T
    writes[:6] = gain * AVOID


def plant_mover(model, at, gain, *, keys=PLACE, avoid=AVOID):
    reads, bias, writes = head_weights(model, at)
    strength = math.sqrt(SCORE) * ROOT
    reads[:, 0, :6] = -ROOT * avoid.T
    reads[:, 1, :6] = ROOT * keys.T
    bias[6] = strength
    reads[:, 1, 6] = strength * (PLACE[0] + PLACE[2])
    reads[:, 2, :6] = NAMES.T
    writes[:6] = gain * NAMES


def plant_uniform(model):
    """Make all heads attend to everything alike, and a0.h0 lower the logits of the names it sees.

    The name that comes once is lowered least, so the model does the task by counting: the logit
    difference is 6 (2/6 - 1/6) = 1.
    """
    for block in model.h:
        for weight in (block.attn.c_attn.weight, block.attn.c_attn.bias, block.attn.c_proj.weight):
            weight.zero_()
    reads, _, writes = head_weights(model, (0, 0))
    reads[:, 2, :6] = NAMES.T
    writes[:6] = -6 * NAMES


def planted_ioi_pairs(couples=COUPLES):
    """Return a pair for every IO and S, in either order: by default 60 in all."""
    from circuitlapse import PromptPairs

    clean, corrupted, correct, wrong, first = [], [], [], [], []
    for io, subject in couples:
        for names in ((io, subject), (subject, io)):
            start = [names[0], AND, names[1], GAVE]
            clean.append([*start, subject, TO])
            corrupted.append([*start, io, TO])
            correct.append([io])
            wrong.append([subject])
            first.append(names.index(io))
    pairs = PromptPairs.from_lists(clean, corrupted, correct=correct, wrong=wrong)
    io = 2 * torch.tensor(first)
    roles = {"io": io, "s1": 2 - io, "s2": torch.full_like(io, 4)}
    return replace(pairs, roles=roles)
