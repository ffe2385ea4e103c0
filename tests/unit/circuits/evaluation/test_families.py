"""Circuits in every family against an oracle that gives each head and MLP an input of its own."""

import numpy as np
import pytest

from circuitlapse import Circuit, attribute_edges, evaluate_circuits, load_decoder
from tests import families, literal

ONE_OF_EACH = [
    "gpt_neox",
    "gpt2",
    "llama-grouped",
    "olmo-clipped",
    "olmo2-grouped",
    "qwen2",
    "qwen3",
]


def random_masks(graph):
    """Circuits of all densities, with dead ends and nodes without inputs; all edges, and none."""
    draw = np.random.default_rng(0)
    shares = (0.03, 0.1, 0.3, 0.6, 0.9, 1.0, 0.0)
    return [graph.exists & (draw.random(graph.exists.shape) < share) for share in shares]


@pytest.mark.parametrize("name", families.ALGEBRAS)
@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_circuits_score_as_in_the_oracle(family_folder, random_pairs, name, ablation):
    oracle = literal.Literal(family_folder(name))
    ablated = literal.ablated_messages(oracle, random_pairs, ablation)
    masks = random_masks(oracle.graph)
    ours = evaluate_circuits(
        load_decoder(family_folder(name), dtype="float64"),
        random_pairs,
        [Circuit(oracle.graph, mask) for mask in masks],
        metric="logit_diff",
        ablation=ablation,
    )
    for row, mask in zip(ours, masks, strict=True):
        expected = literal.evaluate(
            oracle, random_pairs, mask, metric="logit_diff", ablated=ablated
        )
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_exact_scores_are_what_each_edge_alone_changes(family_folder, random_pairs, name):
    oracle, pairs = literal.Literal(family_folder(name)), random_pairs.batch(0, 3)
    ablated = literal.ablated_messages(oracle, pairs, "corrupted")

    def value(mask):
        values = literal.evaluate(oracle, pairs, mask, metric="logit_diff", ablated=ablated)
        return values.mean()

    ours = attribute_edges(
        load_decoder(family_folder(name), dtype="float64"),
        pairs,
        metric="logit_diff",
        method="exact",
    ).values
    whole, largest = value(oracle.graph.exists), np.nanmax(np.abs(ours))
    edges = np.argwhere(oracle.graph.exists)
    for edge in np.random.default_rng(0).permutation(edges)[:20]:
        mask = oracle.graph.exists.copy()
        mask[tuple(edge)] = False
        assert abs(ours[tuple(edge)] - (whole - value(mask))) < 1e-5 * max(1, largest)
