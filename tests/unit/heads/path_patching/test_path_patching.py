import functools

import jaxtyping
import pytest
import torch

from circuitlapse import PromptPairs, load_decoder
from circuitlapse.errors import UnknownNameError
from circuitlapse.heads.path_patching import HeadPort, patch_paths
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.metrics import ResidualMetric, per_prompt_metric
from tests.conftest import bridge_of, save_random
from tests.dense import run

RECEIVERS = {
    "queries": [(1, 0, "q"), (2, 1, "q")],
    "keys": [(1, 1, "k")],
    "values": [(2, 0, "v")],
    "mixed": [(1, 0, "q"), (1, 0, "v"), (2, 1, "k"), (2, 1, "q")],
}
SENDERS = [(layer, head) for layer in range(3) for head in range(2)]


@pytest.fixture(scope="module", params=["parallel", "sequential", "gpt2"])
def model(request, tmp_path_factory):
    folder = save_random(request.param, tmp_path_factory.mktemp("paths") / request.param)
    return load_decoder(folder, dtype="float64")


@functools.cache
def cached_runs(model, pairs):
    """Return z, MLP outputs and q, k, v of the clean and of the corrupted run, with hooks."""
    return tuple(recorded(model, tokens, pairs, []) for tokens in (pairs.clean, pairs.corrupted))


def recorded(model, tokens, pairs, hooks):
    """Run with hooks, and return the logits and what a few hook points saw."""
    seen = {}

    def keep(name):
        return lambda x, hook: seen.update({name: x.clone()})

    names = [f"attn.hook_{part}" for part in ("z", "q", "k", "v", "pattern")] + ["mlp.hook_out"]
    names = [f"blocks.{at}.{name}" for at in range(model.cfg.n_layers) for name in names]
    wanted = [(name, keep(name)) for name in names]
    seen["logits"] = run(model, tokens, pairs, [*hooks, *wanted])
    return seen


def second_run(model, pairs, sender, *, positions, freeze_mlps):
    """Hold all heads at their clean z but the sender, or the heads of a sender, with hooks."""
    clean, corrupted = cached_runs(model, pairs)
    heads = [sender] if isinstance(sender, tuple) else sender
    hooks = []
    for layer in range(model.cfg.n_layers):
        name = f"blocks.{layer}.attn.hook_z"
        z = clean[name].clone()
        for head in [head for at, head in heads if at == layer]:
            rows = torch.arange(len(pairs))
            where = (rows, pairs.end) if positions == "end" else (slice(None), slice(None))
            z[(*where, head)] = corrupted[name][(*where, head)]
        hooks.append((name, lambda x, hook, z=z: z))
        if freeze_mlps:
            name = f"blocks.{layer}.mlp.hook_out"
            hooks.append((name, lambda x, hook, out=clean[name]: out))
    return recorded(model, pairs.clean, pairs, hooks)


def literal(model, pairs, receivers, sender, **options):
    """Return the metric of run 3, and the attention there, with hooks."""
    second = second_run(model, pairs, sender, **options)
    if receivers == "logits":
        third = second
    else:
        hooks = []
        for layer, head, port in receivers:
            name = f"blocks.{layer}.attn.hook_{port}"

            def put(x, hook, name=name, head=head):
                x = x.clone()
                x[:, :, head] = second[name][:, :, head]
                return x

            hooks.append((name, put))
        third = recorded(model, pairs.clean, pairs, hooks)
    metric = per_prompt_metric(third["logits"], pairs, metric="logit_diff")
    heads = [] if receivers == "logits" else sorted({at[:2] for at in receivers})
    rows = torch.arange(len(pairs))
    patterns = [third[f"blocks.{at}.attn.hook_pattern"][rows, h, pairs.end] for at, h in heads]
    return metric, torch.stack(patterns, 1) if patterns else None


