import numpy as np
import pytest
import torch

from circuitlapse import attribute_edges, load_decoder
from circuitlapse.circuits.attribution.edge_scores import interpolated_line
from circuitlapse.circuits.attribution.interpolation import Line, Point, input_scores
from circuitlapse.circuits.attribution.query_key import query_key_scores
from circuitlapse.models.activations import Outputs, cache_activations
from circuitlapse.models.batching import AUTOMATIC
from tests import literal, planted

AT_CLEAN = {"points": [Point(1.0)], "runs_at_once": 1}


def expected_effects(oracle, pairs):
    """Patch each edge into a query or key alone, and multiply what its head then sends.

    That the head's message changes with its attention alone makes this the same number.
    """
    graph, clean = oracle.graph, literal.messages_of_run(oracle, pairs.clean, pairs)
    change = literal.messages_of_run(oracle, pairs.corrupted, pairs) - clean
    grads = literal.gradients(oracle, pairs, metric="logit_diff", replaced={})
    values = literal.scores(change, grads, graph)
    for source, target in np.argwhere(graph.exists).tolist():
        name, layer = graph.targets[target], target // (3 * graph.n_heads + 1)
        if not name.endswith(("<q>", "<k>")):
            continue
        row = graph.head_sources(layer).start + target % (3 * graph.n_heads + 1) % graph.n_heads
        at_output = grads[torch.from_numpy(graph.exists[row])].sum(0)  # [pair, pos, d_model]
        moved = message_with(oracle, pairs, target, change[source], row) - clean[row]
        values[source, target] = (moved * at_output).sum().item() / len(pairs)
    return values


@torch.no_grad()
def message_with(oracle, pairs, target, change, row):
    """Return what the node in a row sends if one input of it is changed."""
    sent = {}

    def write(rows, messages):
        if rows.start <= row < rows.stop:
            sent[row] = messages[row - rows.start]

    def read(columns, seen, x):
        every = x[:, :, None].expand(-1, -1, columns.stop - columns.start, -1).clone()
        if columns.start <= target < columns.stop:
            every[:, :, target - columns.start] += change
        return every

    oracle.end_logits(pairs.clean, pairs, read=read, write=write)
    return sent[row]


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama-grouped", "olmo-clipped", "qwen3"])
def test_an_edge_into_a_query_or_key_counts_what_patching_it_does_to_the_head(
    family_folder, random_pairs, name
):
    expected = expected_effects(literal.Literal(family_folder(name)), random_pairs)
    model = load_decoder(family_folder(name), dtype="float64")
    how = {"metric": "logit_diff", "method": "eap_qk"}
    ours = attribute_edges(model, random_pairs, **how).values
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(expected)))


def towards_clean(line, share):
    """Return the line whose ablated end is so close to the clean one."""
    parts = vars(line.ablated).items()
    ablated = {key: torch.lerp(getattr(line.clean, key), end, share) for key, end in parts}
    return Line(line.clean, Outputs(**ablated), line.objective, line.sets)


@pytest.mark.parametrize("name", ["gpt_neox", "llama-grouped", "qwen3"])
def test_for_small_changes_scores_are_those_of_eap(family_folder, random_pairs, name):
    """The difference is of second order: a tenth of the change leaves a hundredth of it."""
    model = load_decoder(family_folder(name), dtype="float64")
    runs = cache_activations(model, random_pairs)
    how = {"metric": "logit_diff", "ablation": "corrupted", "limits": AUTOMATIC}
    line = interpolated_line(model, random_pairs, runs, **how)

    def gap(share):
        near = towards_clean(line, share)
        ours, eap = (score(model, near, **AT_CLEAN) for score in (query_key_scores, input_scores))
        return (ours - eap).abs().max().item()

    assert 60 < gap(0.1) / gap(0.01) < 160


@pytest.mark.parametrize("parallel", [True, False])
def test_edges_that_turn_saturated_attention_are_found(tmp_path, parallel):
    """`tests.planted` says what they are worth; attention is 0.9999, so its gradient vanishes."""
    folder = planted.save_planted_model(tmp_path / "model", parallel=parallel, by_token=11.0)
    model = load_decoder(folder)
    pairs = planted.planted_pairs()
    by_method = {
        method: attribute_edges(model, pairs, metric="logit_diff", method=method)
        for method in ("eap", "eap_qk", "exact")
    }
    for name in ("a0.h1->a1.h2<q>", "a0.h4->a1.h2<k>"):
        eap, ours, exact = (
            scores.values[scores.graph.edge_index(name)] for scores in by_method.values()
        )
        assert exact == pytest.approx(np.mean(5 - 5 / (pairs.end.numpy() + 1)), rel=0.02)
        assert ours == pytest.approx(exact, rel=0.02)
        assert eap < 0.02 * exact


def test_narrow_formats_do_not_lose_small_changes(random_folder, random_pairs):
    how = {"metric": "logit_diff", "method": "eap_qk"}
    wide, narrow = (
        attribute_edges(load_decoder(random_folder, dtype=dtype), random_pairs, **how).values
        for dtype in ("float32", "bfloat16")
    )
    edges = ~np.isnan(wide)
    assert np.corrcoef(wide[edges], narrow[edges])[0, 1] > 0.99
