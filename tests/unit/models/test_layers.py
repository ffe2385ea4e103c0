import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig
from transformers.activations import ACT2FN
from transformers.models.gpt_neox.modeling_gpt_neox import (
    GPTNeoXRotaryEmbedding,
    apply_rotary_pos_emb,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from circuitlapse.models.forward import mix
from circuitlapse.models.layers import ACTIVATIONS, Attention, Mlp, Norm, Rotary

D_MODEL, N_HEADS, N_GROUPS, D_HEAD = 12, 4, 2, 6


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


@pytest.fixture
def norms(draw):
    weight, bias = 1 + 0.3 * draw(D_MODEL), draw(D_MODEL)
    return {
        "layer": Norm("layer", weight, bias, 0.1),
        "plain": Norm("layer", eps=0.1),
        "rms": Norm("rms", weight, eps=0.1),
        "none": Norm("none"),
    }


NAMES = ("layer", "plain", "rms", "none")


def elsewhere(norm, name):
    """The same norm in torch or transformers."""
    module = {
        "layer": nn.LayerNorm(D_MODEL, eps=0.1),
        "plain": nn.LayerNorm(D_MODEL, eps=0.1),
        "rms": LlamaRMSNorm(D_MODEL, eps=0.1),
        "none": nn.Identity(),
    }[name].requires_grad_(False)
    for part in ("weight", "bias"):
        if getattr(norm, part) is not None:
            getattr(module, part).copy_(getattr(norm, part))
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_norm_is_that_of_torch_or_transformers(norms, draw, name):
    x = 3 * draw(2, 5, D_MODEL) + 1
    torch.testing.assert_close(norms[name](x), elsewhere(norms[name], name)(x))


@pytest.mark.parametrize("name", NAMES)
def test_a_norm_centres_divides_by_its_scale_and_adds_gain_and_offset(norms, draw, name):
    norm, x = norms[name], 3 * draw(2, 5, D_MODEL) + 1
    divided = norm.centre(x) / norm.scale(x)[..., None]
    expected = elsewhere(norm, name)(x)
    torch.testing.assert_close(divided * norm.gain(x) + norm.offset(x), expected)


@pytest.mark.parametrize("name", ["layer", "plain", "rms"])
def test_the_direction_is_the_gradient_of_the_scale(norms, draw, name):
    """d scale / d x is the direction over the width: what autograd says."""
    x = (3 * draw(2, 5, D_MODEL) + 1).requires_grad_(True)
    direction, scale = norms[name].normalised(x.detach())
    torch.testing.assert_close(scale[..., 0], norms[name].scale(x.detach()))
    (expected,) = torch.autograd.grad(norms[name].scale(x).sum(), x)
    torch.testing.assert_close(direction / D_MODEL, expected)


def test_nothing_is_divided_without_a_norm(norms, draw):
    direction, scale = norms["none"].normalised(draw(2, D_MODEL))
    assert not direction.any()
    assert (scale == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_norm_in_another_dtype_has_its_weights_in_it(norms, draw, name):
    x = draw(3, D_MODEL)
    wide = norms[name].to(torch.float64)
    torch.testing.assert_close(wide(x.double()).float(), norms[name](x))
    assert wide.gain(x.double()).dtype == wide.offset(x.double()).dtype == torch.float64


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_rotated_vectors_are_those_of_transformers(draw, share):
    """Queries and keys: a head that attends by them sees the same scores."""
    width, n_pos = 16, 7
    rope = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": share}
    config = GPTNeoXConfig(hidden_size=width, num_attention_heads=1, rope_parameters=rope)
    query, key, value = (draw(1, 1, n_pos, width) for _ in range(3))
    cos, sin = GPTNeoXRotaryEmbedding(config)(value, torch.arange(n_pos)[None])
    turned = apply_rotary_pos_emb(query, key, cos, sin)
    scores = (turned[0] @ turned[1].mT / width**0.5)[0, 0]
    scores = scores.masked_fill(torch.ones(n_pos, n_pos).triu(1).bool(), -torch.inf)
    rotary = Rotary.of(int(width * share), base=100.0, device="cpu")
    attn = Attention(torch.zeros(3 * width, 8), None, torch.zeros(8, width), None, 1, 1, rotary)
    torch.testing.assert_close(mix(attn, query, key, value)[1][0, 0], scores.softmax(-1))


def test_a_linear_stretch_slows_down_positions():
    plain, stretched = (Rotary.of(8, base=10.0, stretch=s, device="cpu") for s in (1.0, 2.0))
    for at_once, slowly in zip(
        plain.angles(5, torch.float32), stretched.angles(9, torch.float32), strict=True
    ):
        torch.testing.assert_close(slowly[::2], at_once)


def test_angles_are_computed_once_per_length_and_dtype():
    rotary = Rotary.of(8, base=10.0, device="cpu")
    again = [rotary.angles(5, torch.float32)[0] for _ in range(2)]
    assert again[0] is again[1]
    narrow = rotary.angles(5, torch.bfloat16)[0]
    assert torch.equal(narrow, again[0].bfloat16())
    assert rotary.angles(6, torch.float32)[0].shape == (6, 8)


@pytest.fixture
def grouped(draw):
    """Four heads, of which two share a key and a value; norms of all heads together."""
    rows, width = (N_HEADS + 2 * N_GROUPS) * D_HEAD, N_HEADS * D_HEAD
    return Attention(
        draw(rows, D_MODEL),
        draw(rows),
        draw(D_MODEL, width),
        None,
        N_HEADS,
        N_GROUPS,
        q_norm=Norm("rms", 1 + 0.3 * draw(width), eps=0.1),
        k_norm=Norm("rms", 1 + 0.3 * draw(N_GROUPS * D_HEAD), eps=0.1),
        norm_all_heads=True,
        norm_after=Norm("rms", 1 + 0.3 * draw(D_MODEL), eps=0.1),
    )


def test_ports_are_products_with_the_rows_of_each_head_and_of_its_group(grouped, draw):
    x = draw(2, 3, D_MODEL)
    query, key, value = grouped.ports(x)
    for head in range(N_HEADS):
        group = head // (N_HEADS // N_GROUPS)
        for found, place in ((query, head), (key, N_HEADS + group), (value, N_HEADS + 2 + group)):
            rows = slice(D_HEAD * place, D_HEAD * (place + 1))
            expected = x @ grouped.qkv[rows].T + grouped.qkv_bias[rows]
            torch.testing.assert_close(found[:, :, head], expected)


def test_weights_per_head_make_the_ports(grouped, draw):
    x = draw(2, 3, D_MODEL)
    weights, biases = (
        [getattr(grouped, f"{kind}_{port}") for port in "QKV"] for kind in ("W", "b")
    )
    for found, weight, bias in zip(grouped.ports(x), weights, biases, strict=True):
        expected = torch.einsum("bpm,hmd->bphd", x, weight) + bias
        torch.testing.assert_close(found, expected)


def test_missing_biases_are_zeros(grouped, draw):
    width = N_HEADS * D_HEAD
    bare = Attention(draw(3 * width, D_MODEL), None, draw(D_MODEL, width), None, N_HEADS, N_HEADS)
    for bias in (bare.b_Q, bare.b_K, bare.b_V, bare.b_O):
        assert not bias.any()
    assert (bare.b_V.shape, bare.b_O.shape) == ((N_HEADS, D_HEAD), (D_MODEL,))


def test_ungrouped_heads_compute_the_same_with_keys_and_values_of_their_own(grouped, draw):
    alone = grouped.ungrouped()
    assert (alone.n_kv_heads, len(alone.qkv)) == (N_HEADS, 3 * N_HEADS * D_HEAD)
    assert alone.ungrouped() is alone
    x = draw(2, 3, D_MODEL)
    mixed = []
    for attn in (grouped, alone):
        ports = [port.movedim(2, 0) for port in attn.ports(x)]
        mixed.append((*ports, *mix(attn, *ports)))
    for found, expected in zip(*mixed, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_norm_of_shared_keys_is_that_of_the_distinct_ones(grouped, draw):
    x = draw(2, 3, D_MODEL)
    key = grouped.ports(x)[1].movedim(2, 0)
    found = grouped.normalised(key, grouped.k_norm_of_heads)
    distinct = x @ grouped.qkv[N_HEADS * D_HEAD :][: N_GROUPS * D_HEAD].T
    distinct = distinct + grouped.qkv_bias[N_HEADS * D_HEAD :][: N_GROUPS * D_HEAD]
    norm = LlamaRMSNorm(N_GROUPS * D_HEAD, eps=0.1).requires_grad_(False)
    norm.weight.copy_(grouped.k_norm.weight)
    expected = norm(distinct).unflatten(-1, (N_GROUPS, D_HEAD))
    for head in range(N_HEADS):
        torch.testing.assert_close(found[head], expected[:, :, head // 2])


def test_a_norm_after_attention_belongs_to_what_each_head_writes(grouped, draw):
    """Their sum is the norm of the sum, as OLMo-2 computes it."""
    mixed = draw(2, 3, N_HEADS, D_HEAD)
    z = mixed / grouped.scale_of(mixed)[..., None, None]
    norm = LlamaRMSNorm(D_MODEL, eps=0.1).requires_grad_(False)
    norm.weight.copy_(grouped.norm_after.weight)
    expected = norm(mixed.flatten(-2) @ grouped.out.T)
    torch.testing.assert_close(torch.einsum("bphd,hdm->bpm", z, grouped.W_O), expected)
    torch.testing.assert_close(grouped.write(z), expected)


def test_without_a_norm_after_attention_nothing_is_divided(draw):
    width = N_HEADS * D_HEAD
    bare = Attention(
        draw(3 * width, D_MODEL), None, draw(D_MODEL, width), draw(D_MODEL), N_HEADS, N_HEADS
    )
    z = draw(2, 3, N_HEADS, D_HEAD)
    assert bare.scale_of(z) is None
    assert not bare.heads_are_joint
    expected = nn.functional.linear(z.flatten(-2), bare.out, bare.out_bias)
    torch.testing.assert_close(bare.write(z), expected)
    heads = torch.einsum("bphd,hdm->bpm", z, bare.W_O)
    torch.testing.assert_close(heads + bare.b_O, expected, rtol=1e-5, atol=1e-5)


def test_clipping_limits_both_signs(grouped):
    x = torch.tensor([-3.0, -1.0, 2.0])
    assert torch.equal(grouped.clipped(x), x)
    width = N_HEADS * D_HEAD
    weights = torch.zeros(3 * width, D_MODEL), None, torch.zeros(D_MODEL, width), None
    assert Attention(*weights, N_HEADS, N_HEADS, clip=1.5).clipped(x).tolist() == [-1.5, -1, 1.5]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(draw, name):
    x = draw(100)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_an_mlp_is_its_linear_maps_its_activation_and_its_norm(draw, gated):
    first, gate, last = nn.Linear(D_MODEL, 9), nn.Linear(D_MODEL, 9), nn.Linear(9, D_MODEL)
    norm = Norm("rms", draw(D_MODEL), eps=0.1)
    mlp = Mlp(
        first.weight,
        first.bias,
        last.weight,
        last.bias,
        "silu",
        gate.weight if gated else None,
        gate.bias if gated else None,
        norm,
    )
    x = draw(2, 3, D_MODEL)
    act = nn.functional.silu
    hidden = act(gate(x)) * first(x) if gated else act(first(x))
    torch.testing.assert_close(mlp(x), norm(last(hidden)))
