"""What the explorer knows: the tables of a run as one JSON document.

docs/explorer.md describes every key of the document. `SCHEMA` changes whenever a reader of an older
document would misread a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from circuitlapse.explorer.packing import gaps, pack, plain, squeezed
from circuitlapse.figures.circuit_diagram import PORT_COLOURS, PORT_TITLES, ROLE_COLOURS
from circuitlapse.figures.style import COLOURS, task_title
from circuitlapse.heads.registry import EFFECT_UNIT, EFFECTS, SCORES
from circuitlapse.schemas import CIRCUIT_EDGES, COMPONENTS
from circuitlapse.types import ROLE_TITLES, TransferControl

SCHEMA = "circuitlapse-explorer/1"
"""Name and version of the document."""
MOST_EDGES = 1000
"""Edges of one circuit that are kept, the strongest first; the document counts the others."""
IMPLIED = ("model", "task")
"""Columns that the place of a packed table in the document already says."""

WORDS = {
    "ok": "a faithful circuit",
    "no_behaviour": "no circuit: the model does not do the task at this step",
    "overshoot": "the circuit exceeds the metric of the model by over 20 %",
    "not_reached": "no circuit of the sizes tried is faithful; the largest one is shown",
    "too_few_prompts": "too few prompts for halves",
    "no_halves": "not measured: halves of the prompts are off",
    "no_circuit": "there is no such circuit",
    "not_analysed": "circuits of this model are not analysed",
}
"""Statuses of tables -> what the page says of them."""

_EFFECT_TITLES = {
    "e_logits": "Effect on the logits",
    "e_nm_q": "Effect on queries of name movers",
    "e_s2i_v": "Effect on values of S-inhibition heads",
}
_NODE = re.compile(r"a(\d+)\.h(\d+)|m(\d+)")


@dataclass(frozen=True)
class Described:
    """What the configuration says of a model and no table does.

    Attributes:
        label: what figures call it.
        variant_of: the model that it repeats with another seed, if any.
        width: of the residual stream, which files of other tools ask for; None if unknown.
    """

    label: str
    variant_of: str | None = None
    width: int | None = None


def document(
    tables: Mapping[str, pd.DataFrame],
    *,
    title: str,
    models: Mapping[str, Described],
    tasks: Sequence[str],
    threshold: float,
    most_edges: int = MOST_EDGES,
) -> dict[str, Any]:
    """Return everything the page shows.

    Args:
        tables: those named in `EXPLORED`, of one run.
        title: name of the run.
        models: in the order in which the page offers them; those without a row are left out.
        tasks: the same for tasks.
        threshold: the faithfulness that circuits had to reach.
        most_edges: edges of one circuit that are kept.
    """
    here = [name for name in models if (tables["behaviour"]["model"] == name).any()]
    return {
        "schema": SCHEMA,
        "software": f"circuitlapse {version('circuitlapse')}",
        "title": title,
        "threshold": threshold,
        "most_edges": most_edges,
        "words": WORDS,
        "ports": {
            port: {"title": PORT_TITLES[port], "colour": colour}
            for port, colour in PORT_COLOURS.items()
        },
        "roles": {
            str(role): {"title": ROLE_TITLES[role], "colour": colour}
            for role, colour in ROLE_COLOURS.items()
        },
        "lines": list(COLOURS),
        "scores": _scores(),
        "columns": {"edges": list(CIRCUIT_EDGES.columns), "heads": list(COMPONENTS.columns)},
        "tasks": {task: task_title(task) for task in tasks},
        "models": [
            _model({key: rows[rows["model"] == name] for key, rows in tables.items()}, name)
            | vars(models[name])
            | {"tasks": _tasks(tables, name, tasks, most_edges)}
            for name in here
        ],
    }


def _scores() -> dict[str, dict[str, Any]]:
    """Return title, unit and range of every score of a head; an open end of a range is None."""
    known = {
        name: {"title": score.title, "unit": score.unit, "range": plain(score.range)}
        for name, score in SCORES.items()
    }
    effect = {"unit": EFFECT_UNIT, "range": [None, None]}
    return known | {name: {"title": _EFFECT_TITLES[name], **effect} for name in EFFECTS}


def _model(rows: Mapping[str, pd.DataFrame], name: str) -> dict[str, Any]:
    """Return what belongs to a model and to no task: its steps, its shape, scores of its heads."""
    behaviour, components = rows["behaviour"], rows["components"]
    steps = behaviour.drop_duplicates("step").sort_values("step")
    layers, heads = shape_of(components, rows["circuit_edges"])
    totals = rows["circuit_summary"]["n_edges_total"]
    return {
        "name": name,
        "variant": str(behaviour["variant"].iloc[0]),
        "parameters": int(behaviour["n_parameters"].iloc[0]),
        "layers": layers,
        "heads": heads,
        "parallel": None if totals.empty else _is_parallel(int(totals.iloc[0]), layers, heads),
        "steps": plain(steps["step"]),
        "tokens": plain(steps["tokens"]),
        "scores": {
            str(score): _score(part, list(steps["step"]), layers, heads)
            for score, part in components.groupby("score", sort=False)
        },
    }


def shape_of(components: pd.DataFrame, edges: pd.DataFrame) -> tuple[int, int]:
    """Return the numbers of layers and of heads per layer; 0 where nothing tells them.

    Args:
        components: the scores of all heads of a model; usually every head has one.
        edges: the edges of its circuits, for a run without scores.
    """
    found = [_NODE.fullmatch(node) for node in {*edges["source"], *edges["target"]}]
    named = [[int(part or 0) for part in match.groups()] for match in found if match]
    layers = [int(components["layer"].max())] if len(components) else []
    heads = [int(components["head"].max())] if len(components) else []
    layers += [max(layer, mlp) for layer, _, mlp in named]
    heads += [head for _, head, _ in named]
    return max(layers, default=-1) + 1, max(heads, default=-1) + 1


def _is_parallel(n_edges: int, layers: int, heads: int) -> bool | None:
    """Return whether attention and MLP of a layer read the same stream; None if neither fits."""
    senders = [1 + layer * (heads + 1) for layer in range(layers)]
    parallel = sum(visible * (3 * heads + 1) for visible in senders) + 1 + layers * (heads + 1)
    return {parallel: True, parallel + layers * heads: False}.get(n_edges)


def _score(rows: pd.DataFrame, steps: list[int], layers: int, heads: int) -> dict[str, Any]:
    """Return one score of all heads: lists run over steps, then layers, then heads."""
    each_step = rows["step"].map({step: place for place, step in enumerate(steps)}).to_numpy()
    places = (each_step * layers + rows["layer"].to_numpy()) * heads + rows["head"].to_numpy()
    size = len(steps) * layers * heads

    def spread(name: str) -> Any:
        values: ndarray = np.full(size, None, dtype=object)
        values[places.astype(np.int64)] = np.array(rows[name].tolist(), dtype=object)
        return squeezed(plain(values))

    return {
        "task": str(rows["task"].iloc[0]),
        "unit": str(rows["unit"].iloc[0]),
        **{name: spread(name) for name in ("value", "low", "high", "in_circuit", "n", "status")},
    }


def _tasks(
    tables: Mapping[str, pd.DataFrame], model: str, tasks: Sequence[str], most_edges: int
) -> dict[str, dict[str, Any]]:
    """Return what belongs to a model and a task, for the tasks that were measured."""
    found = {}
    for task in tasks:
        rows = {
            name: table[(table["model"] == model) & (table["task"] == task)]
            for name, table in tables.items()
        }
        if len(rows["behaviour"]):
            steps = sorted(rows["behaviour"]["step"])
            stability = rows["stability"]
            found[task] = {
                "behaviour": pack(rows["behaviour"].sort_values("step"), without=IMPLIED),
                "summary": pack(rows["circuit_summary"].sort_values("step"), without=IMPLIED),
                "circuits": circuits(rows["circuit_edges"], steps, most_edges),
                "roles": pack(rows["roles"].sort_values("step"), without=IMPLIED),
                "overlap": pack(stability[stability["weighting"] == "none"], without=IMPLIED),
                "transfer": pack(_transfer(rows["transfer"])),
            }
    return found


def circuits(rows: pd.DataFrame, steps: Sequence[int], most_edges: int = MOST_EDGES) -> Any:
    """Return the circuits of one model and task, at all steps.

    `edges` names every edge of any of them once. The lists `edge` (its place in `edges`), `score`
    and `order` run over the edges of the first step, then of the second, and so on; those of step
    i are from `first[i]` up to `first[i + 1]`. `order` has the difference from the row before.

    Args:
        rows: of `circuit_edges`.
        steps: of the checkpoints.
        most_edges: kept of each circuit, by |score|; `hidden` counts the others.
    """
    kept = [_strongest(rows[rows["step"] == step], most_edges) for step in steps]
    every = pd.concat([rows.iloc[:0], *kept])
    names = every["source"] + "->" + every["target"] + every["port"].map(lambda p: p and f"<{p}>")
    ids = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return {
        "steps": [int(step) for step in steps],
        "edges": list(ids),
        "first": [0, *np.cumsum([len(part) for part in kept], dtype=int).tolist()],
        "hidden": [
            int((rows["step"] == s).sum()) - len(k) for s, k in zip(steps, kept, strict=True)
        ],
        "edge": [ids[name] for name in names],
        "score": plain(every["score"]),
        "order": [gap for part in kept for gap in gaps(part["order"].tolist())],
        "constant": {
            name: squeezed(plain(every[name].tolist()))
            for name in ("variant", "method", "ig_steps", "unit", "in_circuit")
        },
    }


def _strongest(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the rows with the largest |score|, in the order of the table."""
    if len(rows) <= most:
        return rows
    strength = rows["score"].abs().to_numpy()
    return rows.iloc[np.sort(np.argsort(-strength, kind="stable")[:most])]


def _transfer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how faithful circuits of a model are elsewhere, beside random ones of their size.

    One row per circuit and model: `circuit_task`, `circuit_step`, `step`, `f_raw`, `status`, and
    `f_random`, the mean over random circuits, which run on their own task only.
    """
    where = ["circuit_task", "circuit_step", "step"]
    own = rows[rows["control"] == TransferControl.OWN][[*where, "f_raw", "status"]]
    random = rows[rows["control"] == TransferControl.RANDOM].groupby(where)["f_raw"].mean()
    return own.merge(random.rename("f_random").reset_index(), on=where, how="left")
