import math

import numpy as np
import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.heads import cspa_effect
from circuitlapse.heads.base import Subject
from circuitlapse.heads.cspa import (
    Setting,
    cspa,
    find_changes,
    interval_over_documents,
    mean_z,
)
from circuitlapse.heads.cspa_effect import HeadChanges, divergences
from circuitlapse.models.batching import Limits
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.types.status import ScoreStatus
from tests.conftest import bridge_of, save_random_model

FUNCTION_TOKENS = frozenset({0, 7, 11, 12, 13})

# A model of one layer of four heads, set by hand. It has 6 tokens, each a direction of its own
# that sums to 0; an embedding is that direction and 10 times a seventh, which keeps the norm.
N_TOKENS, D_MODEL, N_HEADS, D_HEAD = 6, 32, 4, 8
DIRECTIONS = torch.kron(torch.eye(7), torch.tensor([[1.0, -1.0]])) / math.sqrt(2)
TOKEN, BALLAST = torch.zeros(6, 32), torch.zeros(32)
TOKEN[:, :14], BALLAST[:14] = DIRECTIONS[:6], DIRECTIONS[6]
LOGIT, STRENGTH = 5.0, 0.5

# Every token stands once at every position, so all heads' mean outputs are the same for all
# tokens, and change no probability.
SQUARE = [(torch.arange(N_TOKENS) + first) % N_TOKENS for first in range(N_TOKENS)]


def scale(squared_norm):
    return math.sqrt(squared_norm / D_MODEL + 1e-5)


