"""Circuits in the layout of a submission to MIB, the Mechanistic Interpretability Benchmark.

The layout is that of https://github.com/hannamw/MIB-circuit-track ("Submitting to the MIB
Leaderboard"): one folder per task and model, called `ioi_gpt2` or `arc-easy_llama3`, with either

- one file with a score for every edge, of which MIB takes the best shares itself, or
- nine files of circuits, the largest of which have at most 0.1, 0.2, 0.5, 1, 2, 5, 10, 20 and 50 %
  of all edges.

A file is a graph of the EAP-IG library as JSON (see `circuitlapse.io.eap_ig`); those of circuits
have no scores. MIB wants at least two models and two tasks, and ranks edges once by score and once
by |score|. Its tasks are ioi, mcqa, arithmetic_addition, arithmetic_subtraction, arc_easy and
arc_challenge.

Example:
    >>> import numpy as np
    >>> from circuitlapse import EdgeScores, write_mib
    >>> from circuitlapse.models.graph import Graph
    >>> graph = Graph(n_layers=2, n_heads=4)
    >>> draw = np.random.default_rng(0).normal(size=graph.exists.shape)
    >>> scores = EdgeScores(graph, np.where(graph.exists, draw, np.nan))
    >>> folder = write_mib("submission", scores, task="ioi", model="gpt2", d_model=768)
    >>> [file.name for file in folder.iterdir()]
    ['importances.json']
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from circuitlapse.circuits.selection import Circuit
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.eap_ig import graph_document
from circuitlapse.models.graph import EdgeScores, Graph

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Of all edges: the most that each of nine circuits may have."""
WIDTHS = {"gpt2": 768, "qwen2.5": 896, "gemma2": 2304, "llama3": 4096}
"""Width of the residual stream of MIB's models, by the names that it gives them."""
SCORES = "importances.json"

Files = dict[str, tuple[Circuit, EdgeScores | None]]


def mib_sizes(graph: Graph) -> list[int]:
    """Return the most edges that each of the nine circuits of a graph may have, ascending."""
    return [math.floor(share * graph.n_edges + 1e-9) for share in SHARES]


def write_mib(
    folder: str | Path,
    found: EdgeScores | Sequence[Circuit],
    *,
    task: str,
    model: str,
    d_model: int,
) -> Path:
    """Write the folder of one task and model of a submission to MIB.

    Other JSON files in that folder are deleted: MIB reads all of them.

    Args:
        folder: of the submission; it is made if it is missing.
        found: the scores of all edges, or nine circuits in the order of `SHARES`, each with at
            most so many of all edges (see `mib_sizes`).
        task: its name in MIB, such as `ioi`.
        model: its name in MIB: `gpt2`, `qwen2.5`, `gemma2` or `llama3`.
        d_model: width of the residual stream, which only MIB needs; `WIDTHS` has those of MIB.

    Returns:
        The folder that was written.

    Raises:
        ValueError: if there are not nine circuits of one graph, or one is too large.
    """
    target = Path(folder) / "_".join(name.replace("_", "-") for name in (task, model))
    if isinstance(found, EdgeScores):
        files: Files = {SCORES: (Circuit.full(found.graph), found)}
    else:
        _check(found)
        names = (f"{100 * share:04.1f}-percent.json" for share in SHARES)
        files = {name: (one, None) for name, one in zip(names, found, strict=True)}
    for old in target.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, (circuit, scores) in files.items():
        with atomic_path(target / name) as scratch:
            scratch.write_text(json.dumps(graph_document(circuit, scores, d_model=d_model)))
    return target


def _check(circuits: Sequence[Circuit]) -> None:
    """Refuse what MIB would refuse."""
    if len(circuits) != len(SHARES):
        raise ValueError(
            f"expected {len(SHARES)} circuits, one per share of the edges, found {len(circuits)}"
        )
    if len(graphs := {circuit.graph for circuit in circuits}) > 1:
        raise ValueError(f"expected circuits of one graph, found {len(graphs)} graphs")
    graph = circuits[0].graph
    for share, most, circuit in zip(SHARES, mib_sizes(graph), circuits, strict=True):
        if circuit.n_edges > most:
            raise ValueError(
                f"at most {100 * share:g} % of {graph.n_edges} edges is {most}, "
                f"found {circuit.n_edges}"
            )
