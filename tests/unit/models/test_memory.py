import pytest
import torch

from circuitlapse import load_model
from circuitlapse.circuits.attribution.gradients import GradientSum, Objective, source_changes
from circuitlapse.circuits.evaluation.sparse import bytes_per_prompt, make_plan
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import bytes_kept, bytes_per_run
from circuitlapse.models.graph import Graph


def test_more_tokens_and_edges_take_more_memory(random_model):
    assert bytes_per_run(random_model, n_pos=8) > 2 * bytes_per_run(random_model, n_pos=3)
    graph = Graph(3, 2)
    small, large = (
        bytes_per_prompt(random_model, make_plan(graph, [circuit], ablated_is_a_run=True), n_pos=8)
        for circuit in (Circuit.empty(graph), Circuit.full(graph))
    )
    assert large > 3 * small


def held_by(thing):
    """Bytes of every tensor in an object, its lists and its records."""
    if isinstance(thing, torch.Tensor):
        return thing.nbytes
    if isinstance(thing, list):
        return sum(held_by(part) for part in thing)
    return sum(held_by(part) for part in vars(thing).values()) if hasattr(thing, "__dict__") else 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("n_runs", [1, 30])
def test_what_is_kept_of_a_prompt_is_what_outputs_changes_and_gradients_hold(
    random_folder, random_pairs, dtype, n_runs
):
    """Up to twice as much is estimated: one layer's gradients and copies come on top."""
    model = load_model(random_folder, dtype=dtype)
    runs = cache_activations(model, random_pairs)
    gradients = GradientSum(model, Objective(random_pairs, "logit_diff", runs.clean.logits_end))
    for _ in range(n_runs):
        gradients.add(runs.clean.embed[None])
    sums = (gradients._heads, gradients._mlps, gradients._logits)
    outputs = [run.outputs(model) for run in (runs.clean, runs.corrupted)]
    held = sum(map(held_by, (*sums, *outputs, source_changes(model, *outputs))))
    assert 1 < bytes_kept(model, n_pos=8, n_runs=n_runs) / (held / len(random_pairs)) < 2


def test_wider_numbers_take_more_memory(random_folder, random_model):
    """All of a pass doubles in float64; in bfloat16, logits are widened to float32."""
    wide, narrow = (load_model(random_folder, dtype=dtype) for dtype in ("float64", "bfloat16"))
    usual = bytes_per_run(random_model, n_pos=8)
    assert bytes_per_run(wide, n_pos=8) == 2 * usual
    logits = 6 * 50 * 4
    assert bytes_per_run(narrow, n_pos=8) == (usual - logits) / 2 + logits
    plan = make_plan(Graph(3, 2), [Circuit.full(Graph(3, 2))], ablated_is_a_run=True)
    usual = bytes_per_prompt(random_model, plan, n_pos=8)
    assert bytes_per_prompt(wide, plan, n_pos=8) == 2 * usual
    assert bytes_per_prompt(narrow, plan, n_pos=8) == (usual - logits) / 2 + logits
