from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from circuitlapse import PromptPairs
from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm import trace_greater_than
from circuitlapse.heads.algorithm.greater_than_checks import strict_argmax
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.forward import end_logits
from circuitlapse.models.graph import Graph
from circuitlapse.schemas import GT_ALGORITHM
from tests.conftest import bridge_of
from tests.dense import run

SUFFIXES = [40, 31, 33, 48, 37, 35, 44, 39, 46, 42]
"""Tokens of the suffixes, in rising order."""
YEARS = [3, 1, 5, 7, 2, 6, 4, 8, 5]
EDGES = ("m0->logits", "m2->logits", "a0.h1->m2", "a1.h0->m2", "a0.h0->m1", "m1->m2")
EDGES += ("a2.h1->logits", "a0.h0->a1.h0<v>")


@pytest.fixture(scope="module")
def pairs(random_pairs):
    """Prompts of 5 to 8 tokens with the start year three places before the end."""
    clean, at = random_pairs.clean.clone(), random_pairs.end - 3
    rows = torch.arange(9)
    clean[rows, at] = torch.tensor([SUFFIXES[year] for year in YEARS])
    return PromptPairs(
        clean,
        random_pairs.corrupted,
        random_pairs.end,
        correct=[SUFFIXES[year + 1 :] for year in YEARS],
        wrong=[SUFFIXES[: year + 1] for year in YEARS],
        roles={"yy": at},
    )


def circuit_of_edges(*edges):
    graph = Graph(3, 2)
    mask = np.zeros_like(graph.exists)
    for edge in edges:
        mask[graph.edge_index(edge)] = True
    return Circuit(graph, mask)


@pytest.fixture
def trace(random_model, pairs):
    def check(pairs=pairs, edges=EDGES, **changes):
        given = {"circuit": circuit_of_edges(*edges)} | changes
        runs = cache_activations(random_model, pairs)
        return trace_greater_than(random_model, pairs, activations=runs, **given)

    return check


def literal(model, pairs):
    """Return every check of every node, prompt by prompt and with hooks; slow."""
    seen = {}

    def keep(name):
        return lambda x, hook: seen.update({name: x.clone()})

    names = [f"blocks.{at}.{n}" for at in range(3) for n in ("attn.hook_pattern", "attn.hook_z")]
    names += [f"blocks.{at}.mlp.hook_out" for at in range(3)] + ["ln_final.hook_in"]
    run(model, pairs.clean, pairs, [(name, keep(name)) for name in names])
    bridge = bridge_of(model)
    norm, unembed = bridge.ln_final.original_component, bridge.unembed.original_component

    def lens(written, resid):
        """Add the output to nothing, and then through the LayerNorm held as it was."""
        x = resid - resid.mean()
        scale = (x.pow(2).mean() + norm.eps).sqrt()
        bare = torch.nn.functional.linear(
            ((written - written.mean()) / scale) * norm.weight, unembed.weight
        )
        return [bare[token].item() for token in SUFFIXES]

    checks = {}
    for prompt, year in enumerate(YEARS):
        end, at = int(pairs.end[prompt]), int(pairs.roles["yy"][prompt])
        resid = seen["ln_final.hook_in"][prompt, end]
        for layer in range(3):
            for head in range(2):
                pattern = seen[f"blocks.{layer}.attn.hook_pattern"][prompt, head, end, : end + 1]
                others = [p for key, p in enumerate(pattern.tolist()) if key != at]
                looks = pattern[at].item() > max(others)
                z = seen[f"blocks.{layer}.attn.hook_z"][prompt, end, head]
                values = lens(z @ bridge.blocks[layer].attn.W_O[head], resid)
                says = values.index(max(values)) in (year, year + 1)
                checks.setdefault((f"a{layer}.h{head}", "attn_yy"), []).append(looks)
                checks.setdefault((f"a{layer}.h{head}", "lens_yy"), []).append(says)
            values = lens(seen[f"blocks.{layer}.mlp.hook_out"][prompt, end], resid)
            gap = np.mean(values[year + 1 :]) - np.mean(values[: year + 1])
            checks.setdefault((f"m{layer}", "mlp_gap"), []).append(gap)
    return {key: np.mean(values) for key, values in checks.items()}


