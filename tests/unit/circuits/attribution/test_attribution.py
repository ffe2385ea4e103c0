import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse import attribute_edges, evaluate_circuits, load_decoder
from circuitlapse.circuits.attribution import sum_edge_scores
from circuitlapse.circuits.attribution.gradients import GradientSum
from circuitlapse.circuits.selection import Circuit
from circuitlapse.errors import UnknownNameError
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import model_graph
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.types import Method
from tests import dense

REFERENCE = {
    "eap": ("eap", 1),
    "eap_ig_inputs": ("eap_ig_inputs", 1),
    "clean_corrupted": ("clean_corrupted", 1),
    # the reference stores the change of the metric, ours is positive where the edge helps
    "exact": ("exact_patch", -1),
}


@pytest.mark.parametrize("method", REFERENCE)
def test_scores_are_those_of_the_reference(oracle, method):
    name, sign = REFERENCE[method]
    expected = sign * oracle.answers[name]
    steps = oracle.fixture["ig_steps"]
    scores = attribute_edges(
        oracle.model,
        oracle.pairs,
        metric="logit_diff",
        method=method,
        ig_steps=steps,
        ig_rule="left",
    )
    edges = scores.graph.exists
    gap = np.abs(scores.values - expected)[edges].max()
    assert gap / np.abs(expected[edges]).max() < 1e-5


def test_batching_and_the_order_of_prompts_change_nothing(random_model, random_pairs):
    how = {"metric": "prob_diff", "method": "eap_ig_inputs", "ig_steps": 4}
    whole = attribute_edges(random_model, random_pairs, **how)
    batched = attribute_edges(random_model, random_pairs, limits=Limits(batch_size=4), **how)
    np.testing.assert_allclose(batched.values, whole.values, rtol=1e-4, atol=1e-7)
    turned = attribute_edges(random_model, reverse(random_pairs), **how)
    np.testing.assert_allclose(turned.values, whole.values, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", Method)
def test_sums_over_sets_are_those_of_their_pairs_alone(random_model, random_pairs, method):
    """Two halves of nine prompts add up to all of them, and a half is what one scores on it."""
    how = {"metric": "logit_diff", "method": method, "ig_steps": 2}
    first = np.isin(np.arange(9), [0, 3, 4, 8])
    sets = np.array([np.ones(9), first, ~first])
    batches = Limits(batch_size=4)
    whole, *halves = sum_edge_scores(random_model, random_pairs, sets, limits=batches, **how)
    np.testing.assert_allclose(halves[0] + halves[1], whole, rtol=1e-12, atol=1e-12)
    for rows, found in zip((np.flatnonzero(first), np.flatnonzero(~first)), halves, strict=True):
        alone = attribute_edges(random_model, random_pairs.take(rows), **how).values
        np.testing.assert_allclose(found / len(rows), alone, rtol=1e-4, atol=1e-6)


def test_more_padding_changes_nothing(random_model, random_pairs):
    from circuitlapse import PromptPairs

    wide = PromptPairs(
        *(
            torch.nn.functional.pad(side, (0, 3))
            for side in (random_pairs.clean, random_pairs.corrupted)
        ),
        random_pairs.end,
        random_pairs.correct,
        random_pairs.wrong,
    )
    how = {"metric": "logit_diff", "method": "eap"}
    np.testing.assert_allclose(
        attribute_edges(random_model, wide, **how).values,
        attribute_edges(random_model, random_pairs, **how).values,
        rtol=1e-4,
        atol=1e-6,
    )


def test_scores_leaving_the_input_add_up_to_what_corruption_costs(random_folder, random_pairs):
    """The embedding reaches the loss only through its own edges, and the gradients are total."""
    model = load_decoder(random_folder, dtype="float64")
    full, empty = evaluate_circuits(
        model,
        random_pairs,
        [Circuit.full(Graph(3, 2)), Circuit.empty(Graph(3, 2))],
        metric="logit_diff",
    ).mean(axis=1)

    def error(rule: str, steps: int) -> float:
        scores = attribute_edges(
            model,
            random_pairs,
            metric="logit_diff",
            method="eap_ig_inputs",
            ig_steps=steps,
            ig_rule=rule,
        )
        return abs(np.nansum(scores.values[0]) - (full - empty)) / abs(full - empty)

    coarse, fine = error("left", 16), error("left", 32)
    assert fine < 0.05
    assert 1.8 < coarse / fine < 2.2  # the left rule converges like 1/m
    assert error("midpoint", 16) < coarse / 20  # the midpoint rule faster
    assert error("trapezoid", 16) < coarse / 20  # and so does the trapezoidal rule


def test_one_interval_of_the_trapezoidal_rule_has_the_gradients_of_both_ends(
    random_model, random_pairs
):
    how = {"metric": "logit_diff"}
    both = attribute_edges(random_model, random_pairs, method="clean_corrupted", **how)
    how |= {"ig_steps": 1, "ig_rule": "trapezoid"}
    ours = attribute_edges(random_model, random_pairs, method="eap_ig_inputs", **how)
    np.testing.assert_allclose(ours.values, both.values, rtol=1e-5, atol=1e-7)


def test_the_trapezoidal_rule_is_at_least_four_times_closer_than_the_left_one(oracle):
    """For one more gradient; per prompt, scores that leave the input against what it is worth."""
    model = load_decoder(oracle.folder, dtype="float64")
    ends = [Circuit.full(model_graph(model)), Circuit.empty(model_graph(model))]
    full, empty = evaluate_circuits(model, oracle.pairs, ends, metric="logit_diff")  # each [pair]

    def error(rule: str, steps: int) -> float:
        how = {"metric": "logit_diff", "method": "eap_ig_inputs", "ig_steps": steps}
        scores = [
            attribute_edges(model, oracle.pairs.batch(n, n + 1), ig_rule=rule, **how)
            for n in range(len(oracle.pairs))
        ]
        sums = np.array([np.nansum(of_prompt.values[0]) for of_prompt in scores])
        return float(np.abs(sums - (full - empty)).mean())

    assert error("trapezoid", 5) < error("left", 5) / 4
    assert error("trapezoid", 10) < error("left", 10) / 4
    assert 2.1 < error("trapezoid", 20) / error("trapezoid", 30) < 2.4  # like 1/m^2


def test_scores_into_the_logits_add_up_to_the_effect_of_the_final_residual(
    random_folder, random_model, random_pairs
):
    """Under EAP, the sum over sources is (residual change) . (gradient at the residual)."""
    runs = cache_activations(random_model, random_pairs)
    resid = runs.clean.resid_end.clone().requires_grad_(True)
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder)
    logits = plain.get_output_embeddings()(plain.gpt_neox.final_layer_norm(resid))
    loss = -per_prompt_metric(logits, random_pairs, metric="logit_diff").sum()
    (grad,) = torch.autograd.grad(loss, resid)
    expected = ((runs.corrupted.resid_end - runs.clean.resid_end) * grad).sum() / len(random_pairs)
    scores = attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap")
    assert np.nansum(scores.values[:, -1]) == pytest.approx(expected.item(), rel=1e-4)


