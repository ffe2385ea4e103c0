import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse import Circuit, attribute_edges, evaluate_circuits, load_decoder, select_circuit
from circuitlapse.circuits import evaluation
from circuitlapse.circuits.evaluation import sparse
from circuitlapse.errors import DeviceMemoryError, UnknownNameError
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.graph import Graph
from circuitlapse.models.metrics import per_prompt_metric
from tests import dense, literal
from tests.conftest import save_random, save_random_model


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
    alone = evaluate_circuits(random_model, random_pairs, ends[1], metric=metric)
    np.testing.assert_allclose(alone, values[1:], rtol=1e-6)
    for row, tokens in zip(values, (random_pairs.clean, random_pairs.corrupted), strict=True):
        with torch.no_grad():
            logits = plain(tokens).logits[range(9), random_pairs.end]
        expected = per_prompt_metric(logits, random_pairs, metric=metric)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_an_edge_from_the_input_alone_moves_only_what_it_feeds(
    random_folder, random_model, random_pairs
):
    """With just input->logits in, the final residual is the corrupted one but for the embedding."""
    graph = Graph(3, 2)
    mask = np.zeros_like(graph.exists)
    mask[graph.edge_index("input->logits")] = True
    ours = evaluate_circuits(
        random_model, random_pairs, [Circuit(graph, mask)], metric="logit_diff"
    )[0]
    runs = cache_activations(random_model, random_pairs)
    rows = torch.arange(9)
    change = (runs.clean.embed - runs.corrupted.embed)[rows, random_pairs.end]
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder).requires_grad_(False)
    logits = plain.get_output_embeddings()(
        plain.gpt_neox.final_layer_norm(runs.corrupted.resid_end + change)
    )
    expected = per_prompt_metric(logits, random_pairs, metric="logit_diff")
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_batching_changes_nothing(random_model, random_pairs):
    scores = attribute_edges(random_model, random_pairs, metric="logit_diff", method="eap")
    circuits = [select_circuit(scores, size) for size in (5, 20, 60)]
    whole = evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    parts = evaluate_circuits(
        random_model, random_pairs, circuits, metric="logit_diff", limits=Limits(batch_size=2)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


def test_a_sequential_residual_works_too(tmp_path, random_pairs):
    folder = save_random_model(tmp_path / "model", use_parallel_residual=False)
    model = load_decoder(folder)
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


def random_circuits(graph, *, seed=0):
    """Circuits of all densities, not pruned, so with dead ends and nodes without inputs."""
    draw = np.random.default_rng(seed)
    masks = [graph.exists & (draw.random(graph.exists.shape) < p) for p in (0.05, 0.2, 0.5, 0.9)]
    return [Circuit(graph, mask) for mask in masks]


def ablated_source_outputs(model, graph, pairs, ablation):
    side = pairs.corrupted if ablation == "corrupted" else pairs.clean
    outputs = dense.outputs_of_run(model, graph, side, pairs)
    if ablation == "corrupted":
        return outputs
    if ablation == "zero":
        return torch.zeros_like(outputs)
    return literal.mean_by_position(outputs, pairs)


@pytest.mark.parametrize("kind", ["parallel", "sequential", "gpt2"])
@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_sparse_evaluation_of_many_circuits_is_dense_evaluation_of_each(
    tmp_path, random_pairs, kind, ablation
):
    model = load_decoder(save_random(kind, tmp_path / "model"), dtype="float64")
    graph = Graph(3, 2, parallel=kind == "parallel")
    circuits = random_circuits(graph)
    ours = evaluate_circuits(model, random_pairs, circuits, metric="logit_diff", ablation=ablation)
    ablated = ablated_source_outputs(model, graph, random_pairs, ablation)
    for row, circuit in zip(ours, circuits, strict=True):
        expected = dense.evaluate(
            model, random_pairs, circuit, metric="logit_diff", ablated=ablated
        )
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_activations_at_hand_and_little_memory_change_nothing(random_model, random_pairs):
    circuits = random_circuits(Graph(3, 2))
    how = {"metric": "prob_diff", "ablation": "mean"}
    whole = evaluate_circuits(random_model, random_pairs, circuits, **how)
    runs = cache_activations(random_model, random_pairs)
    for extra in (
        {"activations": runs},
        {"limits": Limits(memory_mb=1)},
        {"activations": runs, "limits": Limits(batch_size=2)},
    ):
        again = evaluate_circuits(random_model, random_pairs, circuits, **how, **extra)
        np.testing.assert_allclose(again, whole, rtol=1e-4, atol=1e-6)


@pytest.fixture
def planned(monkeypatch):
    """How many circuits each plan made from here on is of."""
    sizes = []

    def make_plan(graph, circuits, **how):
        sizes.append(len(circuits))
        return sparse.make_plan(graph, circuits, **how)

    monkeypatch.setattr(evaluation, "make_plan", make_plan)
    return sizes


def test_circuits_that_leave_no_room_for_prompts_are_evaluated_in_parts(
    random_model, random_pairs, planned
):
    circuits = [circuit for seed in range(8) for circuit in random_circuits(Graph(3, 2), seed=seed)]
    whole = evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    assert planned == [32]
    parts = evaluate_circuits(
        random_model, random_pairs, circuits, metric="logit_diff", limits=Limits(memory_mb=1)
    )
    assert planned[1:4] == [32, 16, 8]
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limits", [{}, {"limits": Limits(batch_size=4)}])
def test_circuits_of_which_one_prompt_does_not_fit_are_evaluated_in_parts(
    monkeypatch, random_model, random_pairs, planned, limits
):
    def run_plan(model, plan, pairs, **how):
        if len(plan.logits) > 1:
            torch.empty(2**52, dtype=torch.uint8)
        return sparse.run_plan(model, plan, pairs, **how)

    circuits = random_circuits(Graph(3, 2))
    whole = evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    monkeypatch.setattr(evaluation, "run_plan", run_plan)
    planned.clear()
    parts = evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff", **limits)
    assert planned == [4, 2, 1, 1, 2, 1, 1]
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


def test_one_circuit_that_does_not_fit_and_any_other_error_are_raised(
    monkeypatch, random_model, random_pairs, planned
):
    def run_plan(model, plan, pairs, **how):
        raise error

    monkeypatch.setattr(evaluation, "run_plan", run_plan)
    circuits = random_circuits(Graph(3, 2))
    error = torch.OutOfMemoryError()
    with pytest.raises(DeviceMemoryError, match=r"^evaluating circuits: no memory for one prompt"):
        evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    assert planned == [4, 2, 1]
    error = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        evaluate_circuits(random_model, random_pairs, circuits, metric="logit_diff")
    assert planned[3:] == [4]


def test_the_divergence_from_the_clean_model_is_that_of_torch(random_model, random_pairs):
    graph = Graph(3, 2)
    ends = [Circuit.full(graph), Circuit.empty(graph)]
    ours = evaluate_circuits(random_model, random_pairs, ends, metric="kl_divergence")
    runs = cache_activations(random_model, random_pairs)
    clean, corrupted = (run.logits_end.log_softmax(1) for run in (runs.clean, runs.corrupted))
    expected = torch.nn.functional.kl_div(corrupted, clean, log_target=True, reduction="none")
    np.testing.assert_allclose(ours[0], 0, atol=1e-5)
    np.testing.assert_allclose(ours[1], expected.sum(1), rtol=1e-3, atol=1e-5)


def test_a_circuit_of_another_graph_and_unknown_names_are_refused(random_model, random_pairs):
    other = [Circuit.empty(Graph(3, 2, parallel=False))]
    with pytest.raises(ValueError, match="cannot run in a model with"):
        evaluate_circuits(random_model, random_pairs, other, metric="logit_diff")
    full = [Circuit.full(Graph(3, 2))]
    few = cache_activations(random_model, random_pairs.batch(0, 4))
    with pytest.raises(ValueError, match="activations are of 4 prompts of 8 positions"):
        evaluate_circuits(random_model, random_pairs, full, metric="logit_diff", activations=few)
    with pytest.raises(UnknownNameError, match="unknown ablation 'means'; did you mean 'mean'"):
        evaluate_circuits(random_model, random_pairs, full, metric="logit_diff", ablation="means")
    assert evaluate_circuits(random_model, random_pairs, [], metric="logit_diff").shape == (0, 9)
