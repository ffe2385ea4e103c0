"""What the explorer saves: the rows of the tables, and circuits that other tools read."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.selection import Circuit
from circuitlapse.io.eap_ig import graph_document, read_eap_ig
from circuitlapse.io.mib import SHARES, mib_sizes
from circuitlapse.models.graph import Graph
from tests.explorer_tables import SMALL, run

TABLES = run()
GRAPH = Graph(*SMALL["large"][:2])
AT = "#model=large&task=ioi&step=1000"


def rows(table, **where):
    frame = TABLES[table]
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame.reset_index(drop=True)


EDGES = rows("circuit_edges", model="large", task="ioi", step=1000)


def names(edges):
    return [
        f"{source}->{target}" + (f"<{port}>" if port else "")
        for source, target, port in zip(
            edges["source"], edges["target"], edges["port"], strict=True
        )
    ]


def circuit_of(found):
    mask = np.zeros_like(GRAPH.exists)
    for name in found:
        mask[GRAPH.edge_index(name)] = True
    return Circuit(GRAPH, mask)


def check_rows(path, expected):
    """Same columns, same rows in the same order, numbers to four digits."""
    found = pd.read_csv(path, keep_default_na=False, na_values=["NaN"])
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected)
    for name in expected.columns:
        wanted = expected[name]
        if pd.api.types.is_numeric_dtype(wanted) and not pd.api.types.is_bool_dtype(wanted):
            wanted = wanted.astype("float64").to_numpy()
            np.testing.assert_allclose(found[name].astype("float64"), wanted, rtol=5.1e-4)
        else:
            assert found[name].astype(str).tolist() == wanted.astype(str).tolist(), name


def test_rows_of_edges_equal_those_of_the_table(opened):
    page = opened(TABLES, AT)
    check_rows(page.saved("edges"), EDGES)
    page.go(f"{AT}&compare=step&other=10000")
    last = rows("circuit_edges", model="large", task="ioi", step=10000)
    check_rows(page.saved("edges"), pd.concat([EDGES, last], ignore_index=True))


def test_rows_of_summaries_and_heads_equal_those_of_the_tables(opened):
    page = opened(TABLES, f"{AT}&pick=a2.h1")
    check_rows(page.saved("summary"), rows("circuit_summary", model="large", task="ioi"))
    expected = rows("components", model="large", layer=2, head=1)
    check_rows(page.saved("head"), expected)


def test_eap_ig_reads_the_circuit(opened):
    page = opened(TABLES, AT)
    circuit, scores = read_eap_ig(page.saved("eap-ig"))
    assert scores is None
    assert circuit.graph == GRAPH
    assert circuit.edges == circuit_of(names(EDGES)).edges


def test_a_submission_to_mib_has_nine_circuits_as_large_as_they_may_be(opened):
    page = opened(TABLES, AT)
    with zipfile.ZipFile(page.saved("mib")) as archive:
        assert archive.testzip() is None
        found = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    expected = {}
    for share, size in zip(SHARES, mib_sizes(GRAPH), strict=True):
        first = circuit_of(names(EDGES.head(size))).pruned()
        name = f"ioi_large/{100 * share:04.1f}-percent.json"
        expected[name] = graph_document(first, None, d_model=24)
    assert found == expected


def test_graphs_for_cytoscape_and_neuronpedia_have_every_edge(opened):
    page = opened(TABLES, AT)
    graph = json.loads(page.saved("cytoscape").read_text())["elements"]
    assert [edge["data"]["id"] for edge in graph["edges"]] == names(EDGES)
    ids = {node["data"]["id"] for node in graph["nodes"]}
    assert ids == {*EDGES["source"], *EDGES["target"]}
    graph = json.loads(page.saved("neuronpedia").read_text())
    # what the schema of Neuronpedia requires
    assert {"slug", "scan", "prompt_tokens", "prompt"} <= set(graph["metadata"])
    assert set(graph) == {"metadata", "qParams", "nodes", "links"}
    keys = {"node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"}
    assert all(set(node) == keys for node in graph["nodes"])
    sums = EDGES.groupby(["source", "target"])["score"].sum()
    assert len(graph["links"]) == len(sums)
    for link in graph["links"]:
        assert link["weight"] == pytest.approx(sums[link["source"], link["target"]], abs=2e-3)


def test_pictures_are_saved_as_svg_and_png(opened):
    page = opened(TABLES, AT)
    drawn = ET.fromstring(page.saved("svg").read_text())
    labels = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"input", "logits", "m0"} <= labels
    paths = list(drawn.iter("{http://www.w3.org/2000/svg}path"))
    assert len(paths) == len(EDGES)
    assert all(path.get("stroke").startswith("rgb") for path in paths)
    assert page.saved("png").read_bytes().startswith(b"\x89PNG")