@pytest.mark.parametrize("freeze_mlps", [False, True])
def test_effects_on_the_logits_are_those_of_hooks(model, random_pairs, freeze_mlps):
    got = patch_paths(model, random_pairs, receivers="logits", freeze_mlps=freeze_mlps)
    options = {"positions": "all", "freeze_mlps": freeze_mlps}
    expected = [literal(model, random_pairs, "logits", at, **options)[0] for at in SENDERS]
    assert got.senders == tuple(SENDERS)
    torch.testing.assert_close(got.patched, torch.stack(expected), rtol=1e-6, atol=1e-6)
    assert (got.patched - got.clean).abs().amax() > 0.1


@pytest.mark.parametrize("positions", ["all", "end"])
@pytest.mark.parametrize("name", RECEIVERS)
def test_effects_on_heads_are_those_of_hooks(model, random_pairs, name, positions):
    freeze = positions == "all" and name == "mixed"
    receivers = RECEIVERS[name]
    got = patch_paths(
        model,
        random_pairs,
        receivers=[HeadPort(*receiver) for receiver in receivers],
        sender_positions=positions,
        freeze_mlps=freeze,
        attention=True,
    )
    assert got.attended == tuple(sorted({at[:2] for at in receivers}))
    for row, sender in enumerate(SENDERS):
        options = {"positions": positions, "freeze_mlps": freeze}
        metric, attention = literal(model, random_pairs, receivers, sender, **options)
        torch.testing.assert_close(got.patched[row], metric, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(got.attention[row], attention, rtol=1e-6, atol=1e-6)
    assert (got.patched - got.clean).abs().amax() > 0.01


def test_with_frozen_mlps_each_sender_adds_its_own_change_to_the_clean_stream(model, random_pairs):
    got = patch_paths(model, random_pairs, receivers="logits", freeze_mlps=True)
    runs = cache_activations(model, random_pairs)
    rows, end = torch.arange(9), random_pairs.end
    change = (runs.corrupted.z - runs.clean.z)[rows, end]
    weights = torch.stack([block.attn.W_O for block in bridge_of(model).blocks])
    change = torch.einsum("plhe,lhed->lhpd", change, weights).flatten(0, 1)
    metric_of = ResidualMetric(model, random_pairs, metric="logit_diff")
    expected = torch.stack([metric_of(runs.clean.resid_end + moved) for moved in change])
    torch.testing.assert_close(got.patched, expected)
    torch.testing.assert_close(got.clean, metric_of(runs.clean.resid_end))
    torch.testing.assert_close(got.corrupted, metric_of(runs.corrupted.resid_end))


@pytest.mark.parametrize("metric", ["logit_diff", "kl_divergence"])
def test_all_heads_at_once_make_the_corrupted_run_of_the_logits(model, random_pairs, metric):
    """With the same last token, the end has the same embedding, and MLPs follow the heads."""
    rows, end = torch.arange(9), random_pairs.end
    assert torch.equal(random_pairs.clean[rows, end], random_pairs.corrupted[rows, end])
    got = patch_paths(model, random_pairs, receivers="logits", senders=[SENDERS], metric=metric)
    torch.testing.assert_close(got.patched, got.corrupted[None])
    torch.testing.assert_close(got.effect, -torch.ones(1, 9, dtype=torch.float64))
    assert (got.corrupted - got.clean).abs().min() > 1e-3


@pytest.mark.parametrize("heads", [SENDERS, [(0, 1), (2, 0), (2, 1)]])
def test_with_frozen_mlps_heads_together_add_all_their_changes(model, random_pairs, heads):
    got = patch_paths(model, random_pairs, receivers="logits", senders=[heads], freeze_mlps=True)
    clean, corrupted = cached_runs(model, random_pairs)
    rows, end = torch.arange(9), random_pairs.end
    seen, bridge = {}, bridge_of(model)
    keep = ("ln_final.hook_in", lambda x, hook: seen.update(resid=x.clone()))
    run(model, random_pairs.clean, random_pairs, [keep])
    resid = seen["resid"][rows, end]
    for layer, head in heads:
        name = f"blocks.{layer}.attn.hook_z"
        moved = (corrupted[name] - clean[name])[rows, end, head]
        resid = resid + moved @ bridge.blocks[layer].attn.W_O[head]
    logits = bridge.unembed(bridge.ln_final(resid[:, None]))[:, 0]
    expected = per_prompt_metric(logits, random_pairs, metric="logit_diff")
    torch.testing.assert_close(got.patched[0], expected, rtol=1e-6, atol=1e-6)
    assert (got.patched - got.clean).abs().amax() > 0.1


@pytest.mark.parametrize("positions", ["all", "end"])
@pytest.mark.parametrize(
    ("heads", "receivers"),
    [
        ([(0, 1), (1, 0)], [(2, 0, "q"), (2, 1, "v")]),
        ([(0, 0), (0, 1), (1, 1)], [(2, 1, "k"), (2, 0, "v")]),
        ([(1, 1), (0, 1)], [(1, 0, "q"), (2, 1, "v")]),
        ([(0, 0), (1, 0)], "logits"),
    ],
)
def test_effects_of_heads_together_are_those_of_hooks(
    model, random_pairs, heads, receivers, positions
):
    freeze = positions == "end"
    ports = receivers if receivers == "logits" else [HeadPort(*port) for port in receivers]
    got = patch_paths(
        model,
        random_pairs,
        receivers=ports,
        senders=[heads],
        sender_positions=positions,
        freeze_mlps=freeze,
        attention=True,
    )
    options = {"positions": positions, "freeze_mlps": freeze}
    metric, attention = literal(model, random_pairs, receivers, heads, **options)
    torch.testing.assert_close(got.patched[0], metric, rtol=1e-6, atol=1e-6)
    if attention is not None:
        torch.testing.assert_close(got.attention[0], attention, rtol=1e-6, atol=1e-6)
    alone = patch_paths(
        model, random_pairs, receivers=ports, sender_positions=positions, freeze_mlps=freeze
    )
    assert ((alone.patched - got.patched).abs().amax(1) > 1e-4).all()


def test_rows_are_those_of_the_senders_as_given_whatever_goes_through_together(model, random_pairs):
    senders = [[(2, 1), (0, 0)], (1, 1), [], {(0, 1), (0, 0), (1, 0)}, (0, 0), ((1, 1), (2, 0))]
    got = patch_paths(model, random_pairs, receivers="logits", senders=senders)
    assert got.senders == (
        frozenset({(0, 0), (2, 1)}),
        (1, 1),
        frozenset(),
        frozenset({(0, 0), (0, 1), (1, 0)}),
        (0, 0),
        frozenset({(1, 1), (2, 0)}),
    )
    options = {"positions": "all", "freeze_mlps": False}
    for row, sender in zip(got.patched, senders, strict=True):
        heads = sender if sender in SENDERS else list(sender)
        expected, _ = literal(model, random_pairs, "logits", heads, **options)
        torch.testing.assert_close(row, expected, rtol=1e-6, atol=1e-6)
    one_by_one = [
        patch_paths(
            model, random_pairs, receivers="logits", senders=[sender], limits=Limits(batch_size=4)
        ).patched
        for sender in senders
    ]
    torch.testing.assert_close(torch.cat(one_by_one), got.patched)


def test_one_head_as_a_set_is_that_head_and_the_order_in_a_set_does_not_matter(
    random_model, random_pairs
):
    receivers = [HeadPort(2, 0, "q"), HeadPort(2, 1, "k")]
    senders = [(1, 0), [(1, 0)], [(0, 1), (1, 0)], [(1, 0), (0, 1)], [(0, 1), (0, 1), (1, 0)]]
    got = patch_paths(random_model, random_pairs, receivers=receivers, senders=senders)
    assert got.senders[:2] == ((1, 0), frozenset({(1, 0)}))
    assert torch.equal(got.patched[0], got.patched[1])
    assert torch.equal(got.patched[2], got.patched[3])
    assert torch.equal(got.patched[2], got.patched[4])


@pytest.mark.parametrize("receivers", ["logits", [HeadPort(1, 0, "q")]])
def test_without_heads_a_sender_has_no_effect(random_model, random_pairs, receivers):
    senders = [[], (0, 0), ()]
    got = patch_paths(
        random_model, random_pairs, receivers=receivers, senders=senders, attention=True
    )
    assert got.senders == (frozenset(), (0, 0), frozenset())
    assert (got.patched[[0, 2]] == got.clean).all()
    assert (got.attention[[0, 2]] == got.clean_attention).all()
    assert (got.patched[1] != got.clean).any()


def test_heads_that_have_no_receiver_behind_them_change_nothing_in_a_set(
    random_model, random_pairs
):
    receivers = [HeadPort(1, 0, "q"), HeadPort(1, 1, "v")]
    senders = [[(1, 0), (2, 1)], [(0, 1), (1, 1), (2, 0)], (0, 1)]
    got = patch_paths(random_model, random_pairs, receivers=receivers, senders=senders)
    assert (got.effect[0] == 0).all()
    torch.testing.assert_close(got.patched[1], got.patched[2])
    assert (got.effect[2] != 0).any()


def test_without_receivers_there_is_no_effect(random_model, random_pairs):
    got = patch_paths(random_model, random_pairs, receivers=[], attention=True)
    assert (got.patched == got.clean).all()
    assert (got.effect == 0).all()
    assert got.attention.shape == (6, 9, 0, 8)


def test_a_sender_has_no_effect_on_receivers_of_its_own_and_earlier_layers(model, random_pairs):
    receivers = [HeadPort(1, 0, "q"), HeadPort(1, 1, "v")]
    got = patch_paths(model, random_pairs, receivers=receivers, attention=True)
    assert (got.effect[2:] == 0).all()
    assert (got.attention[2:] == got.clean_attention).all()
    assert (got.effect[:2] != 0).any()


def test_effects_are_normalised_and_undefined_without_a_difference(random_model, random_pairs):
    rows = random_pairs.corrupted.clone()
    rows[4] = random_pairs.clean[4]
    pairs = PromptPairs(random_pairs.clean, rows, random_pairs.end, [[1]] * 9, [[2]] * 9)
    got = patch_paths(random_model, pairs, receivers="logits")
    assert got.effect[:, 4].isnan().all()
    by_hand = (got.patched[3, 0] - got.clean[0]) / (got.clean[0] - got.corrupted[0])
    assert got.effect[3, 0] == by_hand
    patched, clean, corrupted = (
        float(x.double().mean()) for x in (got.patched[3], got.clean, got.corrupted)
    )
    assert float(got.mean_effect[3]) == pytest.approx((patched - clean) / (clean - corrupted))


@pytest.mark.parametrize("metric", ["prob_diff", "kl_divergence"])
def test_batches_and_the_order_of_senders_change_nothing(random_model, random_pairs, metric):
    options = {"receivers": [HeadPort(2, 0, "q"), HeadPort(2, 1, "k")], "metric": metric}
    whole = patch_paths(random_model, random_pairs, **options)
    some = [(1, 1), (0, 0)]
    small = patch_paths(
        random_model, random_pairs, senders=some, limits=Limits(batch_size=4), **options
    )
    tiny = patch_paths(
        random_model, random_pairs, senders=some, limits=Limits(memory_mb=1), **options
    )
    assert small.senders == tuple(some)
    for got in (small, tiny):
        torch.testing.assert_close(got.patched, whole.patched[[3, 0]], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_patched_is_refused(random_model, random_pairs, monkeypatch):
    with pytest.raises(ValueError, match=r"a3\.h0 is not in the model"):
        patch_paths(random_model, random_pairs, receivers="logits", senders=[(3, 0)])
    with pytest.raises(ValueError, match=r"a1\.h2 is not in the model"):
        patch_paths(random_model, random_pairs, receivers="logits", senders=[[(0, 0), (1, 2)]])
    with pytest.raises(UnknownNameError, match="known: k, q, v"):
        patch_paths(random_model, random_pairs, receivers=[HeadPort(1, 0, "z")])
    with pytest.raises(UnknownNameError, match="known: all, end"):
        patch_paths(random_model, random_pairs, receivers=[], sender_positions="s2")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UnknownNameError, match="'logit'; did you mean 'logits'"):
        patch_paths(random_model, random_pairs, receivers="logit")
