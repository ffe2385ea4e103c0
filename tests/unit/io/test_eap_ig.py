import doctest
import json
import re

import numpy as np
import pytest

from circuitlapse.circuits.selection import Circuit, select_circuit
from circuitlapse.errors import ArtifactError
from circuitlapse.io import eap_ig
from circuitlapse.io.eap_ig import read_eap_ig, write_eap_ig
from circuitlapse.models.graph import EdgeScores, Graph

# One layer, one head, sequential; the circuit is input -> a0.h0<v> -> m0 -> logits.
OLD = """{"cfg": {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": false},
"nodes": {"input": true, "a0.h0": true, "m0": true, "logits": true},
"edges": {"input->a0.h0<q>": {"score": 0.125, "in_graph": false},
"input->a0.h0<k>": {"score": -0.25, "in_graph": false},
"input->a0.h0<v>": {"score": 2.0, "in_graph": true},
"input->m0": {"score": 0.0, "in_graph": false},
"a0.h0->m0": {"score": -1.5, "in_graph": true},
"input->logits": {"score": 1e-07, "in_graph": false},
"a0.h0->logits": {"score": 0.5, "in_graph": false},
"m0->logits": {"score": 3.0, "in_graph": true}}}"""
CURRENT = re.sub(r'"(input|a0\.h0|m0|logits)": true', r'"\1": {"in_graph": true}', OLD).replace(
    "false},\n", 'false, "d_model": 8},\n', 1
)
OLDEST = OLD[:-1] + ', "n_pos": null}'
WITH_NODE_SCORES = CURRENT.replace(
    '"a0.h0": {"in_graph": true}',
    '"a0.h0": {"in_graph": true, "score": NaN, "neurons": [true, true], "neurons_scores": [1, 2]}',
)


def random_scores(graph, seed=0):
    draw = np.random.default_rng(seed).normal(size=graph.exists.shape)
    return EdgeScores(graph, np.where(graph.exists, draw, np.nan))


def as_the_library_writes(graph, score, in_graph):
    """Build the current version's file from its own loops, without our order or naming."""
    nodes, edges, stream = ["input"], [], ["input"]
    for layer in range(graph.n_layers):
        heads, mlp = [f"a{layer}.h{head}" for head in range(graph.n_heads)], f"m{layer}"
        for sender in stream:
            edges += [f"{sender}->{head}<{letter}>" for head in heads for letter in "qkv"]
        edges += [f"{sender}->{mlp}" for sender in stream]
        if not graph.parallel:
            edges += [f"{head}->{mlp}" for head in heads]
        nodes += [*heads, mlp]
        stream += [*heads, mlp]
    edges += [f"{sender}->logits" for sender in stream]
    return {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": 8,
        },
        "nodes": {name: {"in_graph": True} for name in [*nodes, "logits"]},
        "edges": {name: {"score": score(name), "in_graph": in_graph(name)} for name in edges},
    }


def put(folder, document):
    path = folder / "graph.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_the_example_of_the_module_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(eap_ig)
    assert result.attempted > 5
    assert result.failed == 0


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "sequential"])
def test_a_circuit_and_its_scores_come_back_as_they_were(tmp_path, parallel):
    graph = Graph(3, 2, parallel=parallel)
    scores = random_scores(graph)
    circuit = select_circuit(scores, 25)
    write_eap_ig(tmp_path / "c.json", circuit, scores, d_model=16)
    back, scores_back = read_eap_ig(tmp_path / "c.json")
    assert back.graph == graph
    np.testing.assert_array_equal(back.mask, circuit.mask)
    np.testing.assert_array_equal(scores_back.values, scores.values)


def test_a_circuit_without_scores_comes_back_without_scores(tmp_path):
    circuit = Circuit.full(Graph(1, 2))
    write_eap_ig(tmp_path / "c.json", circuit, None, d_model=16)
    written = json.loads((tmp_path / "c.json").read_text())
    assert all(np.isnan(edge["score"]) for edge in written["edges"].values())
    back, scores = read_eap_ig(tmp_path / "c.json")
    assert back.edges == circuit.edges
    assert scores is None


