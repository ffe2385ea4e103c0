"""An additive model: the metric of a circuit is the sum of what its edges are worth on a prompt."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from circuitlapse import EdgeScores, PromptPairs
from circuitlapse.circuits.discovery import discover_circuit
from circuitlapse.circuits.discovery.held_out import hold_out
from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.discovery.split_half import search_split_half
from circuitlapse.circuits.faithfulness import size_interval
from circuitlapse.circuits.rankings import FRACTIONS
from circuitlapse.circuits.selection import cut, select_circuit
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.load import model_graph
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import ratio_interval
from circuitlapse.types.status import HeldOutStatus

SETTINGS = Circuits(
    selection="top_n", grid_ratio=1.3, refine_points=2, max_fraction=1.0, random_circuits=0
)


@dataclass(frozen=True, eq=False)
class Additive(Search):
    """A search in which scores and metrics are known sums; the model only gives the graph.

    Attributes:
        worth: of every edge on every prompt [source, target, prompt].
    """

    worth: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def m_model(self):
        return self.worth.sum((0, 1))

    @property
    def m_corrupted(self):
        return np.zeros(self.worth.shape[2])

    def on(self, rows):
        return replace(self, pairs=self.pairs.take(rows), worth=self.worth[..., rows])

    def sums(self, sets):
        exists = model_graph(self.model).exists
        return np.where(exists, np.einsum("np,stp->nst", sets, self.worth), np.nan)

    def evaluate(self, circuits):
        return np.stack([self.worth[circuit.mask].sum(0) for circuit in circuits])


def twins_of(n_groups):
    tokens = torch.zeros(2 * n_groups, 1, dtype=torch.long)
    one = [[0]] * len(tokens)
    return PromptPairs(
        tokens, tokens, tokens[:, 0], one, [[1]] * len(tokens), groups=np.arange(2 * n_groups) // 2
    )


def planted(model, draw, *, n_groups, noise, seed=0):
    """Return a search in which all edges are worth about the same, and what each is worth."""
    exists = model_graph(model).exists
    truth = np.where(exists, draw.uniform(0.5, 1.5, size=exists.shape), 0)
    worth = truth[..., None] + noise * draw.normal(size=(*exists.shape, n_groups))
    worth = np.repeat(worth * exists[..., None], 2, axis=2)  # twins agree
    how = {
        "metric": "logit_diff",
        "settings": SETTINGS,
        "bootstrap": Bootstrap(samples=200, seed=seed),
    }
    pairs = twins_of(n_groups)
    return Additive(model, pairs, None, limits=None, worth=worth, **how), truth


def halved(search):
    """Return the scores of all edges on all prompts, and the halves."""
    n_prompts = len(search.pairs)
    (total,), split = search_split_half(search, np.ones((1, n_prompts)))
    return EdgeScores(model_graph(search.model), total / n_prompts), split


def test_noise_makes_a_circuit_look_better_on_its_own_prompts_and_not_on_held_out_ones(
    random_model,
):
    """True faithfulness is known: the share of the worth that the edges of a circuit have."""
    draw, n, hits = np.random.default_rng(0), 60, 0
    in_sample, held_out, true, true_whole = np.zeros((4, n))
    for seed in range(n):
        search, truth = planted(random_model, draw, n_groups=100, noise=4.0, seed=seed)
        scores, split = halved(search)
        found = search.small_circuit(scores)
        held = hold_out(search, split, found.curve.sizes)
        assert held.status == HeldOutStatus.OK
        in_sample[seed] = search.evaluate([found.circuit]).mean() / search.m_model.mean()
        true_whole[seed] = truth[found.circuit.mask].sum() / truth.sum()
        held_out[seed] = held.metric.mean() / search.m_model.mean()
        true[seed] = np.mean([truth[mask].sum() / truth.sum() for mask in split.in_circuit])
        ends = ratio_interval(held.metric, search.m_model, search.bootstrap, search.pairs.groups)
        hits += ends[0] <= true[seed] <= ends[1]
    assert np.mean(in_sample - true_whole) > 0.06
    assert abs(np.mean(held_out - true)) < 0.01
    assert hits / n == pytest.approx(0.95, abs=0.04)  # of 60 simulations, each 1.7 %


def test_the_interval_of_size_is_about_the_circuits_tried_and_not_about_other_prompts(random_model):
    """The true size is that of the first of the circuits tried whose true worth is enough."""
    draw, n, tried, others = np.random.default_rng(2), 30, 0, 0
    for _ in range(n):
        search, truth = planted(random_model, draw, n_groups=50, noise=1.0)
        noise = np.repeat(draw.normal(size=(*truth.shape, 50)), 2, axis=2)
        fresh = replace(search, worth=np.where(truth[..., None] > 0, truth[..., None] + noise, 0))
        found, other = (one.small_circuit(one.scores()) for one in (search, fresh))
        circuits = [
            cut(found.circuit.graph, found.order, size) for size in found.curve.sizes.tolist()
        ]
        metric = np.array([truth[one.mask].sum() for one in circuits])
        passes = metric >= 0.8 * truth.sum()
        first = int(np.argmax(passes & np.append(passes[1:], True)))
        low, high = size_interval(
            found.curve, threshold=0.8, bootstrap=search.bootstrap, groups=search.pairs.groups
        )
        tried += low <= found.curve.n_edges[first] <= high
        others += low <= other.circuit.n_edges <= high
    assert tried / n >= 0.9
    assert others / n < 0.7


def test_every_prompt_is_run_with_what_the_other_half_gave(random_model):
    search, _ = planted(random_model, np.random.default_rng(1), n_groups=30, noise=4.0)
    scores, split = halved(search)
    sizes = search.small_circuit(scores).curve.sizes
    held = hold_out(search, split, sizes)
    for half in (0, 1):
        rows = np.flatnonzero(split.of_prompt == half)
        other = EdgeScores(scores.graph, split.scores[1 - half])
        part = search.on(rows)
        expected = search.worth[split.in_circuit[1 - half]].sum(0)[rows]
        np.testing.assert_allclose(held.metric[rows], expected)
        nested = [select_circuit(other, int(size), how="top_n") for size in sizes]
        np.testing.assert_allclose(held.curve[:, rows], part.evaluate(nested))
        ranked = [
            select_circuit(other, int(share * scores.graph.n_edges), how="top_n")
            for share in FRACTIONS
        ]
        absolute = [name == "absolute" for name in held.rankings.ranking]
        np.testing.assert_allclose(held.rankings.metric[absolute][:, rows], part.evaluate(ranked))
    assert held.rankings.held_out.all()


def test_without_noise_held_out_is_in_sample(random_model):
    search, _ = planted(random_model, np.random.default_rng(2), n_groups=30, noise=0.0)
    scores, split = halved(search)
    found = search.small_circuit(scores)
    held = hold_out(search, split, found.curve.sizes)
    np.testing.assert_allclose(held.metric, search.evaluate([found.circuit])[0])
    np.testing.assert_allclose(held.curve, found.curve.metric)


@pytest.fixture(scope="module")
def asked(random_model):
    """20 prompts of a random model that is asked for what it prefers."""
    draw = torch.Generator().manual_seed(2)
    clean = [torch.randint(0, 50, (5,), generator=draw).tolist() for _ in range(20)]
    corrupted = [[*row[:2], (row[2] + 7) % 50, *row[3:]] for row in clean]
    pairs = PromptPairs.from_lists(clean, corrupted, correct=[[1]] * 20, wrong=[[2]] * 20)
    runs = cache_activations(random_model, pairs)
    gain = 1.5 * runs.clean.logits_end - runs.corrupted.logits_end
    best, worst = ([[token] for token in end(1).tolist()] for end in (gain.argmax, gain.argmin))
    return replace(pairs, correct=best, wrong=worst)


def discover(model, pairs, **changes):
    settings = Circuits(method="eap", grid_ratio=3.0, refine_points=1, random_circuits=1, **changes)
    how = {
        "metric": "logit_diff",
        "settings": settings,
        "bootstrap": Bootstrap(samples=100, seed=5),
    }
    return discover_circuit(model, pairs, activations=cache_activations(model, pairs), **how)


def test_of_a_real_model_both_halves_are_run_on_the_other(random_model, asked):
    found = discover(random_model, asked)
    assert found.held_out.status == HeldOutStatus.OK
    assert not np.isnan(found.held_out.metric).any()
    np.testing.assert_array_equal(found.rankings.held_out, True)
    whole = found.rankings.fraction == 1
    np.testing.assert_allclose(
        found.rankings.metric[whole], np.tile(found.m_model, (3, 1)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "n_prompts", "status"),
    [({"noise_floor": False}, 20, "no_halves"), ({}, 19, "too_few_prompts")],
)
def test_without_halves_there_are_no_held_out_numbers_and_rankings_say_so(
    random_model, asked, changes, n_prompts, status
):
    found = discover(random_model, asked.batch(0, n_prompts), **changes)
    assert found.held_out.status == status
    assert np.isnan(found.held_out.metric).all()
    assert np.isnan(found.held_out.curve).all()
    by_score = np.array(found.rankings.ranking) != "random"
    np.testing.assert_array_equal(found.rankings.held_out, ~by_score)
    assert not np.isnan(found.rankings.metric).any()


def test_a_half_without_the_behaviour_is_the_reason(random_model, asked):
    opposite = replace(asked, correct=asked.wrong, wrong=asked.correct)
    found = discover(random_model, opposite)
    assert found.held_out.status == "no_behaviour"
    assert len(found.rankings.ranking) == len(found.held_out.curve) == 0
