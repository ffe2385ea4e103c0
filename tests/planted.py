"""A GPT-NeoX with weights set by hand: six known edges do its task, and nothing else can.

The task is to copy the token three places before the last one. With tokens a to f,
`d c a e e d` goes on with `a`; its corrupted prompt `d c b e e d` goes on with `b`. The token to
be copied is the only one that differs, and neither it nor its substitute stands anywhere else.

**Features.** `d_model` is 64. Feature i is the direction (e_2i - e_2i+1) / sqrt(2). The 32
features are orthonormal, and each sums to 0, so the mean that LayerNorm takes off is 0.

    TOKEN   0-5    which token stands here: written by the embedding
    ASKED   6-11   which token stands three places back: written by FETCH
    BEFORE  12-17  which token stands one place back: written by PREVIOUS
    ANSWER  18-23  which token comes next: written by COPY, read by the unembedding
    BALLAST 24-25  constant: 24 written by the embedding, 25 by a bias of layer 0
    JUNK    26-31  what all other nodes write

**LayerNorm** is made (almost) the identity. It divides by |x| / 8; its gain multiplies with the
|x| / 8 that is expected, and ballast keeps |x| close to it. An embedding is one TOKEN and 10
times feature 24: |x| is sqrt(101). From layer 1 on |x| is 1024, because the output bias of
attention in layer 0 is 1024 times feature 25, and what comes on top of it adds little to the
square. This bias belongs to no node and is never ablated.

**Attention by place.** Of the 8 dimensions of a head a quarter is rotary, as in Pythia: two
dimensions, turned by 1 radian per position. Queries and keys of FETCH and PREVIOUS are biases:
r (1, 0) and r (cos n, sin n). Turned to positions t and u, they score
r^2 cos(t - u - n) / sqrt(8), here 24 cos(t - u - n). That is largest n places back, at
u = t - n, by at least 11. (One full turn is 6.28 places, so prompts have 7 tokens at most.)

**The circuit.** The other six dimensions of a head hold one of the six tokens.

    a0.h1 FETCH     attends three places back; moves TOKEN from there to ASKED here
    a0.h4 PREVIOUS  attends one place back; moves TOKEN from there to BEFORE here
    a1.h2 COPY      its query is ASKED and its key BEFORE, which score 3 where they agree and 0
                    where they do not; moves BEFORE from there to ANSWER here

At the end of the prompt ASKED is `a`, and BEFORE is `a` two places before the end only. COPY
gives that place the attention A = e^3 / (e^3 + n - 1) in a prompt of n tokens, 0.77 to 0.83: not
so much that its gradient vanishes. The unembedding reads ANSWER 5 times. So the logit of `a` is
5 A, that of `b` is 0, and on the corrupted prompt it is the other way round.

**The edges.** What differs between the two prompts travels along six edges. By how much the
logit difference, which is 5 A, falls when one of them is corrupted in an otherwise clean run:

                       what COPY then does                       exact        to first order
    input->a0.h1<v>    asks for b, and nowhere is b before:      5 A - 5/n    15 A (1 - A)
    a0.h1->a1.h2<q>    attends to all n places alike             5 A - 5/n    15 A (1 - A)
    a0.h4->a1.h2<k>    asks for a, finds b in its stead: alike   5 A - 5/n    15 A (1 - A)
    a0.h4->a1.h2<v>    finds a, but copies b                     10 A         10 A
    input->a0.h4<v>    the last two at once                      5 A + 5/n    10 A + 15 A (1 - A)
    a1.h2->logits      what it does arrives from the other run   10 A         10 A

(To first order, the score at the place found falls by 3, and A with it by 3 A (1 - A).) The
three heads need nothing else: no other input of theirs is read. So the same six edges are the
circuit when ablated edges carry a mean, or nothing.

**Distractors.** The other 13 heads and both MLPs have random weights, read all features but
ballast, and write to JUNK. What they write differs between the two prompts at least a quarter as
much as what the planted heads write, and layer 1 passes it on; but neither the planted heads nor
the unembedding read JUNK. Last, every weight of the model gets random noise of 2e-5, through
which everything has some influence on the answer.
"""

from __future__ import annotations

import math

import torch

N_TOKENS, D_MODEL, N_HEADS, D_HEAD, N_LAYERS = 6, 64, 8, 8, 2
FEATURES = torch.kron(torch.eye(32), torch.tensor([[1.0, -1.0]])) / math.sqrt(2)
TOKEN, ASKED, BEFORE, ANSWER = (FEATURES[6 * i : 6 * i + 6] for i in range(4))
BALLAST, JUNK = FEATURES[24:26], FEATURES[26:32]
NO_BALLAST = torch.cat([FEATURES[:24], JUNK])

FETCH, PREVIOUS, COPY = (0, 1), (0, 4), (1, 2)
EDGES = {
    "input->a0.h1<v>",
    "input->a0.h4<v>",
    "a0.h1->a1.h2<q>",
    "a0.h4->a1.h2<k>",
    "a0.h4->a1.h2<v>",
    "a1.h2->logits",
}
PLACES_BACK = 3
EMBED_BALLAST, LATER_BALLAST = 10.0, 1024.0
BY_PLACE, BY_TOKEN, LOGIT = 24.0, 3.0, 5.0
NOISE = 2e-5
TOKEN_DIMS = slice(2, D_HEAD)