@pytest.mark.parametrize(
    "text",
    [OLD, CURRENT, OLDEST, WITH_NODE_SCORES],
    ids=["old", "current", "oldest", "node_scores"],
)
def test_files_of_every_version_are_read(tmp_path, text):
    circuit, scores = read_eap_ig(put(tmp_path, text))
    assert circuit.graph == Graph(1, 1, parallel=False)
    assert circuit.edges == ("input->a0.h0<v>", "a0.h0->m0", "m0->logits")
    q, k, v, mlp, logits = range(5)
    assert scores.values[0].tolist() == [0.125, -0.25, 2.0, 0.0, 1e-07]
    assert (scores.values[1, mlp], scores.values[1, logits]) == (-1.5, 0.5)
    assert scores.values[2, logits] == 3.0
    assert np.isnan(scores.values[1:, [q, k, v]]).all()


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "sequential"])
def test_names_and_structure_are_the_library_s(tmp_path, parallel):
    graph = Graph(2, 2, parallel=parallel)
    in_circuit = {"input->a0.h0<k>", "a0.h0->a1.h1<q>", "a1.h1->logits", "m0->logits"}
    numbers = iter(range(1, 1000))
    theirs = as_the_library_writes(
        graph, lambda name: next(numbers) / 8, lambda name: name in in_circuit
    )
    circuit, scores = read_eap_ig(put(tmp_path, theirs))
    assert set(circuit.edges) == in_circuit
    assert (
        scores.values[graph.edge_index("a0.h0->a1.h1<q>")]
        == (theirs["edges"]["a0.h0->a1.h1<q>"]["score"])
    )
    write_eap_ig(tmp_path / "ours.json", circuit, scores, d_model=8)
    ours = json.loads((tmp_path / "ours.json").read_text())
    assert ours["edges"] == theirs["edges"]
    assert ours["cfg"] == theirs["cfg"]
    assert list(ours["nodes"]) == list(theirs["nodes"])


def test_a_node_is_in_the_circuit_when_it_receives_and_sends(tmp_path):
    graph = Graph(2, 1)
    mask = np.zeros_like(graph.exists)
    for edge in ("input->m0", "m0->logits", "a0.h0->logits", "input->a1.h0<q>"):
        mask[graph.edge_index(edge)] = True
    write_eap_ig(tmp_path / "c.json", Circuit(graph, mask), None, d_model=8)
    nodes = json.loads((tmp_path / "c.json").read_text())["nodes"]
    assert {name for name, node in nodes.items() if node["in_graph"]} == {"input", "m0", "logits"}


