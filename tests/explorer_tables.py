"""Tables of a run that never took place, in the columns of real ones: for the explorer's tests.

Sizes are free, so that the same code makes a tiny run and the grid of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from circuitlapse.explorer.registry import EXPLORED
from circuitlapse.explorer.run_data import Described
from circuitlapse.heads.registry import EFFECT_UNIT, EFFECTS, SCORES
from circuitlapse.models.graph import Graph, split_target
from circuitlapse.schemas import SCHEMAS


class Size(NamedTuple):
    """A model: its shape, and the edges of a typical circuit."""

    layers: int
    heads: int
    edges: int


PAPER = {
    "pythia-70m": Size(6, 8, 60),
    "pythia-160m": Size(12, 12, 250),
    "pythia-410m": Size(24, 16, 800),
    "pythia-1.4b": Size(24, 16, 1200),
    "pythia-2.8b": Size(32, 32, 2500),
}
"""Shapes of Pythia, and circuits somewhat larger than those of the paper."""
PAPER_STEPS = [0, *(2**power for power in range(10)), *np.linspace(1000, 143000, 34, dtype=int)]
TASKS = ("ioi", "gendered_pronoun", "greater_than", "sva")
SMALL = {"small": Size(2, 2, 8), "large": Size(4, 3, 20)}
STEPS = (0, 100, 1000, 10000)


def run(
    models: Mapping[str, Size] = SMALL,
    steps: Sequence[int] = STEPS,
    tasks: Sequence[str] = TASKS[:2],
    *,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Return every table that the explorer reads.

    The first quarter of the steps is without behaviour. Edges keep their scores from step to step
    but for noise, so that circuits change like real ones.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in EXPLORED}
    for model, size in models.items():
        graph = Graph(size.layers, size.heads)
        for task in tasks:
            # enough candidates for circuits that share most of their edges
            drawn = rng.permutation(graph.n_edges)[: 2 * size.edges]
            places = np.argwhere(graph.exists)[np.sort(drawn)]
            base = rng.normal(size=len(places))
            for place, step in enumerate(steps):
                where = {"model": model, "variant": "seed1", "step": step, "tokens": step * 1000}
                does = place >= len(steps) // 4
                n = round(size.edges * rng.uniform(0.8, 1.2)) if does else 0
                scores = base + rng.normal(size=len(places)) * 0.3
                one = where | {"task": task}
                rows["behaviour"].append(_rows("behaviour", one | _behaviour(does, rng)))
                summary = one | _summary(does, min(n, len(places)), graph, rng)
                rows["circuit_summary"].append(_rows("circuit_summary", summary))
                if does:
                    rows["circuit_edges"].append(_edges(one, graph, places, scores, n))
                    rows["roles"].append(_rows("roles", one | _role(size)))
                    if place:
                        rows["stability"].append(_overlap(one, steps[place - 1], rng))
                rows["transfer"].append(_transfer(one, steps, does, rng))
        for place, step in enumerate(steps):
            where = {"model": model, "variant": "seed1", "step": step, "tokens": step * 1000}
            rows["components"].append(_components(where, size, place / len(steps), rng))
    return {
        name: pd.concat([SCHEMAS[name].empty(), *parts], ignore_index=True)
        for name, parts in rows.items()
    }


def described(models: Mapping[str, Size] = SMALL) -> dict[str, Described]:
    """Return what the configuration would say of these models."""
    return {
        name: Described(label=name.upper(), width=8 * size.heads) for name, size in models.items()
    }


def _rows(table: str, values: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of a table; columns that are not given are undefined."""
    schema = SCHEMAS[table]
    empty = {"str": "", "bool": False, "float64": np.nan, "float32": np.nan}
    whole = {
        name: empty.get(dtype, pd.NA if dtype[0] in "Ib" else 0)
        for name, dtype in schema.columns.items()
    }
    many = max(
        [len(value) for value in values.values() if isinstance(value, list | np.ndarray)], default=1
    )
    frame = pd.DataFrame({**whole, **values}, index=range(many))
    return schema.cast(frame)


def _behaviour(does: bool, rng: np.random.Generator) -> dict[str, Any]:
    value = rng.uniform(2, 3) if does else 0.01
    return {
        "metric": "logit_diff",
        "unit": "logits",
        "value": value,
        "ci_low": value - 0.2,
        "ci_high": value + 0.2,
        "value_corrupted": -value,
        "accuracy": 0.9,
        "n": 100,
        "n_parameters": 1_234_567,
        "dtype": "float32",
    }