@torch.no_grad()
def save_by_hand(folder, heads):
    """Save a model whose heads look `n_back` and write `strength` times token t + `shift`."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=N_TOKENS,
            hidden_size=D_MODEL,
            num_hidden_layers=1,
            num_attention_heads=N_HEADS,
            intermediate_size=8,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    layer = model.gpt_neox.layers[0]
    for weight in (*layer.attention.parameters(), *layer.mlp.parameters()):
        weight.zero_()
    model.gpt_neox.embed_in.weight.copy_(TOKEN + 10 * BALLAST)
    model.get_output_embeddings().weight.copy_(LOGIT * TOKEN)
    joint = layer.attention.query_key_value
    reads = joint.weight.view(N_HEADS, 3, D_HEAD, D_MODEL)
    biases = joint.bias.view(N_HEADS, 3, D_HEAD)
    writes = layer.attention.dense.weight.view(D_MODEL, N_HEADS, D_HEAD)
    r = math.sqrt(40 * math.sqrt(D_HEAD))
    for head, (n_back, strength, shift) in enumerate(heads):
        biases[head, 0, :2] = r * torch.tensor([1.0, 0.0])
        biases[head, 1, :2] = r * torch.tensor([math.cos(n_back), math.sin(n_back)])
        reads[head, 2, 2:] = scale(101) * TOKEN
        writes[:, head, 2:] = strength * TOKEN.roll(-shift, 0).T
    model.save_pretrained(folder)
    return load_decoder(folder)


def score_by_hand(model):
    subject = Subject(model, 0, text=SQUARE)
    return cspa(subject, n_mean=6, n_documents=6, n_positions=6, function_tokens=())["cspa"]


def test_a_head_that_lowers_the_predicted_token_it_attends_to_scores_1(tmp_path):
    lower, higher, other = (0, -STRENGTH, 0), (0, STRENGTH, 0), (0, -STRENGTH, 1)
    score = score_by_hand(save_by_hand(tmp_path, [lower, higher, other]))
    assert score.values[0, 0] == pytest.approx(1, abs=1e-4)
    assert score.n == 36


def test_where_all_documents_are_alike_the_interval_has_no_width(tmp_path):
    """Those of the square are turned copies of each other."""
    score = score_by_hand(save_by_hand(tmp_path, [(0, -STRENGTH, 0)]))
    assert score.interval_of(0, 0) == pytest.approx((1, 1), abs=1e-4)
    assert all(math.isnan(end) for end in score.interval_of(0, 1))  # no effect, no score


@pytest.mark.parametrize(("n", "level"), [(17, 0.91), (50, 0.95), (100, 0.95), (200, 0.95)])
def test_the_interval_covers_the_truth_as_often_as_it_says(n, level):
    """Documents differ, and a head has more of both effects in some of them: 2,000 heads.

    With 17 documents, the default, it covers less than it says, as the methods do say.
    """
    draw = np.random.default_rng(n)
    ablated = draw.gamma(2.0, size=(n, 1, 2000))
    reduced = ablated * draw.beta(2, 3, size=ablated.shape)  # 0.4 of it on average
    kl = torch.from_numpy(np.stack([ablated, reduced]))
    low, high = interval_over_documents(kl, Bootstrap(samples=400, level=0.95, seed=1))
    covered = (low <= 0.6) & (high >= 0.6)
    assert covered.double().mean().item() == pytest.approx(level, abs=0.03)


def test_one_document_says_nothing_of_the_spread():
    assert interval_over_documents(torch.ones(2, 1, 3, 4), Bootstrap()).isnan().all()


def test_a_head_that_raises_the_token_or_lowers_an_unrelated_one_scores_0(tmp_path):
    lower, higher, other = (0, -STRENGTH, 0), (0, STRENGTH, 0), (0, -STRENGTH, 1)
    score = score_by_hand(save_by_hand(tmp_path, [lower, higher, other]))
    assert score.values[0, 1:3].tolist() == pytest.approx([0, 0], abs=1e-4)


def test_a_head_that_writes_nothing_is_nan_and_says_why(tmp_path):
    score = score_by_hand(save_by_hand(tmp_path, [(0, -STRENGTH, 0)]))
    assert score.values[0].isnan().tolist() == [False, True, True, True]
    assert [score.status_of(0, head) for head in (0, 1)] == [ScoreStatus.OK, ScoreStatus.NO_EFFECT]


def test_lowering_a_token_that_is_not_predicted_does_not_count(tmp_path):
    """The head lowers the token before, but the model predicts the one that stands here.

    Only at the first position, where the head has but itself to look at, are they the same.
    """
    score = score_by_hand(save_by_hand(tmp_path, [(1, -STRENGTH, 0)]))
    first, later = LOGIT / scale(100 + (1 - STRENGTH) ** 2), LOGIT / scale(101 + STRENGTH**2)
    other = [0.0] * (N_TOKENS - 1)
    at_first = kl([(1 - STRENGTH) * first, *other], [first, *other])
    at_later = kl([later, -STRENGTH * later, *other[1:]], [later, *other])
    expected = at_first / (at_first + 5 * at_later)
    assert score.values[0, 0] == pytest.approx(expected, abs=1e-4)


def test_early_layers_are_skipped_and_say_so(model, text):
    score = measure(model, text, skip_layers=2)
    assert score.values.isnan().all(1).tolist() == [True, True, False]
    assert [score.status_of(layer, 0) for layer in (1, 2)] == [ScoreStatus.SKIPPED, ScoreStatus.OK]


def test_half_of_a_small_model_is_skipped_if_nobody_says_otherwise(model, text):
    score = measure(model, text, skip_layers=None)
    assert score.values.isnan().all(1).tolist() == [True, False, False]


def test_a_model_whose_layers_are_all_skipped_has_no_score(model, text):
    score = measure(model, text, skip_layers=4)
    assert score.values.isnan().all()
    assert score.status_of(2, 1) == ScoreStatus.SKIPPED


def test_all_heads_agree_with_the_definition_written_as_loops(model, text):
    score = measure(model, text)
    expected = by_loops(model, text[:3], text[:5])
    torch.testing.assert_close(score.values, expected.float(), atol=1e-5, rtol=1e-4)
    assert expected.max() > 0.2


def test_single_precision_is_enough(model, text, float32_model):
    exact, rough = measure(model, text), measure(float32_model, text)
    torch.testing.assert_close(rough.values, exact.values, atol=1e-4, rtol=1e-4)


def test_batches_and_blocks_of_the_vocabulary_change_nothing(model, text, monkeypatch):
    at_once = measure(model, text)
    monkeypatch.setitem(cspa_effect.BLOCK_MB, "cpu", 0)
    one_by_one = measure(model, text, limits=Limits(batch_size=1))
    torch.testing.assert_close(one_by_one.values, at_once.values)


def test_ablating_a_head_gives_the_distribution_of_a_run_with_a_hook(model, text):
    documents = torch.stack([row[:30] for row in text[:3]])
    means = mean_z(model, documents, Limits())
    changes = find_changes(
        model, documents, Setting(means, range(3), frozenset(FUNCTION_TOKENS), Limits())
    )
    found = divergences(model, changes, layers=range(3))[0]
    bridge = bridge_of(model)
    logits, cache = bridge.run_with_cache(documents)
    norm = bridge.ln_final.original_component
    for layer, head in [(0, 1), (2, 0)]:
        z = cache[f"blocks.{layer}.attn.hook_z"][:, :, head]
        change = (means[layer, head] - z) @ bridge.blocks[layer].attn.W_O[head]
        change = (change - change.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"]
        add = lambda x, hook, change=change: x + change * norm.weight  # noqa: E731
        ablated = bridge.run_with_hooks(documents, fwd_hooks=[("unembed.hook_in", add)])
        p, q = logits.log_softmax(-1), ablated.log_softmax(-1)
        torch.testing.assert_close(found[:, layer, head], (p.exp() * (p - q)).sum(-1))


def test_changes_too_large_for_single_precision_are_not_lost(float32_model, text):
    model, documents = float32_model, torch.stack([row[:30] for row in text[:2]])
    means = mean_z(model, documents, Limits())
    changes = find_changes(model, documents, Setting(means, range(1), frozenset(), Limits()))
    ablated = 800 * changes.ablated
    found = divergences(
        model,
        HeadChanges(changes.resid, ablated, changes.suppressed, changes.tokens),
        layers=range(1),
    )[0, :, 0, 0]
    bridge = bridge_of(model)
    norm, unembed = bridge.ln_final.original_component, bridge.unembed.original_component
    change = ablated[:, 0, 0] @ bridge.blocks[0].attn.W_O[0]
    change = (change - change.mean(-1, keepdim=True)).double() * norm.weight
    p = bridge(documents).double()
    q = p + change @ unembed.weight.double().T
    assert (q - p).max() > 100
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    torch.testing.assert_close(found, (p.exp() * (p - q)).sum(-1), rtol=1e-4, atol=1e-3)


def test_too_little_text_is_refused_with_its_size(model, text):
    subject = Subject(model, 0, text=[*text[:2], torch.tensor([1, 2, 3])])
    with pytest.raises(ValueError, match="3 documents of at least 30 tokens, but 2 of 3"):
        cspa(subject, n_mean=3, n_documents=1, n_positions=30, function_tokens=())


def test_documents_that_are_too_short_are_passed_over(model, text):
    short = torch.tensor([1, 2, 3])
    expected, found = measure(model, text), measure(model, [short, *text[:1], short, *text[1:]])
    torch.testing.assert_close(found.values, expected.values)


@pytest.fixture(scope="module")
def text():
    """Documents in which tokens repeat, so that one token is the source of several pairs."""
    draw = torch.Generator().manual_seed(2)
    return [torch.randint(0, 30, (n,), generator=draw) for n in (30, 34, 30, 31, 30, 40, 30, 30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model with random biases and norms, where the first heads lower what they see."""
    from transformers import GPTNeoXForCausalLM

    folder = save_random_model(tmp_path_factory.mktemp("cspa") / "model")
    model = GPTNeoXForCausalLM.from_pretrained(folder).requires_grad_(False)
    draw = torch.Generator().manual_seed(3)
    for weight in model.parameters():
        if weight.ndim == 1:
            weight += 0.3 * torch.randn(weight.shape, generator=draw)
    model.gpt_neox.embed_in.weight.copy_(model.get_output_embeddings().weight)
    for layer in model.gpt_neox.layers:
        read = torch.linalg.qr(torch.randn(32, 16, generator=draw)).Q
        layer.attention.query_key_value.weight.view(2, 3, 16, 32)[0] = read.T
        layer.attention.dense.weight.view(32, 2, 16)[:, 0] = -read / 2
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_decoder(folder, dtype="float64")


