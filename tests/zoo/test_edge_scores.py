"""Known edges, and which methods find them; `make zoo` has every model and more draws."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from circuitlapse import Circuit
from circuitlapse.circuits.attribution.registry import METHODS
from circuitlapse.models.graph import Graph
from circuitlapse.types import IgRule, Method
from tests.zoo.edge_scores import Case, auroc, name_of, row_of, runs, table
from tests.zoo.still import STILL

BY_NAME = {still.name: still for still in STILL}
EAP, EAP_IG = (Method.EAP, IgRule.MIDPOINT), (Method.EAP_IG_INPUTS, IgRule.MIDPOINT)


SEEDS = (0, 1, 2)


@lru_cache
def case(name, seed=0):
    return Case(BY_NAME[name], seed)


@lru_cache
def found(name, run):
    """Return what a method finds, the mean over several draws of the distractors."""
    rows = [row_of(case(name, seed), *run) for seed in SEEDS]
    return pd.DataFrame(rows).mean(numeric_only=True)


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    graph = Graph(1, 1)
    places = np.argwhere(graph.exists)
    mask, values = np.zeros_like(graph.exists), np.full(graph.exists.shape, np.nan)
    mask[tuple(places[:2].T)] = True
    values[tuple(places.T)] = [5, 2, 1, 2, 3, 0, 0][: len(places)]
    others = values[tuple(places[2:].T)]
    in_order = [(one > others).mean() + (one == others).mean() / 2 for one in (5, 2)]
    assert auroc(values, Circuit(graph, mask)) == pytest.approx(np.mean(in_order))


def test_every_method_of_the_registry_is_scored():
    assert {method for method, _ in runs()} == set(METHODS)
    assert {rule for method, rule in runs() if method == Method.EAP_IG_INPUTS} == set(IgRule)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_planted_edges_do_most_of_the_task(name):
    """Many leaks, and LayerNorm, give other edges an effect of their own."""
    least = 0.8 if name in ("many leaks", "LayerNorm") else 0.95
    assert least < case(name).f_planted < 1.05


@pytest.mark.parametrize("run", [*runs()], ids=lambda run: name_of(*run))
def test_every_method_finds_the_edges_of_an_easy_model(run):
    row = row_of(case("copying"), *run)
    assert row["auroc"] > 0.999
    assert row["greedy"] == row["top_n"] == 6
    assert row["f_true_size"] == pytest.approx(case("copying").f_planted)


@pytest.mark.parametrize(("name", "needed"), [("attention", 12), ("MLP", 3.3), ("IOI", 500)])
def test_where_something_is_saturated_eap_misses_edges_and_eap_ig_does_not(name, needed):
    eap, eap_ig = (found(name, run) for run in (EAP, EAP_IG))
    assert eap_ig["auroc"] > 0.999
    assert eap["auroc"] < eap_ig["auroc"] - 0.001
    assert eap_ig["greedy"] < case(name).planted.n_edges + 1
    assert eap["greedy"] > needed


def test_without_the_edge_that_eap_misses_ioi_is_not_done():
    assert found("IOI", EAP)["f_true_size"] == pytest.approx(0, abs=0.05)
    assert found("IOI", EAP_IG)["f_true_size"] == pytest.approx(1, abs=0.05)


def test_the_exact_change_of_attention_finds_what_eap_misses():
    row = found("IOI", (Method.EAP_QK, IgRule.LEFT))
    assert row["greedy"] == case("IOI").planted.n_edges


def test_where_layernorm_matters_eap_ig_can_be_worse_than_eap():
    """Halfway between the prompts COPY matches less, so that its own edges score less."""
    assert found("LayerNorm", EAP_IG)["auroc"] < found("LayerNorm", EAP)["auroc"] - 0.005


def test_by_signed_scores_edges_that_lower_the_metric_come_last():
    """One name mover of the IOI model lowers it."""
    row, graph = found("IOI", EAP_IG), case("IOI").planted.graph
    assert row["greedy"] == row["top_n"] == case("IOI").planted.n_edges
    assert row["greedy, signed"] == row["top_n, signed"] == graph.n_edges


def test_the_table_has_a_row_per_model_and_method():
    frame = table([BY_NAME["MLP"]], SEEDS[:2], runs=[EAP, EAP_IG])
    assert frame["method"].tolist() == ["eap", "eap_ig_inputs, midpoint"]
    assert (frame["n_planted"] == 3).all()