def _summary(does: bool, n: int, graph: Graph, rng: np.random.Generator) -> dict[str, Any]:
    found = {"method": "eap_ig_inputs", "ig_steps": 5, "metric": "logit_diff", "unit": "logits"}
    found |= {"n_edges_total": graph.n_edges, "threshold": 0.8, "m_model": 2.0, "n": 100}
    if not does:
        return found | {"status": "no_behaviour", "held_out_status": "no_behaviour"}
    f = rng.uniform(0.8, 0.95)
    return found | {
        "status": "ok",
        "held_out_status": "ok",
        "n_edges": n,
        "n_nodes": min(n, 20),
        "n_edges_low": n * 0.9,
        "n_edges_high": n * 1.1,
        "f_raw": f,
        "f_raw_low": f - 0.05,
        "f_raw_high": f + 0.05,
        "f_raw_held_out": f - 0.1,
        "f_raw_held_out_low": f - 0.2,
        "f_raw_held_out_high": f,
    }


def _edges(
    one: Mapping[str, Any], graph: Graph, places: np.ndarray, scores: np.ndarray, n: int
) -> pd.DataFrame:
    best = np.argsort(-np.abs(scores), kind="stable")[:n]
    names = [(graph.sources[i], *split_target(graph.targets[j])) for i, j in places[best]]
    source, target, port = zip(*names, strict=True)
    return _rows(
        "circuit_edges",
        {
            **one,
            "method": "eap_ig_inputs",
            "ig_steps": 5,
            "source": list(source),
            "target": list(target),
            "port": list(port),
            "score": scores[best],
            "unit": "logits",
            "order": np.arange(len(best)) + np.arange(len(best)) // 5,
            "in_circuit": True,
        },
    )


def _role(size: Size) -> dict[str, Any]:
    heads = {"layer": size.layers - 1, "head": [0, size.heads - 1]}
    return {"role": "NM", **heads, "effect": [-0.5, -0.25], "unit": EFFECT_UNIT, "n": 100}


def _overlap(one: Mapping[str, Any], before: int, rng: np.random.Generator) -> pd.DataFrame:
    jaccard = rng.uniform(0.5, 0.9)
    values = {"comparison": "consecutive", "level": "edge", "weighting": "none", "unit": "share"}
    values |= {"jaccard": jaccard, "jaccard_matched": jaccard, "jaccard_chance": 0.05}
    values |= {"floor_median": 0.8, "floor_low": 0.7, "changed": bool(jaccard < 0.7)}
    return _rows("stability", {**one, **values, "step": before, "step_next": one["step"]})


def _transfer(
    one: Mapping[str, Any], steps: Sequence[int], does: bool, rng: np.random.Generator
) -> pd.DataFrame:
    if len(steps) > 10:
        steps = [step for step in steps[::7] if one["step"] in steps[::7]]
    if not steps:
        return SCHEMAS["transfer"].empty()
    values = {"control": ["own"] * len(steps) + ["random"] * len(steps)}
    values |= {"circuit_task": one["task"], "circuit_model": one["model"], "draw": -1}
    values |= {"circuit_step": [*steps, *steps], "status": "ok" if does else "no_behaviour"}
    f_raw = rng.uniform(size=2 * len(steps)) if does else np.full(2 * len(steps), np.nan)
    return _rows("transfer", {**one, **values, "f_raw": f_raw})


def _components(
    where: Mapping[str, Any], size: Size, progress: float, rng: np.random.Generator
) -> pd.DataFrame:
    layer, head = (part.ravel() for part in np.indices((size.layers, size.heads)))
    parts = []
    for name in (*SCORES, *EFFECTS):
        known = SCORES.get(name)
        value = rng.beta(1, 20, size=len(layer)) + progress * rng.beta(0.05, 1, size=len(layer))
        values: dict[str, Any] = {"task": known.task if known else "ioi", "score": name}
        values |= {"layer": layer, "head": head, "value": value.clip(0, 1), "n": 50, "status": "ok"}
        values |= {"unit": known.unit if known else EFFECT_UNIT, "in_circuit": progress > 0.25}
        if name == "cspa":
            values |= {"low": value - 0.1, "high": value + 0.1}
        parts.append(_rows("components", {**where, **values}))
    return pd.concat(parts, ignore_index=True)
