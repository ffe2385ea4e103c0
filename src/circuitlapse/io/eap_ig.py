"""Circuits as graph JSON of the EAP-IG library, to exchange them with it.

The library is https://github.com/hannamw/EAP-IG. The file is what `Graph.to_json` writes and
`Graph.from_json` reads in its `src/eap/graph.py` (current: commit 8fd10d9; older: `eap/graph.py`
at 009cb68). `cfg` has the shape of the graph, `nodes` and `edges` say by name what is in the
circuit, and `edges` also has the scores. Names are the same here and there: `a0.h0->a1.h1<q>`,
`m0->logits`.

Sign: not converted. The library's score is (corrupted - clean message) times the gradient of the
function that is passed to it. In its examples that is a loss, such as minus the logit difference,
so in both libraries a positive score means that the edge supports the behaviour. A file does not
say what it was scored with. If that was a metric that is higher for better answers, flip the sign
with `EdgeScores(scores.graph, -scores.values)`.

Scale: not converted either. Our scores are means per prompt. With a loss that is a mean over
batches of B prompts, as in the library's examples, the library's scores are B times smaller,
and with its `aggregation="mean"` smaller by another factor of d_model. This does not change the
order of edges if all batches have the same size.

Example:
    `scores` and `circuit` usually come from `circuitlapse.attribute_edges` and
    `circuitlapse.select_circuit`, and `d_model` is `model.cfg.d_model`.

    >>> import numpy as np
    >>> from circuitlapse import EdgeScores, select_circuit
    >>> from circuitlapse.models.graph import Graph
    >>> from circuitlapse.io.eap_ig import read_eap_ig, write_eap_ig
    >>> graph = Graph(n_layers=2, n_heads=4)
    >>> draw = np.random.default_rng(0).normal(size=graph.exists.shape)
    >>> scores = EdgeScores(graph, np.where(graph.exists, draw, np.nan))
    >>> circuit = select_circuit(scores, 20)
    >>> write_eap_ig("circuit.json", circuit, scores, d_model=32)
    >>> same_circuit, same_scores = read_eap_ig("circuit.json")
    >>> same_circuit.edges == circuit.edges
    True
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.selection import Circuit
from circuitlapse.errors import ArtifactError, read_json, reading
from circuitlapse.io.atomic import atomic_path
from circuitlapse.models.graph import EdgeScores, Graph, split_target

LFS_POINTER = "version https://git-lfs"
"""The start of the file that Git LFS leaves in place of another."""


def write_eap_ig(
    path: str | Path, circuit: Circuit, scores: EdgeScores | None, *, d_model: int
) -> None:
    """Write a circuit in the format of the library's current version.

    The file is complete or absent. To update a file of an older version, read and write it.

    Args:
        path: usually ends in `.json`.
        circuit: `in_graph` is true for its edges, and for the nodes that both receive and send,
            as after the library's `prune`.
        scores: of the same graph. None writes NaN, which means "not scored" in the library; it
            is not strict JSON, but Python reads it.
        d_model: width of the residual stream, which only the library needs.

    Raises:
        ValueError: if the scores belong to another graph.
    """
    document = graph_document(circuit, scores, d_model=d_model)
    if scores is None:
        edges = document["edges"].items()
        document["edges"] = {name: {"score": float("nan"), **edge} for name, edge in edges}
    with atomic_path(path) as scratch:
        scratch.write_text(json.dumps(document), encoding="utf-8")


def graph_document(
    circuit: Circuit, scores: EdgeScores | None, *, d_model: int
) -> dict[str, dict[str, Any]]:
    """Return what such a file holds; without scores, no edge has the key `score`.

    Raises:
        ValueError: if the scores belong to another graph.
    """
    graph = circuit.graph
    if scores is not None and scores.graph != graph:
        raise ValueError(f"the circuit belongs to {graph}, but the scores to {scores.graph}")
    edges = {
        graph.edge_name(*index): ({} if scores is None else {"score": float(scores.values[*index])})
        | {"in_graph": bool(circuit.mask[*index])}
        for index in np.argwhere(graph.exists)
    }
    return {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": d_model,
        },
        "nodes": {name: {"in_graph": flag} for name, flag in _connected(circuit).items()},
        "edges": edges,
    }


def _connected(circuit: Circuit) -> dict[str, bool]:
    """Return for each node whether it both receives and sends.

    `input` need not receive. `logits` is always in the graph, as in the library.
    """
    targets = (circuit.graph.targets[column] for column in np.flatnonzero(circuit.mask.any(axis=0)))
    connected = {"input"} | {split_target(target)[0] for target in targets}
    connected &= _senders(circuit)
    return {name: name in connected for name in circuit.graph.sources} | {"logits": True}


def _senders(circuit: Circuit) -> set[str]:
    return {circuit.graph.sources[row] for row in np.flatnonzero(circuit.mask.any(axis=1))}


def read_eap_ig(path: str | Path) -> tuple[Circuit, EdgeScores | None]:
    """Read a circuit and its scores from a file of any version of the library.

    Versions differ in `nodes` (true or false, or an object) and in further keys of `cfg`. As in
    the library's own evaluation, only the edges define the circuit. It is not pruned here, and
    the library's `prune` may leave loose ends: see `Circuit.pruned`.

    Returns:
        The circuit, and the scores with the sign and scale of the file (see the top of this
        module). The scores are None if no edge has one: all are null, NaN or absent, or all are
        0, which the current version writes for a graph without scores.

    Raises:
        ArtifactError: with file, key, found and expected value, if

            - the file is not such a graph;
            - it lacks an edge (older versions count it as in the circuit, newer ones as outside);
            - some edges have a score and others have none;
            - the graph has single positions or neurons.
    """
    whole = _Part(Path(path), "", pulled_json(path))
    cfg, nodes, edges = whole["cfg"], whole["nodes"], whole["edges"]
    if whole.value.get("n_pos") is not None:
        raise whole["n_pos"].unlike("null, because edges here are the same at every position")
    graph = Graph(
        _count(cfg["n_layers"]), _count(cfg["n_heads"]), parallel=_flag(cfg["parallel_attn_mlp"])
    )
    _refuse_other_size(edges, graph)
    mask, values = np.zeros_like(graph.exists), np.full(graph.exists.shape, np.nan)
    at = _places(edges, graph)
    mask.flat[at], values.flat[at] = _columns(edges)
    circuit = Circuit(graph, mask)
    _check_nodes(nodes, circuit)
    return circuit, _scores(edges, graph, values)


@dataclass(frozen=True)
class _Part:
    """A value in a file, with its key."""

    file: Path
    key: str
    value: Any

    def __getitem__(self, name: str) -> _Part:
        inner = f"{self.key}[{name!r}]" if self.key else name
        if not isinstance(self.value, dict):
            raise self.unlike(f"an object with {name!r}")
        if name not in self.value:
            raise ArtifactError(f"{self.file}: no {inner}; found {_shown(list(self.value))}")
        return _Part(self.file, inner, self.value[name])

    def unlike(self, expected: str) -> ArtifactError:
        """Return an error with the found and the expected value."""
        where = self.key or "the whole file"
        return ArtifactError(
            f"{self.file}: {where}: found {_shown(self.value)}, expected {expected}"
        )


def pulled_json(path: str | Path) -> Any:
    """Read a JSON file, which may lie in a clone.

    Raises:
        ArtifactError: if it cannot be read, or if there is only the pointer of Git LFS.
    """
    with reading(path, "JSON file", advice="get the file again"):
        with Path(path).open(encoding="utf-8") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ArtifactError(
                    f"{path}: found a pointer of Git LFS, expected the JSON file itself; run "
                    "`git lfs pull` in the clone"
                )
        return read_json(path)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _count(part: _Part) -> int:
    if type(part.value) is not int or part.value < 1:
        raise part.unlike("a whole number from 1 up")
    return part.value


def _flag(part: _Part) -> bool:
    if not isinstance(part.value, bool):
        raise part.unlike("true or false")
    return part.value


def _check_score(edge: _Part) -> None:
    if type(edge.value.get("score")) not in (int, float, type(None)):
        raise edge["score"].unlike("a number or null")


def _columns(edges: _Part) -> tuple[list[bool], Float[ndarray, " edge"]]:
    """Return `in_graph` and the score of every edge; NaN where there is no score."""
    found = edges.value.values()
    try:
        flags = [edge["in_graph"] for edge in found]
        scores = [edge.get("score") for edge in found]
        usual = {*map(type, flags)} <= {bool} and {*map(type, scores)} <= {int, float, type(None)}
    except (AttributeError, KeyError, TypeError):
        usual = False
    if not usual:  # say which edge is unusual; one by one would take minutes for large models
        for name in edges.value:
            _flag(edges[name]["in_graph"])
            _check_score(edges[name])
    try:
        return flags, np.array(scores, dtype=np.float64)
    except OverflowError as error:
        raise edges.unlike("scores below 1e308") from error


def _refuse_other_size(edges: _Part, graph: Graph) -> None:
    """Refuse another number of edges before a matrix is made, which could fill the memory."""
    if not isinstance(edges.value, dict):
        raise edges.unlike("an object with one entry per edge")
    per_layer = 3 * graph.n_heads + 1  # inputs that see all earlier layers
    before = graph.n_layers * (graph.n_layers - 1) // 2 * (graph.n_heads + 1)  # their nodes
    own = 0 if graph.parallel else graph.n_layers * graph.n_heads
    to_logits = 1 + graph.n_layers * (graph.n_heads + 1)
    expected = per_layer * (graph.n_layers + before) + own + to_logits
    if len(edges.value) < expected // 2:
        raise ArtifactError(
            f"{edges.file}: edges: found {len(edges.value)} edges, expected all {expected} of the "
            f"{graph} of cfg, with in_graph false outside the circuit"
        )


@lru_cache(maxsize=4)
def _place_of(graph: Graph) -> dict[str, int]:
    """Return the place of every edge in the flattened matrix, by name."""
    n_targets = len(graph.targets)
    return {
        graph.edge_name(row, column): int(row) * n_targets + int(column)
        for row, column in np.argwhere(graph.exists)
    }


def _places(edges: _Part, graph: Graph) -> list[int]:
    """Return the place of every edge in the file, which must name exactly those of the graph."""
    places = _place_of(graph)
    if unknown := next((name for name in edges.value if name not in places), None):
        raise ArtifactError(
            f"{edges.file}: edges: found {unknown!r}, expected an edge of the {graph} of cfg, "
            f"such as {next(iter(places))!r}"
        )
    if absent := next((name for name in places if name not in edges.value), None):
        raise ArtifactError(
            f"{edges.file}: edges: no {absent!r}; found {len(edges.value)} edges, expected all "
            f"{len(places)} of the {graph} of cfg, with in_graph false outside the circuit"
        )
    return [places[name] for name in edges.value]


def _check_nodes(nodes: _Part, circuit: Circuit) -> None:
    """Refuse nodes that the graph lacks, and nodes with only some neurons in the circuit."""
    if not isinstance(nodes.value, dict):
        raise nodes.unlike("an object with one entry per node")
    known, sends = {*circuit.graph.sources, "logits"}, _senders(circuit)
    for name in nodes.value:
        if name not in known:
            raise ArtifactError(
                f"{nodes.file}: nodes: found {name!r}, expected a node of the {circuit.graph} of "
                "cfg, such as 'm0'"
            )
        node = nodes[name]
        if not isinstance(node.value, dict):
            _flag(node)
            continue
        _flag(node["in_graph"])
        if name in sends and node.value.get("neurons") is not None:
            _refuse_single_neurons(node["neurons"])


def _refuse_single_neurons(neurons: _Part) -> None:
    if not isinstance(neurons.value, list) or any(flag is not True for flag in neurons.value):
        raise neurons.unlike("true for every neuron, because circuits here consist of whole nodes")


def _scores(
    edges: _Part, graph: Graph, values: Float[ndarray, "source target"]
) -> EdgeScores | None:
    unscored = graph.exists & np.isnan(values)
    if not values[graph.exists].any() or unscored.sum() == graph.n_edges:
        return None
    if unscored.any():
        first = graph.edge_name(*np.argwhere(unscored)[0])
        raise ArtifactError(
            f"{edges.file}: edges[{first!r}]['score']: found none, expected a number, because "
            f"only {int(unscored.sum())} of {graph.n_edges} edges have none; "
            "score every edge, or set every score to null to read only the circuit"
        )
    return EdgeScores(graph, values)
