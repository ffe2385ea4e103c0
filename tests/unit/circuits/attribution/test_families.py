"""Scores by gradients in every family against autograd on an oracle with separate inputs."""

import numpy as np
import pytest
import torch

from circuitlapse import attribute_edges, evaluate_circuits, load_decoder
from circuitlapse.circuits.selection import Circuit
from tests import families, literal

STEPS = 3


def lines(oracle, clean, ablated, method):
    """Return groups of rows, and the runs over which the gradients of each are averaged.

    A run replaces what the first rows of some groups send.
    """
    graph, everything = oracle.graph, slice(0, len(oracle.graph.sources))

    def between(rows, fraction):
        return {rows.start: torch.lerp(ablated[rows], clean[rows], fraction)}

    if not method.startswith("eap_ig_activations"):
        left = [step / STEPS for step in range(STEPS)]
        points = {"eap": [1.0], "clean_corrupted": [0.0, 1.0], "eap_ig_inputs": left}[method]
        return [(everything, [between(slice(0, 1), point) for point in points])]
    mlps = [graph.mlp_source(layer) for layer in range(graph.n_layers)]
    groups = [slice(0, 1), *(slice(row, row + 1) for row in mlps)]
    groups += [graph.head_sources(layer) for layer in range(graph.n_layers)]
    points = [(step + 1) / STEPS for step in range(STEPS)]
    runs = [[between(rows, point) for point in points] for rows in groups]
    if method.endswith("pooled"):
        return [(everything, [run for part in runs for run in part])]
    return list(zip(groups, runs, strict=True))


def expected_scores(oracle, pairs, method, ablation):
    clean = literal.messages_of_run(oracle, pairs.clean, pairs)
    ablated = literal.ablated_messages(oracle, pairs, ablation)
    values = np.full(oracle.graph.exists.shape, np.nan)
    for rows, runs in lines(oracle, clean, ablated, method):
        grads = [
            literal.gradients(oracle, pairs, metric="logit_diff", replaced=replaced)
            for replaced in runs
        ]
        mean = torch.stack(grads).mean(0)
        values[rows] = literal.scores(ablated - clean, mean, oracle.graph)[rows]
    return values


METHODS = {"eap": "mean", "clean_corrupted": "zero", "eap_ig_inputs": "corrupted"}
"""Method -> an ablation to try it with."""
BY_GROUPS = [
    ("gpt_neox", "eap_ig_activations"),
    ("llama-grouped", "eap_ig_activations_pooled"),
    ("olmo2-grouped", "eap_ig_activations"),
    ("qwen3", "eap_ig_activations"),
]
"""A few models for the methods that run every group of sources."""


@pytest.mark.parametrize(
    ("name", "method"),
    [*((name, method) for name in families.ALGEBRAS for method in METHODS), *BY_GROUPS],
)
def test_scores_are_those_of_autograd(family_folder, random_pairs, name, method):
    oracle = literal.Literal(family_folder(name))
    ablation = METHODS.get(method, "corrupted")
    expected = expected_scores(oracle, random_pairs, method, ablation)
    ours = attribute_edges(
        load_decoder(family_folder(name), dtype="float64"),
        random_pairs,
        metric="logit_diff",
        method=method,
        ablation=ablation,
        ig_steps=STEPS,
        ig_rule="left",
    ).values
    gap = np.nanmax(np.abs(ours - expected)) / np.nanmax(np.abs(expected))
    assert gap < 1e-5
    assert np.array_equal(np.isnan(ours), np.isnan(expected))


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid"])
@pytest.mark.parametrize("name", ["llama-wide-heads", "olmo2", "olmo2-grouped", "qwen3"])
def test_scores_leaving_the_input_add_up_to_what_corruption_costs(
    family_folder, random_pairs, name, rule
):
    model = load_decoder(family_folder(name), dtype="float64")
    how = {"metric": "logit_diff", "method": "eap_ig_inputs"}
    scores = attribute_edges(model, random_pairs, **how, ig_steps=32, ig_rule=rule)
    ends = [Circuit.full(scores.graph), Circuit.empty(scores.graph)]
    full, empty = evaluate_circuits(model, random_pairs, ends, metric="logit_diff").mean(axis=1)
    assert np.nansum(scores.values[0]) == pytest.approx(full - empty, rel=0.02)
