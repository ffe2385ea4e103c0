import pytest
import torch

from circuitlapse import load_decoder
from circuitlapse.circuits.attribution.gradients import GradientSum, Objective
from circuitlapse.models.forward import at_end, embed_tokens
from circuitlapse.models.graph import Graph
from circuitlapse.models.metrics import per_prompt_metric
from tests import dense
from tests.conftest import save_random


@pytest.mark.parametrize("kind", ["parallel", "sequential", "gpt2"])
def test_gradients_are_those_of_inputs_that_were_really_separated(tmp_path, random_pairs, kind):
    """Copy the residual stream once per receiver, as the definition does, and ask autograd."""
    model = load_decoder(save_random(kind, tmp_path / "model"), dtype="float64")
    sides = (random_pairs.corrupted, random_pairs.clean)
    embeds = torch.stack([embed_tokens(model, side) for side in sides])
    objective = Objective(random_pairs, "prob_diff", clean_logits=torch.zeros(9, 50))
    ours = GradientSum(model, objective)
    weights = [1.0, 0.5]
    for embed, weight in zip(embeds, weights, strict=True):
        ours.add(embed[None], weights=[weight])

    def loss(logits):
        return -per_prompt_metric(logits, random_pairs, metric="prob_diff").sum()

    graph = Graph(3, 2, parallel=kind == "parallel")
    expected = sum(
        weight * dense.gradients(model, random_pairs, graph, embed=embed, loss=loss)
        for embed, weight in zip(embeds, weights, strict=True)
    ).float()
    for layer in range(3):
        columns = slice(graph.port_targets(layer, "q").start, graph.mlp_target(layer))
        at_heads = ours.at_heads(layer).movedim(1, 0)
        torch.testing.assert_close(at_heads, expected[columns], rtol=1e-4, atol=1e-7)
        at_mlp = expected[graph.mlp_target(layer)]
        torch.testing.assert_close(ours.at_mlp(layer), at_mlp, rtol=1e-4, atol=1e-7)
    at_logits = at_end(expected[-1], random_pairs.end)
    torch.testing.assert_close(ours.at_logits(), at_logits, rtol=1e-4, atol=1e-7)


def test_runs_side_by_side_are_runs_one_after_the_other(random_model, random_pairs):
    sides = (random_pairs.corrupted, random_pairs.clean)
    embeds = torch.stack([embed_tokens(random_model, side) for side in sides])
    objective = Objective(random_pairs, "logit_diff", clean_logits=torch.zeros(9, 50))
    together, apart = (GradientSum(random_model, objective) for _ in range(2))
    weights = [1.0, 0.5]
    together.add(embeds, weights=weights)
    for embed, weight in zip(embeds, weights, strict=True):
        apart.add(embed[None], weights=[weight])
    torch.testing.assert_close(together.at_heads(1), apart.at_heads(1), rtol=1e-4, atol=1e-6)
