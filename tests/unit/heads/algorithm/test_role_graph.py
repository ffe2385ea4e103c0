"""The graph of roles in the planted IOI model, whose effects are known."""

import math

import numpy as np
import pytest

from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm import trace_ioi
from circuitlapse.heads.algorithm.role_graph import ENDS, N_DRAWS, SOURCES
from circuitlapse.heads.matched_heads import draws_of_same_layers
from circuitlapse.models.graph import Graph
from circuitlapse.schemas import ROLE_GRAPH_NUMBERS
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import PREVIOUS_TOKEN
from tests.planted_ioi import DUPLICATE, INHIBIT, MOVERS, planted_ioi_pairs

SHAPE = (3, 8)
EVERY = list(np.ndindex(SHAPE))
CLEAN = math.tanh(1.5)
TURNED = {at: (math.tanh(1.5 - gain) - CLEAN) / (2 * CLEAN) for at, gain in INHIBIT.items()}
"""INHIBIT head -> effect on the movers: with a gain g corrupted, AVOID differs by 3 - 2 g."""
SEED = 3


@pytest.fixture(scope="module")
def known(score_frame):
    """The movers of the gains 4 and 2 are NM, that of -1 is NegNM."""
    return {
        "copy": {(2, 0): 100, (2, 3): 100},
        "copy_neg": {(2, 4): 100},
        "duplicate": {DUPLICATE: 1},
        "prev_token": {DUPLICATE: 1},
    }


@pytest.fixture(scope="module")
def graph_of(planted, score_frame, known):
    def run(pairs=None, settings=None, **changes):
        found = trace_ioi(
            planted,
            pairs or planted_ioi_pairs(),
            scores=score_frame(SHAPE, **known | changes),
            circuit=Circuit.full(Graph(*SHAPE, parallel=False)),
            bootstrap=Bootstrap(samples=100, level=0.95, seed=0),
            seed=SEED,
            settings=settings,
        )
        return found.role_graph.set_index(["source", "target", "port"])

    return run


@pytest.fixture(scope="module")
def graph(graph_of):
    return graph_of()


def test_edges_between_planted_roles_are_those_worked_out_by_hand(graph):
    """Both INHIBIT heads are S2I, and without them AVOID turns: the movers give -tanh(3/2)."""
    measured = graph[graph["status"] == "ok"]
    expected = dict.fromkeys(measured.index, 0.0)
    expected |= {
        ("NM", "logits", ""): -6 / 6,
        ("NegNM", "logits", ""): 1 / 6,
        ("S2I", "NM", "q"): -6 / 6,
        ("Dup", "S2I", "v"): -6 / 6,
        (PREVIOUS_TOKEN, "S2I", "v"): -6 / 6,
    }
    assert measured["effect"].to_dict() == pytest.approx(expected, abs=1e-4)
    assert measured["effect_low"].to_dict() == pytest.approx(expected, abs=1e-3)
    assert measured["effect_high"].to_dict() == pytest.approx(expected, abs=1e-3)
    assert set(graph["n"]) == {60}


def test_the_heads_of_a_role_count_together(graph, graph_of):
    assert graph.loc[("S2I", "NM", "q"), ["n_source", "n_target"]].tolist() == [2, 2]
    assert graph.loc[("NM", "logits", ""), ["n_source", "n_target"]].tolist() == [2, 1]
    one = graph_of(settings=Algorithm(max_effect=-0.5))  # only a1.h2 does as much
    assert one.loc[("S2I", "NM", "q"), "n_source"] == 1
    assert one.loc[("S2I", "NM", "q"), "effect"] == pytest.approx(TURNED[1, 2], abs=1e-4)


@pytest.mark.parametrize(
    ("edge", "heads", "effects"),
    [
        (("NM", "logits", ""), {(2, 0), (2, 3)}, {at: -gain / 6 for at, gain in MOVERS.items()}),
        (("S2I", "logits", ""), set(INHIBIT), {}),
        (("Dup", "S2I", "v"), {DUPLICATE}, {}),
    ],
)
def test_the_null_is_the_effect_of_random_heads_of_the_same_layers(graph, edge, heads, effects):
    draws = draws_of_same_layers(heads, EVERY, n_draws=N_DRAWS, seed=SEED)
    null = [sum(effects.get(at, 0) for at in draw) for draw in draws]
    expected = [np.mean(null), min(null), max(null)]
    found = graph.loc[edge, ["null_mean", "null_low", "null_high"]].tolist()
    assert len(draws) > 1
    assert found == pytest.approx(expected, abs=1e-4)


def test_an_edge_that_is_not_measured_says_why(graph, graph_of):
    status = graph["status"]
    assert status["Ind", "NM", "q"] == status["CS", "logits", ""] == "no_source"
    assert status["Dup", "Ind", "k"] == "no_target"
    assert status["NM", "S2I", "q"] == status["NegNM", "NM", "v"] == "no_path"
    none = graph_of(prev_token={})
    assert set(none.loc[PREVIOUS_TOKEN, "status"]) == {"no_source"}
    for table in (graph, none):
        assert len(table) == len(SOURCES) * len(ENDS) - 9
        undefined = table.loc[table["status"] != "ok", list(ROLE_GRAPH_NUMBERS)]
        assert undefined.isna().all(axis=None)


def test_a_layer_without_enough_other_heads_has_no_null(graph_of):
    five = dict.fromkeys(((0, head) for head in (1, 2, 3, 4, 5)), 1)
    row = graph_of(prev_token=five).loc[PREVIOUS_TOKEN, "S2I", "v"]
    assert row["effect"] == pytest.approx(-1, abs=1e-4)
    assert np.isnan(row["null_mean"])


def test_without_the_behaviour_no_edge_is_measured(graph_of):
    pairs = planted_ioi_pairs()
    turned = pairs.__class__.from_lists(
        pairs.clean.tolist(), pairs.corrupted.tolist(), correct=pairs.wrong, wrong=pairs.correct
    )
    found = graph_of(pairs=turned)
    assert set(found["status"]) == {"no_behaviour"}
    assert found[list(ROLE_GRAPH_NUMBERS)].isna().all(axis=None)