def test_the_scores_of_a_source_add_up_to_its_attribution_patching_score(
    random_model, random_pairs
):
    """Under EAP: (change of the node) . (total gradient at its output), for every node."""
    model, graph = random_model, Graph(3, 2)
    scores = attribute_edges(model, random_pairs, metric="logit_diff", method="eap")
    clean, corrupted = (
        dense.outputs_of_run(model, graph, side, random_pairs)
        for side in (random_pairs.clean, random_pairs.corrupted)
    )

    def metric_with(moved):
        def write(row, x):
            return None if isinstance(row, tuple) else x + moved[row]

        logits = dense.run(
            model, random_pairs.clean, random_pairs, dense.source_hooks(graph, write)
        )
        return per_prompt_metric(logits, random_pairs, metric="logit_diff").sum()

    moved = torch.zeros_like(clean).requires_grad_(True)
    with torch.enable_grad():
        (grads,) = torch.autograd.grad(-metric_with(moved), moved)
    expected = ((corrupted - clean) * grads).flatten(1).sum(1) / len(random_pairs)
    for row in (0, *(graph.mlp_source(layer) for layer in range(3))):
        assert np.nansum(scores.values[row]) == pytest.approx(expected[row].item(), rel=1e-3)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("rule", ["left", "midpoint", "trapezoid"])
