"""The authors' results of one model, from the JSON files of a clone of their repository.

`paths.Clone` knows where the files lie. Three kinds are read:

- baselines: step -> metric of the model, for one task; or the metric of a single step;
- faithfulness: number of edges before pruning -> metric of the circuit over that of the model;
- graphs: the scores of all edges, and the pruned circuit, in the format of EAP-IG.

Graphs do not say how many edges were taken before pruning. It is the size on the faithfulness curve
at which greedy selection from the scores of the file gives the circuit that is most like theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray

from circuitlapse.circuits.faithfulness import OVERSHOOT
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit, cut, edge_order
from circuitlapse.errors import ArtifactError
from circuitlapse.io.eap_ig import pulled_json, read_eap_ig
from circuitlapse.models.graph import EdgeScores
from circuitlapse.schemas import BEHAVIOUR, PUBLISHED_CURVE
from circuitlapse.types import (
    METRIC_FACTS,
    Faithfulness,
    IgRule,
    Level,
    Method,
    Metric,
    Selection,
    Weighting,
)
from circuitlapse.types.status import CertificateStatus, CheckpointStatus, HeldOutStatus, Status

THRESHOLD = 0.8
"""Faithfulness that a circuit of the paper has to reach."""
_NOTHING = float("nan")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([mb])(?:-|$)")
_UNITS = {"m": 10**6, "b": 10**9}


def nominal_size(model: str) -> int:
    """Return the number of parameters that the name of a model says, such as 1.4e9; 0 if none."""
    found = _SIZE.search(model)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def read_baselines(files: Iterable[str | Path]) -> dict[int, float]:
    """Return the metric by step, from a file of all steps and files of single ones.

    The former come first and win.

    Raises:
        ArtifactError: if a file is not such a table.
    """
    metric: dict[int, float] = {}
    for file in map(Path, files):
        found = pulled_json(file)
        if file.stem.isdecimal() and not isinstance(found, dict):
            found = {file.stem: found}
        metric = _numbers(found, file, "step") | metric
    return dict(sorted(metric.items()))


def read_curve(file: str | Path) -> dict[int, float]:
    """Return faithfulness by number of edges before pruning, ascending.

    Raises:
        ArtifactError: if the file is not such a table.
    """
    return dict(sorted(_numbers(pulled_json(file), file, "number of edges").items()))


def _numbers(found: Any, file: str | Path, what: str) -> dict[int, float]:
    """Return a JSON object as numbers by whole number."""
    if not isinstance(found, dict):
        raise ArtifactError(
            f"{file}: found {str(found)[:40]!r}, expected an object: {what} -> number"
        )
    for name, value in found.items():
        if not re.fullmatch(r"\d{1,15}", name) or not _is_number(value):
            raise ArtifactError(f"{file}: found {name!r}: {value!r}, expected {what} -> number")
    return {int(name): float(value) for name, value in found.items()}


def _is_number(value: Any) -> bool:
    """Return whether a JSON value is a number that is not too large for a float."""
    return type(value) is float or (type(value) is int and abs(value) < 2**1000)


@dataclass(frozen=True)
class TaskFiles:
    """The files about one model and task.

    Attributes:
        metric: of the task.
        baselines: of all steps, then of single steps.
        curves: by step.
        graphs: by step.
    """

    metric: str
    baselines: Sequence[str]
    curves: Mapping[int, str]
    graphs: Mapping[int, str]


@dataclass(frozen=True)
class PublishedModel:
    """What the authors published of one model.

    Attributes:
        model: its name here.
        variant: see `settings.suite.Model`.
        tokens_per_step: in training.
        tasks: files by task.
    """

    model: str
    variant: str
    tokens_per_step: int
    tasks: Mapping[str, TaskFiles]

    def where(self, task: str, step: int) -> dict[str, Any]:
        """Return the columns that identify a checkpoint and a task."""
        tokens = step * self.tokens_per_step
        place = {"model": self.model, "variant": self.variant, "step": step, "tokens": tokens}
        return place | {"task": task}

    def behaviour(self) -> pd.DataFrame:
        """Return the rows of `behaviour`; a model without any metric has one row without number.

        `n` is 1, because the files hold one mean, and `n_parameters` is the size in its name.
        """
        rows = [
            self.where(task, step) | {"metric": files.metric, "value": value}
            for task, files in self.tasks.items()
            for step, value in read_baselines(files.baselines).items()
        ]
        task, files = next(iter(self.tasks.items()))
        none = self.where(task, 0) | {"metric": files.metric, "value": _NOTHING}
        frame = pd.DataFrame(rows or [none]).reindex(columns=list(BEHAVIOUR.columns))
        units = {metric.value: METRIC_FACTS[metric].unit for metric in Metric}
        frame["unit"] = frame["metric"].map(units)
        frame["n"], frame["data_seed"] = 1, 0
        frame["prepend_bos"], frame["dtype"] = False, "bfloat16"
        frame["n_parameters"] = nominal_size(self.model)
        frame["checkpoint"] = str(CheckpointStatus.OK)
        return BEHAVIOUR.cast(frame)

    def curves(self) -> pd.DataFrame:
        """Return the faithfulness of every size, step and task."""
        rows = [
            self.where(task, step) | {"n_requested": size, "f_raw": value}
            for task, files in self.tasks.items()
            for step, file in files.curves.items()
            for size, value in read_curve(file).items()
        ]
        return PUBLISHED_CURVE.cast(pd.DataFrame(rows, columns=list(PUBLISHED_CURVE.columns)))

    def records(self) -> Iterator[CircuitRecord]:
        """Yield every circuit, task by task and step by step."""
        for task, files in self.tasks.items():
            baselines = read_baselines(files.baselines)
            for step, file in files.graphs.items():
                circuit, scores = read_eap_ig(file)
                curve = read_curve(files.curves[step]) if step in files.curves else {}
                yield published_record(
                    circuit,
                    scores,
                    curve=curve,
                    m_model=baselines.get(step, _NOTHING),
                    metric=files.metric,
                    **self.where(task, step),
                )


def published_record(
    circuit: Circuit,
    scores: EdgeScores | None,
    *,
    curve: Mapping[int, float],
    m_model: float,
    metric: str,
    **where: Any,
) -> CircuitRecord:
    """Return a circuit of the authors as a record, with one mean in place of the prompts.

    Args:
        circuit: after pruning.
        scores: of all edges; None ranks the edges of the circuit before others.
        curve: faithfulness by number of edges before pruning; may be empty.
        m_model: metric of the model; NaN if it is unknown, and then so is that of circuits.
        metric: its name.
        where: model, variant, step, tokens and task.
    """
    graph = circuit.graph
    if scores is None:
        scores = EdgeScores(graph, np.where(graph.exists, circuit.mask * 1.0, np.nan))
    sizes = np.array([size for size in curve if 0 < size <= graph.n_edges], dtype=np.int64)
    largest = min(graph.n_edges, 2 * max(1, circuit.n_edges, *map(int, sizes)))
    taken = edge_order(scores, first=largest)  # [edge, 2], the most important first
    order = np.full(graph.exists.shape, -1, dtype=np.int32)
    order[tuple(taken.T)] = np.arange(len(taken))
    cuts = [cut(graph, taken, int(size)) for size in sizes]
    requested = _requested(circuit, cuts, sizes)
    found = np.array([curve[int(size)] for size in sizes])
    reached = curve.get(requested, _NOTHING)
    n_edges = np.array([one.n_edges for one in cuts], dtype=np.int64)
    return CircuitRecord(
        **where,
        **_how(metric),
        **_without_prompts(len(sizes), graph.exists.shape),
        sources=graph.sources,
        targets=graph.targets,
        scores=scores.values.astype(np.float32),
        order=order,
        in_circuit=circuit.mask,
        status=str(_status(reached)),
        n_requested=requested,
        m_model=np.array([m_model]),
        m_circuit=np.array([reached * m_model]),
        curve_n_requested=sizes,
        curve_n_edges=n_edges,
        curve_metric=(found * m_model)[:, None],
    )


def _requested(circuit: Circuit, cuts: Sequence[Circuit], sizes: Int[ndarray, " size"]) -> int:
    """Return the smallest size whose circuit is most like theirs; without sizes, its own."""
    if not cuts:
        return circuit.n_edges
    both = np.array([(one.mask & circuit.mask).sum() for one in cuts])
    either = np.array([(one.mask | circuit.mask).sum() for one in cuts])
    return int(sizes[(both / np.maximum(either, 1)).argmax()])


def _status(faithfulness: float) -> Status:
    """Return what the search of the paper would say; an unknown faithfulness was not reached."""
    if not faithfulness >= THRESHOLD:
        return Status.NOT_REACHED
    return Status.OVERSHOOT if faithfulness > OVERSHOOT else Status.OK


def _how(metric: str) -> dict[str, Any]:
    """Return how the circuits of the paper were found."""
    return {
        "metric": metric,
        "method": str(Method.EAP_IG_INPUTS),
        "ig_steps": 30,
        "ig_rule": str(IgRule.LEFT),
        "selection": str(Selection.GREEDY),
        "threshold": THRESHOLD,
        "faithfulness": str(Faithfulness.RAW),
    }


_UNTESTED = (
    *("win_share", "p_equivalence", "p_independence", "incompleteness", "incompleteness_empty"),
)
"""Numbers of a record that tests of its circuits give."""


def _without_prompts(n_sizes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields of a record that the files say nothing about."""
    none = np.zeros(0, dtype=np.int64)
    ends = (
        *("m_model", "f_raw", "f_raw_held_out", "n_edges"),
        *("win_share", "f_complement", "incompleteness"),
    )
    rows = ("seed", "n_requested", "n_edges")
    return {
        **{f"{name}_{end}": _NOTHING for name in ends for end in ("low", "high")},
        **{f"ranking_{name}": none for name in rows},
        "ranking_name": (),
        "ranking_fraction": np.zeros(0),
        "ranking_metric": np.zeros((0, 1)),
        "ranking_held_out": none.astype(bool),
        "n_eliminated": None,
        "m_corrupted": np.full(1, _NOTHING),
        "group_of_prompt": np.zeros(1, dtype=np.int64),
        "m_held_out": np.full(1, _NOTHING),
        "held_out_status": str(HeldOutStatus.NO_HALVES),
        "certificate_status": str(CertificateStatus.NO_HALVES),
        "m_complement": np.full(1, _NOTHING),
        **{f"knockout_{name}": none for name in ("half", "source", "target")},
        **{f"knockout_{name}": np.zeros(0) for name in ("effect", "p")},
        **dict.fromkeys(_UNTESTED, _NOTHING),
        "curve_held_out": np.full((n_sizes, 1), _NOTHING),
        "half_of_prompt": np.full(1, -1, dtype=np.int8),
        "half_seed": None,
        "half_scores": np.zeros((0, *shape), dtype=np.float32),
        "half_in_circuit": np.zeros((0, *shape), dtype=bool),
        "half_status": (),
        "split_seed": None,
        "split_sizes": none,
        "split_overlap": np.zeros((0, 0, len(Level), len(Weighting)), dtype=np.float32),
        "split_rank_correlation": np.zeros(0, dtype=np.float32),
    }