def test_the_sign_is_the_library_s(tmp_path, oracle):
    from circuitlapse import attribute_edges

    ours = attribute_edges(
        oracle.model,
        oracle.pairs,
        metric="logit_diff",
        method="eap_ig_inputs",
        ig_steps=oracle.fixture["ig_steps"],
        ig_rule="left",
    )
    answer = oracle.answers["eap_ig_inputs"].astype(float)
    theirs = as_the_library_writes(
        ours.graph, lambda name: answer[ours.graph.edge_index(name)], lambda name: False
    )
    _, scores = read_eap_ig(put(tmp_path, theirs))
    np.testing.assert_allclose(scores.values, ours.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("score", ["null", "NaN", "0.0", None])
def test_a_graph_that_nobody_scored_has_no_scores(tmp_path, score):
    scored = r'"score": [^,]+, '
    text = re.sub(scored, "" if score is None else f'"score": {score}, ', CURRENT)
    circuit, scores = read_eap_ig(put(tmp_path, text))
    assert circuit.n_edges == 3
    assert scores is None


@pytest.mark.parametrize("score", ["null", "NaN"])
def test_a_graph_scored_in_part_is_refused(tmp_path, score):
    path = put(tmp_path, OLD.replace("-1.5", score).replace("0.125", score))
    with pytest.raises(ArtifactError) as error:
        read_eap_ig(path)
    assert str(error.value) == (
        f"{path}: edges['input->a0.h0<q>']['score']: found none, expected a number, because only "
        "2 of 8 edges have none; score every edge, or set every score to null to read only the "
        "circuit"
    )


GRAPH = "of the Graph(n_layers=1, n_heads=1, parallel=False) of cfg"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"cfg"', '"config"', 'no cfg; found ["config", "nodes", "edges"]'),
        ('"n_heads"', '"heads"', 'no cfg[\'n_heads\']; found ["n_layers", "heads",'),
        ('"n_layers": 1', '"n_layers": 0', "cfg['n_layers']: found 0, expected a whole number"),
        ('"n_heads": 1', '"n_heads": true', "cfg['n_heads']: found true, expected a whole number"),
        (
            '"parallel_attn_mlp": false',
            '"parallel_attn_mlp": null',
            "cfg['parallel_attn_mlp']: found null, expected true or false",
        ),
        (
            '"parallel_attn_mlp": false',
            '"parallel_attn_mlp": true',
            "edges: found 'a0.h0->m0', expected an edge of the "
            "Graph(n_layers=1, n_heads=1, parallel=True) of cfg, such as 'input->a0.h0<q>'",
        ),
        ("a0.h0<q>", "a0.h0", f"edges: found 'input->a0.h0', expected an edge {GRAPH}"),
        (
            '"input->m0": {"score": 0.0, "in_graph": false},',
            "",
            f"edges: no 'input->m0'; found 7 edges, expected all 8 {GRAPH}, with in_graph false",
        ),
        (
            '"score": 3.0, "in_graph": true',
            '"score": 3.0',
            "no edges['m0->logits']['in_graph']; found [\"score\"]",
        ),
        (
            '3.0, "in_graph": true',
            '3.0, "in_graph": 1',
            "edges['m0->logits']['in_graph']: found 1, expected true or false",
        ),
        ("3.0", '"high"', "edges['m0->logits']['score']: found \"high\", expected a number or"),
        ("3.0", "true", "edges['m0->logits']['score']: found true, expected a number or null"),
        ('{"score": 3.0, "in_graph": true}', "3.0", "edges['m0->logits']: found 3.0, expected an"),
        ('"a0.h0": true', '"a0.h7": true', "nodes: found 'a0.h7', expected a node of the Graph("),
        ('"a0.h0": true', '"a0.h0": "yes"', "nodes['a0.h0']: found \"yes\", expected true or"),
        ('"a0.h0": true', '"a0.h0": {}', "no nodes['a0.h0']['in_graph']; found []"),
        (
            '"a0.h0": true',
            '"a0.h0": {"in_graph": true, "neurons": [true, false]}',
            "nodes['a0.h0']['neurons']: found [true, false], expected true for every neuron",
        ),
        ('"cfg"', '"n_pos": 4, "cfg"', "n_pos: found 4, expected null, because edges here are the"),
        ('"edges": {', '"edges": [], "more": {', "edges: found [], expected an object with one"),
        ('"nodes": {', '"nodes": 3, "more": {', "nodes: found 3, expected an object with one"),
    ],
)
def test_a_bad_file_is_refused_with_file_key_found_and_expected(tmp_path, before, after, message):
    assert before in OLD
    path = put(tmp_path, OLD.replace(before, after, 1))
    with pytest.raises(ArtifactError, match=re.escape(f"{path}: {message}")):
        read_eap_ig(path)


def test_neurons_of_a_node_outside_the_circuit_do_not_matter(tmp_path):
    outside = '"a0.h0": {"in_graph": false, "neurons": [false, false]}'
    text = OLD.replace('"a0.h0": true', outside)
    text = text.replace('-1.5, "in_graph": true', '-1.5, "in_graph": false')
    circuit, _ = read_eap_ig(put(tmp_path, text))
    assert "a0.h0->m0" not in circuit.edges


@pytest.mark.parametrize("text", [OLD[:-1], ""], ids=["cut_off", "empty"])
def test_a_file_that_is_no_json_is_refused(tmp_path, text):
    path = put(tmp_path, text)
    with pytest.raises(ArtifactError, match=re.escape(f"{path}: not a readable JSON file: ")):
        read_eap_ig(path)


def test_a_missing_file_is_an_artifact_error(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        read_eap_ig(tmp_path / "none.json")


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    path = put(tmp_path, "[1, 2]")
    wanted = f"{path}: the whole file: found [1, 2], expected an object with 'cfg'"
    with pytest.raises(ArtifactError, match=re.escape(wanted)):
        read_eap_ig(path)


def test_scores_of_another_graph_are_refused_and_nothing_is_written(tmp_path):
    circuit = Circuit.full(Graph(1, 2))
    with pytest.raises(ValueError, match=r"to Graph\(n_layers=1.*to Graph\(n_layers=2"):
        write_eap_ig(tmp_path / "c.json", circuit, random_scores(Graph(2, 2)), d_model=8)
    assert list(tmp_path.iterdir()) == []
