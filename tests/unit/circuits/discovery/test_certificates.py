"""False-positive rates on shuffled truth, and power on circuits that are known."""

import math

import numpy as np
import pytest

from circuitlapse import Circuit, evaluate_circuits, load_decoder, statistics
from circuitlapse.circuits.discovery.certificates import (
    KNOWN_MARGIN,
    complement,
    equivalence,
    independence,
)
from circuitlapse.models.load import model_graph
from circuitlapse.settings.analysis import Bootstrap
from tests.planted import EDGES, planted_pairs, save_planted_model

BOOTSTRAP = Bootstrap(samples=200)
N_DRAWS = 200
LEVEL = 0.05
AT_MOST = LEVEL + 2.6 * math.sqrt(LEVEL * (1 - LEVEL) / N_DRAWS)
"""Where 99.5 % of the rates lie that 200 draws give, if the true one is 5 %."""


@pytest.fixture(autouse=True)
def _fewer_flips(monkeypatch):
    """999 random signs are enough for a level of 5 %, and quick."""
    monkeypatch.setattr(statistics, "N_FLIPS", 999)


def twins(values):
    """Return values per group as values of two prompts each, with the groups of these."""
    return np.repeat(values, 2, axis=-1), np.repeat(np.arange(values.shape[-1]), 2)


def p_equivalence(circuit, model, **how):
    circuit, groups = twins(circuit)
    return equivalence(circuit, twins(model)[0], bootstrap=BOOTSTRAP, groups=groups, **how).p


def p_independence(known, gap, **how):
    known, groups = twins(known)
    gap, _ = twins(gap)
    nothing = np.zeros(len(gap))
    found = independence(known, gap, nothing, bootstrap=BOOTSTRAP, groups=groups, **how)
    return found.p


@pytest.mark.parametrize("n_groups", [20, 50, 100])
def test_circuit_and_model_exchanged_at_random_are_seldom_told_apart(n_groups):
    """Without a margin, 5 % or fewer are; with it, hardly any are."""
    draw, p = np.random.default_rng(0), np.zeros((N_DRAWS, 2))
    for row in p:
        model = draw.normal(3, 1, n_groups)
        circuit = 0.8 * model + draw.normal(0, 0.2, n_groups)
        swapped = draw.random(n_groups) < 0.5
        pair = np.where(swapped, model, circuit), np.where(swapped, circuit, model)
        row[:] = p_equivalence(*pair, margin=0.0), p_equivalence(*pair)
    rates = (p <= LEVEL).mean(0)
    assert 0.01 <= rates[0] <= AT_MOST
    assert rates[1] <= 0.02


@pytest.mark.parametrize("n_groups", [20, 50, 100, 500])
def test_the_false_positive_rate_of_equivalence_at_its_margin_is_exact(n_groups):
    """The rate is a sum over all numbers of wins; at the margin, wins have probability 0.6."""
    wins = np.arange(n_groups + 1)
    ways = [math.comb(n_groups, k) for k in wins]
    chance = np.array([float(ways[k] * 0.6**k * 0.4 ** (n_groups - k)) for k in wins])
    signs = [np.r_[np.ones(k), -np.ones(n_groups - k)] for k in wins]
    p = np.array([p_equivalence(1 + sign, np.ones(n_groups)) for sign in signs])
    assert 0.01 < chance[p <= LEVEL].sum() <= LEVEL


def test_a_circuit_that_keeps_80_percent_of_each_prompt_is_not_equivalent():
    """It needs 15 groups; one that loses on 4 of 5 groups needs 100 for a power of 95 %."""
    draw = np.random.default_rng(1)
    model = draw.uniform(2, 4, 15)
    assert p_equivalence(0.8 * model, model) < LEVEL
    found = [
        p_equivalence(np.where(draw.random(100) < 0.8, 0.5, 1.5), np.ones(100)) <= LEVEL
        for _ in range(N_DRAWS)
    ]
    assert np.mean(found) > 0.95


def test_a_tie_counts_half_and_rounding_is_a_tie():
    model = np.full(40, 3.0)
    found = equivalence(model + 1e-5, model, bootstrap=BOOTSTRAP, groups=None)
    assert (found.share, found.p) == (0.5, pytest.approx(1))
    one = equivalence(model + np.arange(40), model, bootstrap=BOOTSTRAP, groups=None)
    assert one.share == 39.5 / 40


