"""Where heads do not depend on each other, running nodes one by one must change nothing.

Models in which they do are compared with `transformers`, see `test_families`.
"""

import numpy as np
import pytest
import torch

from circuitlapse import evaluate_circuits, load_decoder
from circuitlapse.circuits import evaluation
from circuitlapse.circuits.evaluation.joint import bytes_per_prompt_jointly, run_jointly
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import Graph
from tests import dense
from tests.conftest import save_random
from tests.unit.circuits.evaluation.test_evaluation import ablated_source_outputs, random_circuits


@pytest.fixture
def jointly(monkeypatch):
    """Let every model be one of which the heads of a layer depend on each other."""
    ran = []

    def run(model, circuits, *args, **options):
        ran.append(len(circuits))
        return run_jointly(model, circuits, *args, **options)

    monkeypatch.setattr(Decoder, "heads_are_joint", True)
    monkeypatch.setattr(evaluation, "run_jointly", run)
    return ran


@pytest.mark.parametrize("kind", ["parallel", "sequential", "gpt2"])
@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_circuits_are_those_of_hooks_and_of_sparse_evaluation(
    tmp_path, random_pairs, request, kind, ablation
):
    model = load_decoder(save_random(kind, tmp_path / "model"), dtype="float64")
    graph = Graph(3, 2, parallel=kind == "parallel")
    circuits, how = random_circuits(graph), {"metric": "logit_diff", "ablation": ablation}
    sparse = evaluate_circuits(model, random_pairs, circuits, **how)
    ran = request.getfixturevalue("jointly")
    ours = evaluate_circuits(model, random_pairs, circuits, **how)
    assert ran == [4]
    np.testing.assert_allclose(ours, sparse, rtol=1e-9, atol=1e-9)
    ablated = ablated_source_outputs(model, graph, random_pairs, ablation)
    for row, circuit in zip(ours, circuits, strict=True):
        expected = dense.evaluate(
            model, random_pairs, circuit, metric="logit_diff", ablated=ablated
        )
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_batches_and_little_memory_change_nothing(jointly, random_model, random_pairs):
    circuits, how = random_circuits(Graph(3, 2)), {"metric": "prob_diff", "ablation": "mean"}
    whole = evaluate_circuits(random_model, random_pairs, circuits, **how)
    runs = cache_activations(random_model, random_pairs)
    for extra in ({"activations": runs}, {"limits": Limits(batch_size=4)}):
        again = evaluate_circuits(random_model, random_pairs, circuits, **how, **extra)
        np.testing.assert_allclose(again, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_memory_that_is_expected_holds_the_changes_and_all_inputs_of_a_layer(
    random_folder, dtype
):
    model = load_decoder(random_folder, dtype=dtype)
    width = torch.finfo(model.cfg.dtype).bits // 8
    sources, inputs = 10, 6
    needed = bytes_per_prompt_jointly(model, n_pos=8)
    assert needed > width * 8 * 32 * (sources + inputs)
    assert needed < 4 * width * 8 * 32 * (sources + inputs)
