import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse import Circuit, attribute_edges, evaluate_circuits, load_model, select_circuit
from circuitlapse.graph import Graph
from circuitlapse.metrics import per_prompt_metric


def test_circuits_score_as_in_the_reference(oracle):
    graph = Graph(2, 4)
    for name in ("greedy", "topn"):
        for size in oracle.fixture["sizes"]:
            circuit = Circuit(graph, oracle.answers[f"{name}_{size}_edges"])
            ours = evaluate_circuits(oracle.model, oracle.pairs, [circuit], metric="logit_diff")[0]
            expected = oracle.answers[f"{name}_{size}_metric"]
            assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-5


@pytest.mark.parametrize("metric", ["logit_diff", "prob_diff"])
def test_all_edges_are_the_clean_model_and_none_the_corrupted_one(
    random_folder, random_model, random_pairs, metric
):
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder).eval()
    ends = [Circuit.full(Graph(3, 2)), Circuit.empty(Graph(3, 2))]
    values = evaluate_circuits(random_model, random_pairs, ends, metric=metric)
    for row, tokens in zip(values, (random_pairs.clean, random_pairs.corrupted), strict=True):
        with torch.no_grad():
            logits = plain(tokens).logits[range(9), random_pairs.end]
        expected = per_prompt_metric(logits, random_pairs, metric=metric)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_an_edge_from_the_input_alone_moves_only_what_it_feeds(random_model, random_pairs):
    """With just input->logits in, the final residual is the corrupted one but for the embedding."""
    from circuitlapse.activations import cache_activations

    graph = Graph(3, 2)
    mask = np.zeros_like(graph.exists)
    mask[graph.edge_index("input->logits")] = True
    ours = evaluate_circuits(
        random_model, random_pairs, [Circuit(graph, mask)], metric="logit_diff"
    )[0]
    runs = cache_activations(random_model, random_pairs)
    rows = torch.arange(9)
    change = (runs.clean.embed - runs.corrupted.embed)[rows, random_pairs.end]
    hf = random_model.original_model
    logits = hf.get_output_embeddings()(
        hf.gpt_neox.final_layer_norm(runs.corrupted.resid_end + change)
    )
    expected = per_prompt_metric(logits, random_pairs, metric="logit_diff")
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_batching_changes_nothing(random_model, random_pairs):
    scores = attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap")
    circuits = [select_circuit(scores, size) for size in (5, 20, 60)]
    whole = evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    parts = evaluate_circuits(
        random_model, random_pairs, circuits, metric="logit_diff", batch_size=2
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was(random_model, random_pairs):
    flags = ("use_split_qkv_input", "use_hook_mlp_in")
    before = [getattr(random_model.cfg, flag) for flag in flags]
    evaluate_circuits(random_model, random_pairs, [Circuit.full(Graph(3, 2))], metric="logit_diff")
    assert [getattr(random_model.cfg, flag) for flag in flags] == before
    assert not any(point.fwd_hooks for point in random_model.hook_dict.values())


def test_a_sequential_residual_works_too(tmp_path, random_pairs):
    from tests.conftest import save_random_model

    folder = save_random_model(tmp_path / "model", use_parallel_residual=False)
    model = load_model(folder)
    graph = Graph(3, 2, parallel=False)
    values = evaluate_circuits(
        model, random_pairs, [Circuit.full(graph), Circuit.empty(graph)], metric="logit_diff"
    )
    plain = GPTNeoXForCausalLM.from_pretrained(folder).eval()
    for row, tokens in zip(values, (random_pairs.clean, random_pairs.corrupted), strict=True):
        with torch.no_grad():
            logits = plain(tokens).logits[range(9), random_pairs.end]
        expected = per_prompt_metric(logits, random_pairs, metric="logit_diff")
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)