@pytest.mark.parametrize("n_groups", [20, 50, 100])
def test_a_complement_whose_answers_are_shuffled_seldom_seems_to_know_them(n_groups):
    """What it says is skewed and has many outliers; right and wrong are exchanged at random."""
    draw, p = np.random.default_rng(2), np.zeros((N_DRAWS, 2))
    for row in p:
        says = draw.exponential(size=n_groups) ** 2
        known = says * draw.choice([-1, 1], n_groups)
        gap = draw.uniform(2, 4, n_groups)
        row[:] = p_independence(known, gap, margin=0.0), p_independence(known, gap)
    rates = (p <= LEVEL).mean(0)
    assert 0.01 <= rates[0] <= AT_MOST
    assert rates[1] <= rates[0]


@pytest.mark.parametrize("side", [-1, 1])
def test_the_false_positive_rate_of_independence_at_its_margin_is_half_of_the_level(side):
    """It is two-sided, and only one side can be wrong at an end of the range."""
    draw, n_groups = np.random.default_rng(3), 100
    found = []
    for _ in range(N_DRAWS):
        gap = draw.uniform(2, 4, n_groups)
        known = side * KNOWN_MARGIN * gap + draw.normal(0, 1, n_groups)
        found.append(p_independence(known, gap) <= LEVEL)
    assert np.mean(found) <= LEVEL / 2 + 2.6 * math.sqrt(0.025 * 0.975 / N_DRAWS)


def test_edges_chosen_on_one_half_leave_a_complement_that_knows_nothing_on_the_other():
    """200 edges of pure noise beside 5 of the task: on the same prompts, the rest seems to know.

    The complement of the edges with the largest |mean| has the others, whose sum is held down
    where they were chosen, and is not on other prompts.
    """
    draw, n_groups, found = np.random.default_rng(4), 50, []
    for _ in range(N_DRAWS):
        halves = draw.normal(0, 1, (2, 205, n_groups))  # worth of edges [half, edge, group]
        halves[:, :5] += 2
        known = []
        for chosen_on, tested_on in ((0, 1), (1, 0)):
            order = np.argsort(-np.abs(halves[chosen_on].mean(-1)))
            known.append(halves[tested_on][order[5:]].sum(0))
        found.append(p_independence(np.concatenate(known), np.full(100, 10.0), margin=0.0) <= LEVEL)
    assert np.mean(found) <= AT_MOST


@pytest.mark.parametrize(("f", "n_groups"), [(0.1, 100), (0.15, 50), (0.2, 30)])
def test_what_the_complement_knows_is_found(f, n_groups):
    """Power of 95 % where prompts vary by a fifth of what corruption takes away."""
    draw, found = np.random.default_rng(5), []
    for _ in range(N_DRAWS):
        gap = np.full(n_groups, 1.0)
        found.append(p_independence(f * gap + draw.normal(0, 0.15, n_groups), gap) <= LEVEL)
    assert np.mean(found) >= 0.9


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "model"
    model = load_decoder(save_planted_model(folder))
    pairs = planted_pairs()
    graph = model_graph(model)
    full, empty = Circuit.full(graph), Circuit.empty(graph)

    def run(*circuits):
        return evaluate_circuits(model, pairs, circuits, metric="logit_diff")

    return graph, run, *run(full, empty), pairs.groups


def of_edges(graph, edges):
    mask = np.zeros_like(graph.exists)
    for edge in edges:
        mask[graph.edge_index(edge)] = True
    return Circuit(graph, mask)


def test_the_six_planted_edges_pass_on_30_prompts(planted):
    graph, run, m_model, m_corrupted, groups = planted
    circuit = of_edges(graph, EDGES)
    m_circuit, rest = run(circuit, complement(circuit))
    how = {"bootstrap": BOOTSTRAP, "groups": groups}
    assert equivalence(m_circuit, m_model, **how).p > 0.5
    found = independence(rest, m_model, m_corrupted, **how)
    assert found.p > 0.5
    assert np.abs(found.interval).max() < 1e-3


def test_a_circuit_without_the_end_of_the_path_leaves_all_to_its_complement(planted):
    """A complement knows the answer only if it has a whole path: one missing edge is not enough.

    Here the circuit has the edges that say what to ask for. COPY asks for the wrong token then,
    finds it nowhere, and copies all places alike: half of what corruption takes away.
    """
    graph, run, m_model, m_corrupted, groups = planted
    asks = of_edges(graph, {"input->a0.h1<v>", "a0.h1->a1.h2<q>"})
    found = independence(
        run(complement(asks))[0], m_model, m_corrupted, bootstrap=BOOTSTRAP, groups=groups
    )
    assert found.p < 0.01
    assert 0.4 < found.interval[0] < found.interval[1] < 0.7
    broken = of_edges(graph, EDGES - {"input->a0.h1<v>"})
    m_circuit, rest = run(broken, complement(broken))
    how = {"bootstrap": BOOTSTRAP, "groups": groups}
    assert independence(rest, m_model, m_corrupted, **how).p > 0.5
    assert equivalence(m_circuit, m_model, **how).p < 0.01