def test_checks_are_those_of_a_literal_implementation_with_hooks(trace, random_model, pairs):
    """Every head and MLP, by a circuit of all edges."""
    expected = literal(random_model, pairs)
    frame = trace(circuit=Circuit.full(Graph(3, 2)))
    found = {(row.node, row.check): row.value for row in frame.itertuples()}
    assert found.keys() == {key for key in expected if not key[0].startswith("a2")}
    assert found == pytest.approx({key: expected[key] for key in found}, rel=1e-4, abs=1e-6)
    assert len({value for (_, check), value in found.items() if check == "attn_yy"}) > 1
    assert len({value for (_, check), value in found.items() if check == "lens_yy"}) > 1


def test_a_bridge_is_checked_as_its_decoder(trace, random_model, pairs):
    runs, circuit = cache_activations(random_model, pairs), circuit_of_edges(*EDGES)
    found = trace_greater_than(bridge_of(random_model), pairs, circuit=circuit, activations=runs)
    pd.testing.assert_frame_equal(found, trace())


def test_a_lens_is_the_change_of_the_logits_with_the_layer_norm_held(trace, random_model, pairs):
    """Taking an output out of a stream of the same scale changes the logits by its lens."""
    runs = cache_activations(random_model, pairs).clean
    rows = torch.arange(9)
    out = runs.mlp_out[rows, pairs.end, 2]
    scale = runs.final_scale[rows, pairs.end, None]
    bridge = bridge_of(random_model)
    norm, unembed = bridge.ln_final.original_component, bridge.unembed.original_component
    bare = torch.nn.functional.linear(
        (out - out.mean(1, keepdim=True)) / scale * norm.weight, unembed.weight
    )
    without = runs.resid_end - out
    own_scale = (without.var(1, correction=0, keepdim=True) + norm.eps).sqrt()
    bias = end_logits(random_model, torch.zeros_like(out))
    rest = (end_logits(random_model, without) - bias) * own_scale / scale
    torch.testing.assert_close(rest + bare + bias, runs.logits_end, rtol=1e-4, atol=1e-4)


def test_only_nodes_on_the_way_to_the_logits_are_checked(trace):
    """m0 and m2 write to the logits; a0.h1 and a1.h0 to m2. a0.h0 writes to m1, which does not."""
    frame = trace()
    assert set(frame["node"]) == {"a0.h1", "a1.h0", "m0", "m2"}
    assert frame.groupby("check")["node"].agg(list).to_dict() == {
        "attn_yy": ["a0.h1", "a1.h0"], "lens_yy": ["a0.h1", "a1.h0"], "mlp_gap": ["m0", "m2"],
    }  # fmt: skip
    assert set(frame["n"]) == {9}
    assert frame.groupby("check")["unit"].agg("first")["mlp_gap"] == "logits"


def test_without_a_circuit_or_an_mlp_at_its_end_there_are_no_rows(trace):
    shared = {"model", "variant", "step", "tokens", "task"}
    own = {name: kind for name, kind in GT_ALGORITHM.columns.items() if name not in shared}
    for frame in (trace(circuit=None), trace(edges=("a2.h1->logits", "a0.h0->m1"))):
        assert frame.empty
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == own


def test_a_largest_value_that_comes_twice_is_none():
    x = torch.tensor([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]])
    assert strict_argmax(x).tolist() == [1, -1]


def test_prompts_that_are_not_of_greater_than_are_refused(trace, pairs):
    with pytest.raises(ValueError, match="lack the role yy"):
        trace(replace(pairs, roles={}))
    with pytest.raises(ValueError, match="suffixes in rising order"):
        trace(replace(pairs, wrong=[[*row[::-1]] for row in pairs.wrong]))


def test_activations_of_other_prompts_are_refused(random_model, pairs):
    runs = cache_activations(random_model, pairs.batch(0, 5))
    with pytest.raises(ValueError, match="5 prompts"):
        trace_greater_than(random_model, pairs, circuit=None, activations=runs)
