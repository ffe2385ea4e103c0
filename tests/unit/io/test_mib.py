"""A submission to MIB, read back by the rules of its README and by the reader of EAP-IG files."""

import json
import subprocess
import sys

import numpy as np
import pytest

import circuitlapse as cl
from circuitlapse.circuits.selection import Circuit, select_circuit
from circuitlapse.io.circuit_files import write_circuit
from circuitlapse.io.eap_ig import read_eap_ig
from circuitlapse.io.mib import SHARES, mib_sizes, write_mib
from circuitlapse.models.graph import EdgeScores, Graph
from tests.records import record_of

GRAPH = Graph(4, 6, parallel=False)
WHERE = {"task": "arc_easy", "model": "llama3", "d_model": 8}
PERCENT = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
"""Of all edges: the most that each of nine circuits may have, from the README of MIB."""


def scored(graph=GRAPH):
    draw = np.random.default_rng(3).normal(size=graph.exists.shape)
    return EdgeScores(graph, np.where(graph.exists, draw, np.nan))


def by_the_rules_of_mib(path):
    """Read a graph as MIB's `load_graph_from_json` does: names are what it looks up.

    Returns its scores (0 where there is none) and its edges, by name.
    """
    found = json.loads(path.read_text())
    assert {"cfg", "nodes", "edges"} <= found.keys()
    cfg = found["cfg"]
    assert {"n_layers", "n_heads", "parallel_attn_mlp", "d_model"} <= cfg.keys()
    stream, nodes, edges = ["input"], ["input"], []
    for layer in range(cfg["n_layers"]):
        heads = [f"a{layer}.h{head}" for head in range(cfg["n_heads"])]
        edges += [f"{one}->{head}<{port}>" for one in stream for head in heads for port in "qkv"]
        before_mlp = stream if cfg["parallel_attn_mlp"] else stream + heads
        edges += [f"{one}->m{layer}" for one in before_mlp]
        stream = [*stream, *heads, f"m{layer}"]
        nodes += [*heads, f"m{layer}"]
    edges += [f"{one}->logits" for one in stream]
    for name, node in found["nodes"].items():
        assert name == "logits" or (name in nodes and isinstance(node["in_graph"], bool))
    assert sorted(found["edges"]) == sorted(edges)
    scores = {name: edge.get("score", 0.0) for name, edge in found["edges"].items()}
    return scores, {name for name, edge in found["edges"].items() if edge["in_graph"]}


def test_scores_come_back_from_one_file_in_the_folder_of_the_task_and_model(tmp_path):
    scores = scored()
    assert write_mib(tmp_path, scores, **WHERE) == tmp_path / "arc-easy_llama3"
    (file,) = (tmp_path / "arc-easy_llama3").iterdir()
    found, _ = by_the_rules_of_mib(file)
    assert file.name == "importances.json"
    expected = {GRAPH.edge_name(*at): scores.values[*at] for at in np.argwhere(GRAPH.exists)}
    assert found == expected
    _, same = read_eap_ig(file)
    np.testing.assert_array_equal(same.values, scores.values)


def test_nine_circuits_come_back_none_larger_than_its_share_of_the_edges(tmp_path):
    scores = scored()
    circuits = [select_circuit(scores, n) for n in mib_sizes(GRAPH)]
    files = sorted(write_mib(tmp_path, circuits, **WHERE).iterdir())
    found = [by_the_rules_of_mib(file) for file in files]
    sizes = sorted(len(edges) for _, edges in found)
    most = [share / 100 * GRAPH.n_edges for share in PERCENT]
    assert len(files) == 9
    assert all(n <= limit for n, limit in zip(sizes, most, strict=True))
    assert sizes[-1] > 0.4 * GRAPH.n_edges
    assert [edges for _, edges in found] == [set(circuit.edges) for circuit in circuits]
    assert not any("score" in file.read_text() for file in files)
    assert [read_eap_ig(file)[0].edges for file in files] == [one.edges for one in circuits]


def test_an_old_file_of_another_kind_does_not_stay_in_the_folder(tmp_path):
    """MIB takes nine files of a folder, in any order."""
    write_mib(tmp_path, scored(), **WHERE)
    circuits = [Circuit.empty(GRAPH)] * 9
    assert len(list(write_mib(tmp_path, circuits, **WHERE).iterdir())) == 9
    assert len(list(write_mib(tmp_path, scored(), **WHERE).iterdir())) == 1


@pytest.mark.parametrize(
    ("circuits", "message"),
    [
        ([Circuit.empty(GRAPH)] * 8, "expected 9 circuits, one per share of the edges, found 8"),
        (
            [Circuit.full(GRAPH), *[Circuit.empty(GRAPH)] * 8],
            f"at most 0.1 % of {GRAPH.n_edges} edges is 0, found {GRAPH.n_edges}",
        ),
        (
            [Circuit.empty(Graph(1, 2)), *[Circuit.empty(GRAPH)] * 8],
            "circuits of one graph",
        ),
    ],
    ids=["too_few", "too_large", "of_two_graphs"],
)
def test_what_mib_would_refuse_is_refused_here(tmp_path, circuits, message):
    with pytest.raises(ValueError, match=message):
        write_mib(tmp_path, circuits, **WHERE)


def test_the_shares_are_those_of_the_readme():
    assert [100 * share for share in SHARES] == pytest.approx(PERCENT)


def test_the_function_is_public():
    assert cl.write_mib is write_mib


def circuit_file(folder, **changes):
    graph = Graph(2, 2)
    edges = ("input->m0", "m0->logits")
    path = folder / "step8.h5"
    write_circuit(path, record_of(graph, edges, n_prompts=10, **changes), {"key": "0"})
    return path


def mib(*arguments):
    command = [sys.executable, "-m", "circuitlapse.io", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_circuit_file_is_exported_on_the_command_line(tmp_path):
    done = mib("mib", tmp_path / "out", circuit_file(tmp_path), "--model", "gpt2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/out/ioi_gpt2\n"
    scores, _ = by_the_rules_of_mib(tmp_path / "out/ioi_gpt2/importances.json")
    assert set(scores.values()) == {0.5}
    cfg = json.loads((tmp_path / "out/ioi_gpt2/importances.json").read_text())["cfg"]
    assert cfg["d_model"] == 768


def test_a_model_that_mib_does_not_know_needs_its_width(tmp_path):
    path = circuit_file(tmp_path)
    done = mib("mib", tmp_path / "out", path)
    assert done.returncode != 0
    assert "--d-model" in done.stderr
    assert "'small'" in done.stderr
    done = mib("mib", tmp_path / "out", path, "--d-model", 16, "--circuits")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/ioi_small").iterdir())) == 9


def test_a_file_that_is_no_circuit_is_one_line(tmp_path):
    path = tmp_path / "step8.h5"
    path.write_text("no circuit")
    done = mib("mib", tmp_path / "out", path, "--model", "gpt2")
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