def save_planted_model(
    folder, *, parallel=True, noise=NOISE, more=lambda layers: None, **strengths
):
    """Save the model, laid out like a hub snapshot.

    Args:
        folder: where to.
        parallel: whether attention and MLP of a layer read the same stream.
        noise: standard deviation of what is added to every weight.
        more: plants other parts, before noise is added.
        strengths: other values of `later_ballast` and `by_token` than those above.
    """
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=N_TOKENS,
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        intermediate_size=D_MODEL,
        max_position_embeddings=16,
        use_parallel_residual=parallel,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    set_weights(model, parallel=parallel, noise=noise, more=more, **strengths)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def set_weights(model, *, parallel, noise, more, later_ballast=LATER_BALLAST, by_token=BY_TOKEN):
    """Set every weight; for the arguments see `save_planted_model`."""
    for weight in model.parameters():
        weight.zero_()
    draw = torch.Generator().manual_seed(0)
    layers = model.gpt_neox.layers
    for layer in layers:
        distract(layer, draw)
    model.gpt_neox.embed_in.weight.copy_(TOKEN + EMBED_BALLAST * BALLAST[0])
    layers[0].attention.dense.bias.copy_(later_ballast * BALLAST[1])
    plant_by_place(layers, FETCH, n_back=PLACES_BACK, to=ASKED)
    plant_by_place(layers, PREVIOUS, n_back=1, to=BEFORE)
    plant_copy(layers, COPY, by_token=by_token)
    model.get_output_embeddings().weight.copy_(LOGIT * ANSWER)
    more(layers)
    expect_norms(model, parallel=parallel, later_ballast=later_ballast)
    for weight in model.parameters():
        weight.add_(noise * torch.randn(weight.shape, generator=draw))


def expect_norms(model, *, parallel, later_ballast):
    """Let the gain of every LayerNorm undo its division."""
    early, late = math.sqrt(1 + EMBED_BALLAST**2) / 8, later_ballast / 8
    first, second = model.gpt_neox.layers
    first.input_layernorm.weight.fill_(early)
    first.post_attention_layernorm.weight.fill_(early if parallel else late)
    second.input_layernorm.weight.fill_(late)
    second.post_attention_layernorm.weight.fill_(late)
    model.gpt_neox.final_layer_norm.weight.fill_(late)


def distract(layer, draw):
    """Fill all heads and the MLP of a layer with weights that write to JUNK alone."""

    def random(*shape):
        return torch.randn(*shape, generator=draw)

    reads = random(3 * D_MODEL, len(NO_BALLAST)) @ NO_BALLAST / 2
    layer.attention.query_key_value.weight.copy_(reads)
    layer.attention.dense.weight.copy_(JUNK.T @ random(len(JUNK), D_MODEL) / 5)
    mlp = layer.mlp
    mlp.dense_h_to_4h.weight.copy_(random(D_MODEL, len(NO_BALLAST)) @ NO_BALLAST / 2)
    mlp.dense_4h_to_h.weight.copy_(JUNK.T @ random(len(JUNK), D_MODEL) / 5)


def head_weights(layers, at):
    """Return views of one head: [q, k or v; dim; d_model], their biases, [d_model, dim]."""
    layer, head = at
    attention = layers[layer].attention
    joint = attention.query_key_value
    reads = joint.weight.view(N_HEADS, 3, D_HEAD, D_MODEL)[head]
    biases = joint.bias.view(N_HEADS, 3, D_HEAD)[head]
    writes = attention.dense.weight.view(D_MODEL, N_HEADS, D_HEAD)[:, head]
    for view in (reads, biases, writes):
        view.zero_()
    return reads, biases, writes


def plant_by_place(layers, at, *, n_back, to):
    """Make a head that moves the token `n_back` places back to the features `to`."""
    reads, biases, writes = head_weights(layers, at)
    r = math.sqrt(BY_PLACE * math.sqrt(D_HEAD))
    biases[0, :2] = r * torch.tensor([1.0, 0.0])
    biases[1, :2] = r * torch.tensor([math.cos(n_back), math.sin(n_back)])
    reads[2, TOKEN_DIMS] = TOKEN
    writes[:, TOKEN_DIMS] = to.T


def plant_copy(layers, at, *, by_token):
    """Make a head that looks for ASKED among BEFORE, and copies what it found to ANSWER."""
    reads, _, writes = head_weights(layers, at)
    r = math.sqrt(by_token * math.sqrt(D_HEAD))
    reads[0, TOKEN_DIMS] = r * ASKED
    reads[1, TOKEN_DIMS] = r * BEFORE
    reads[2, TOKEN_DIMS] = BEFORE
    writes[:, TOKEN_DIMS] = ANSWER.T


def planted_pairs():
    """Return a pair for every two tokens in either order, of 5 to 7 tokens."""
    from circuitlapse import PromptPairs

    draw = torch.Generator().manual_seed(1)
    answers = torch.cartesian_prod(*[torch.arange(N_TOKENS)] * 2).tolist()
    answers = [(right, wrong) for right, wrong in answers if right != wrong]
    clean, corrupted = [], []
    for index, (right, wrong) in enumerate(answers):
        others = [token for token in range(N_TOKENS) if token not in (right, wrong)]
        length = 5 + index % 3
        row = [others[i] for i in torch.randint(len(others), (length,), generator=draw)]
        at = length - 1 - PLACES_BACK
        clean.append([*row[:at], right, *row[at + 1 :]])
        corrupted.append([*row[:at], wrong, *row[at + 1 :]])
    right, wrong = ([[answer[side]] for answer in answers] for side in (0, 1))
    return PromptPairs.from_lists(clean, corrupted, correct=right, wrong=wrong)