@pytest.fixture(scope="module")
def float32_model(folder):
    return load_decoder(folder)


def measure(model, text, **options):
    options = {"skip_layers": 0, "function_tokens": FUNCTION_TOKENS} | options
    subject = Subject(model, 0, text=text)
    return cspa(subject, n_mean=5, n_documents=3, n_positions=30, **options)["cspa"]


def kl(logits, other):
    p, q = (torch.tensor(x, dtype=torch.float64).log_softmax(-1) for x in (logits, other))
    return float((p.exp() * (p - q)).sum())


def by_loops(model, documents, mean_documents):
    """The definition, with folded weights and one head, document and position after the other."""
    model = bridge_of(model)
    norm, unembed = model.ln_final.original_component, model.unembed.original_component
    u = norm.weight[:, None] * unembed.weight.T
    u = u - u.mean(0, keepdim=True)
    u = u - u.mean(1, keepdim=True)
    bias = norm.bias @ unembed.weight.T
    runs = [model.run_with_cache(row[None, :30])[1] for row in documents]
    mean_runs = [model.run_with_cache(row[None, :30])[1] for row in mean_documents]
    scores = torch.zeros(model.cfg.n_layers, model.cfg.n_heads, dtype=torch.float64)
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            w_o = model.blocks[layer].attn.W_O[head]
            outputs = [run[f"blocks.{layer}.attn.hook_z"][0, :, head] @ w_o for run in mean_runs]
            mean = sum(outputs) / len(outputs)
            total = torch.zeros(2, dtype=torch.float64)
            for row, run in zip(documents, runs, strict=True):
                a = run[f"blocks.{layer}.attn.hook_pattern"][0, head]
                o = run[f"blocks.{layer}.attn.hook_v"][0, :, head] @ w_o
                x = run[f"blocks.{layer}.hook_resid_pre"][0]
                y = run["ln_final.hook_in"][0]
                sigma = (y.var(-1, correction=0) + norm.eps).sqrt()
                tokens = row[:30].tolist()
                for q in range(30):
                    r = sum(a[q, k] * o[k] for k in range(q + 1))
                    lens = {
                        k: float((x[q] / sigma[q]) @ u[:, tokens[k]])
                        for k in range(q + 1)
                        if tokens[k] not in FUNCTION_TOKENS
                    }
                    distinct = [lens[k] for k in lens if tokens[k] not in tokens[:k]]
                    n_kept = -(-(q + 1) // 20)
                    cut = min(sorted(distinct, reverse=True)[:n_kept], default=0)
                    replaced = torch.zeros_like(r)
                    for k in range(q + 1):
                        replaced += a[q, k] * mean[q]
                        if k in lens and lens[k] >= cut - 1e-12:
                            w = u[:, tokens[k]] / u[:, tokens[k]].norm()
                            c = (a[q, k] * (o[k] - mean[q])) @ w
                            replaced += c.clamp(max=0) * w
                    logits, ablated, reduced = (
                        (((y[q] + change) / sigma[q]) @ u + bias).tolist()
                        for change in (0 * r, mean[q] - r, replaced - r)
                    )
                    total += torch.tensor([kl(logits, ablated), kl(logits, reduced)])
            scores[layer, head] = 1 - total[1] / total[0]
    return scores