def test_interpolated_activations_follow_the_definition(random_folder, random_pairs, pooled, rule):
    """Run every group at every point with hooks, and multiply the dense gradients."""
    model, graph, m = load_decoder(random_folder, dtype="float64"), Graph(3, 2), 3
    clean, corrupted = (
        dense.outputs_of_run(model, graph, side, random_pairs)
        for side in (random_pairs.clean, random_pairs.corrupted)
    )
    runs = cache_activations(model, random_pairs)

    def loss(logits):
        return -per_prompt_metric(logits, random_pairs, metric="logit_diff").sum()

    shift = {"left": 1, "midpoint": 0.5, "trapezoid": 0}[rule]
    points = [((k + shift) / m, 1.0) for k in range(m)]
    if rule == "trapezoid":
        points = [(0.0, 0.5), *points[1:], (1.0, 0.5)]
    groups = [(0, [0])]
    for layer in range(3):
        heads = graph.head_sources(layer)
        groups.append(((layer, "z"), list(range(heads.start, heads.stop))))
        groups.append((graph.mlp_source(layer), [graph.mlp_source(layer)]))
    mean_of = {}
    for key, rows in groups:
        mean_of[tuple(rows)] = (
            sum(
                weight * group_gradient(model, graph, random_pairs, runs, key, point, loss)
                for point, weight in points
            )
            / m
        )
    everywhere = sum(mean_of.values()) / len(groups)
    expected = np.full(graph.exists.shape, np.nan)
    for rows, grads in mean_of.items():
        used = everywhere if pooled else grads
        for row in rows:
            change = (corrupted - clean)[row]
            effect = (change * used).flatten(1).sum(1).numpy() / len(random_pairs)
            expected[row] = np.where(graph.exists[row], effect, np.nan)
    ours = attribute_edges(
        model,
        random_pairs,
        metric="logit_diff",
        method="eap_ig_activations_pooled" if pooled else "eap_ig_activations",
        ig_steps=m,
        ig_rule=rule,
        limits=Limits(batch_size=9),
    )
    np.testing.assert_allclose(ours.values, expected, rtol=1e-3, atol=1e-5)


def group_gradient(model, graph, pairs, runs, key, fraction, loss):
    def between(name, index=()):
        ends = [getattr(run, name)[index] for run in (runs.corrupted, runs.clean)]
        return ends[0] + fraction * (ends[1] - ends[0])

    if key == 0:
        embed = between("embed")
        return dense.gradients(model, pairs, graph, embed=embed, loss=loss)
    name = "z" if isinstance(key, tuple) else "mlp_out"
    layer = key[0] if isinstance(key, tuple) else [graph.mlp_source(n) for n in range(3)].index(key)
    point = between(name, (slice(None), slice(None), layer))

    def edit(row, x):
        return point if row == key else None

    return dense.gradients(model, pairs, graph, embed=runs.clean.embed, loss=loss, edit=edit)


def test_scores_for_the_divergence_tell_how_far_it_grows(random_folder, random_pairs):
    """Completeness: what leaves the input adds up to KL(clean || corrupted)."""
    model = load_decoder(random_folder, dtype="float64")
    empty = [Circuit.empty(Graph(3, 2))]
    expected = evaluate_circuits(model, random_pairs, empty, metric="kl_divergence").mean()
    how = {"metric": "kl_divergence", "ig_steps": 64, "ig_rule": "midpoint"}
    scores = attribute_edges(model, random_pairs, method="eap_ig_inputs", **how)
    assert np.nansum(scores.values[0]) == pytest.approx(expected, rel=0.02)


def test_completeness_holds_for_ablation_by_the_mean(random_folder, random_pairs):
    """What leaves the input adds up to what its ablation alone costs."""
    model, graph = load_decoder(random_folder, dtype="float64"), Graph(3, 2)
    mask = graph.exists.copy()
    mask[0] = False
    circuits = [Circuit.full(graph), Circuit(graph, mask)]
    how = {"metric": "logit_diff", "ablation": "mean"}
    full, without = evaluate_circuits(model, random_pairs, circuits, **how).mean(axis=1)
    how |= {"method": "eap_ig_inputs", "ig_steps": 128, "ig_rule": "midpoint"}
    scores = attribute_edges(model, random_pairs, **how)
    assert np.nansum(scores.values[0]) == pytest.approx(full - without, rel=0.05)


