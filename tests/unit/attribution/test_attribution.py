import numpy as np
import pytest
import torch

from circuitlapse import attribute_edges, evaluate_circuits, load_model
from circuitlapse.errors import UnknownNameError
from circuitlapse.graph import Graph
from circuitlapse.selection import Circuit

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
        oracle.model, oracle.pairs, metric="logit_diff", method=method, ig_steps=steps
    )
    edges = scores.graph.exists
    gap = np.abs(scores.values - expected)[edges].max()
    assert gap / np.abs(expected[edges]).max() < 1e-5


def test_batching_and_the_order_of_prompts_change_nothing(random_model, random_pairs):
    how = {"metric": "prob_diff", "method": "eap_ig_inputs", "ig_steps": 4}
    whole = attribute_edges(random_model, random_pairs, **how)
    batched = attribute_edges(random_model, random_pairs, batch_size=4, **how)
    np.testing.assert_allclose(batched.values, whole.values, rtol=1e-4, atol=1e-7)
    turned = attribute_edges(random_model, reverse(random_pairs), **how)
    np.testing.assert_allclose(turned.values, whole.values, rtol=1e-4, atol=1e-7)


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
    model = load_model(random_folder, dtype="float64")
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


def test_scores_into_the_logits_add_up_to_the_effect_of_the_final_residual(
    random_model, random_pairs
):
    """Under EAP, the sum over sources is (residual change) . (gradient at the residual)."""
    from circuitlapse.activations import cache_activations
    from circuitlapse.metrics import per_prompt_metric

    runs = cache_activations(random_model, random_pairs)
    resid = runs.clean.resid_end.clone().requires_grad_(True)
    final = random_model.original_model.gpt_neox.final_layer_norm
    logits = random_model.original_model.get_output_embeddings()(final(resid))
    loss = -per_prompt_metric(logits, random_pairs, metric="logit_diff").sum()
    (grad,) = torch.autograd.grad(loss, resid)
    expected = ((runs.corrupted.resid_end - runs.clean.resid_end) * grad).sum() / len(random_pairs)
    scores = attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap")
    assert np.nansum(scores.values[:, -1]) == pytest.approx(expected.item(), rel=1e-4)


def test_unknown_names_are_refused_with_the_known_ones(random_model, random_pairs):
    with pytest.raises(UnknownNameError, match="did you mean 'eap_ig_inputs'"):
        attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap_ig_input")
    with pytest.raises(UnknownNameError, match="known: left, midpoint"):
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
