"""A finished run beside a clone of published results, with planted agreement."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.selection import select_circuit
from circuitlapse.figures.registry import OF_AUTHORS
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.models.graph import EdgeScores, Graph
from circuitlapse.tables.registry import AUTHORS
from tests.clone import Planted

RESULTS = "results-smoke"
GRAPH = Graph(2, 4)
SHAPE = {"n_layers": 2, "n_heads": 4}
MODEL = "pocket-tiny"
COMPARE = ("--config", "compare={published: clone}")


def names(scores):
    return {GRAPH.edge_name(*at): float(scores[*at]) for at in np.argwhere(GRAPH.exists)}


def plant(folder):
    """Plant the circuit of sva of the run itself, another one of ioi, and an earlier step."""
    planted = Planted(folder / "clone")
    own = read_circuit(folder / RESULTS / f"circuits/{MODEL}/sva/step400.h5")
    edges = {GRAPH.edge_name(*at) for at in np.argwhere(own.in_circuit)}
    faithful = {"edges": edges, "scores": names(own.scores), **SHAPE}
    planted.graph(MODEL, "sva", 400, below="faithful/raw", **faithful)
    planted.write(f"faithfulness/{MODEL}/sva/400.json", {str(own.n_requested): 0.91, "1": 0.0})
    planted.write(f"baselines/{MODEL}/sva.json", {"400": own.m_model.mean(), "300": 0.1})
    draw = np.random.default_rng(0)
    for step in (300, 400):
        values = np.where(GRAPH.exists, draw.normal(size=GRAPH.exists.shape), np.nan)
        circuit = select_circuit(EdgeScores(GRAPH, values), 40)
        graph = {"edges": circuit.edges, "scores": names(values), **SHAPE}
        planted.graph(MODEL, "ioi", step, below="raw", **graph)
        planted.write(f"faithfulness/{MODEL}/ioi/{step}.json", {"40": 0.85, "80": 1.0})
    return planted, own


def test_published_results_are_drawn_and_held_beside_the_run(copied):
    planted, own = plant(copied.folder)
    planned = copied.jobs(*COMPARE)
    assert {name for name in planned if "published" not in name} == {
        "all",
        "aggregate_agreement",
        "plot_agreement",
    }
    assert planned["read_published_pocket-tiny"] == 1
    pointer = f"graphs/{MODEL}/ioi/raw/300.json"
    whole = planted.folder / "results" / pointer
    text = whole.read_text()
    planted.pointer(pointer)
    said = copied.run("published", *COMPARE, ok=False)
    assert f"clone/results/{pointer}: found a pointer of Git LFS" in said
    assert "git lfs pull" in said
    whole.write_text(text)
    folder = copied.folder / RESULTS
    drawn = [f"{RESULTS}/published/figures/{name}.png" for name in ("circuits", "size_correlation")]
    drawn += [f"{RESULTS}/figures/agreement.png"]
    tables = [table for job in AUTHORS.values() for table in job.tables]
    copied.run(*drawn, *[f"{RESULTS}/published/tables/{name}.csv" for name in tables], *COMPARE)
    for figure in drawn:
        assert (copied.folder / figure).read_bytes().startswith(b"\x89PNG")
    published = pd.read_parquet(folder / "published/tables/published.parquet")
    assert published[["task", "step"]].to_numpy().tolist() == [
        ["ioi", 300],
        ["ioi", 400],
        ["sva", 300],
        ["sva", 400],
    ]
    agreement = pd.read_parquet(folder / "tables/agreement.parquet").set_index("task")
    assert agreement["step"].tolist() == [400, 400]
    row = agreement.loc["sva"]
    assert row["edge_jaccard"] == row["node_jaccard"] == row["edge_jaccard_matched"] == 1.0
    assert row["n_edges"] == row["n_edges_published"] == own.n_edges
    assert row["m_model_published"] == pytest.approx(row["m_model"])
    assert row["f_raw_published"] == 0.91
    assert agreement.loc["ioi", "n_edges_published"] > 0
    again = copied.jobs(*COMPARE)
    assert {name for name in again if not name.startswith("plot_published_")} == {"all"}
    assert len(again) == 1 + len(OF_AUTHORS) - 2