def test_ablation_by_zero_takes_away_the_whole_output(random_folder, random_pairs):
    model, graph = load_decoder(random_folder, dtype="float64"), Graph(3, 2)
    outputs = dense.outputs_of_run(model, graph, random_pairs.clean, random_pairs)

    def loss(logits):
        return -per_prompt_metric(logits, random_pairs, metric="logit_diff").sum()

    grads = dense.gradients(model, random_pairs, graph, embed=outputs[0], loss=loss)
    expected = -torch.einsum("sbtd,rbtd->sr", outputs, grads).numpy() / len(random_pairs)
    how = {"metric": "logit_diff", "method": "eap", "ablation": "zero"}
    ours = attribute_edges(model, random_pairs, **how).values[graph.exists]
    np.testing.assert_allclose(ours, expected[graph.exists], rtol=1e-4, atol=1e-6)


def test_little_memory_changes_nothing(random_model, random_pairs):
    for method in ("eap_ig_inputs", "eap_ig_activations"):
        how = {"metric": "logit_diff", "method": method, "ig_steps": 5}
        whole = attribute_edges(random_model, random_pairs, **how)
        tight = attribute_edges(random_model, random_pairs, limits=Limits(memory_mb=1), **how)
        np.testing.assert_allclose(tight.values, whole.values, rtol=1e-3, atol=1e-6)


def test_an_integral_over_no_points_is_refused(random_model, random_pairs):
    with pytest.raises(ValueError, match="ig_steps must be at least 1, found 0"):
        attribute_edges(
            random_model, random_pairs, metric="logit_diff", method="eap_ig_inputs", ig_steps=0
        )


def test_unknown_names_are_refused_with_the_known_ones(random_model, random_pairs):
    with pytest.raises(UnknownNameError, match="did you mean 'eap_ig_inputs'"):
        attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap_ig_input")
    with pytest.raises(UnknownNameError, match="known: left, midpoint, trapezoid"):
        attribute_edges(
            random_model, random_pairs, metric="logit_diff", method="eap", ig_rule="right"
        )


def reverse(pairs):
    from circuitlapse import PromptPairs

    return PromptPairs(
        pairs.clean.flip(0),
        pairs.corrupted.flip(0),
        pairs.end.flip(0),
        pairs.correct[::-1],
        pairs.wrong[::-1],
    )


def test_activations_of_other_prompts_are_refused(random_model, random_pairs):
    few = cache_activations(random_model, random_pairs.batch(0, 4))
    message = "activations are of 4 prompts of 8 positions, but there are 9 pairs of 8"
    with pytest.raises(ValueError, match=message):
        attribute_edges(
            random_model, random_pairs, metric="logit_diff", method="eap", activations=few
        )


def test_less_memory_than_expected_takes_fewer_prompts_and_fewer_runs(
    random_model, random_pairs, monkeypatch
):
    """A pass of more than four rows fails; scores come out all the same."""
    how = {"metric": "logit_diff", "method": "eap_ig_inputs", "ig_steps": 6}
    expected = attribute_edges(random_model, random_pairs, **how)
    add, tried = GradientSum.add, []

    def tight(self, embeds, **options):
        tried.append(tuple(embeds.shape[:2]))
        if embeds.shape[0] * embeds.shape[1] > 4:
            raise torch.OutOfMemoryError
        add(self, embeds, **options)

    monkeypatch.setattr(GradientSum, "add", tight)
    ours = attribute_edges(random_model, random_pairs, **how)
    np.testing.assert_allclose(ours.values, expected.values, rtol=1e-4, atol=1e-6)
    assert tried[0][0] > 1
    assert tried[-1][0] * tried[-1][1] <= 4


def test_one_prompt_at_once_takes_fewer_runs_when_memory_runs_out(
    random_model, random_pairs, monkeypatch
):
    how = {"metric": "logit_diff", "method": "eap_ig_inputs", "ig_steps": 6}
    expected = attribute_edges(random_model, random_pairs, **how)
    add, tried = GradientSum.add, []

    def tight(self, embeds, **options):
        tried.append(tuple(embeds.shape[:2]))
        if len(embeds) > 2:
            raise torch.OutOfMemoryError
        add(self, embeds, **options)

    monkeypatch.setattr(GradientSum, "add", tight)
    ours = attribute_edges(random_model, random_pairs, limits=Limits(batch_size=1), **how)
    np.testing.assert_allclose(ours.values, expected.values, rtol=1e-4, atol=1e-6)
    assert {pairs for _, pairs in tried} == {1}
