"""Made-up tables that look like a training run: abilities appear one after the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from circuitlapse.circuits.rankings import FRACTIONS
from circuitlapse.schemas import (
    BEHAVIOUR,
    CERTIFICATE_NUMBERS,
    CIRCUIT_SUMMARY,
    EDGES_TESTED,
    FAITHFULNESS_CURVE,
    RANKING_CURVE,
)

TOKENS_PER_STEP = 2_097_152
STEPS = (0, 1, 8, 64, 128, 256, 512, 1000, 2000, 4000, 8000, 16000, 33000, 66000, 143000)
LABELS = {"small": "Small (0.1 M)", "medium": "Medium (0.4 M)", "large": "Large (1 M)"}
TASKS = ("ioi", "gendered_pronoun", "greater_than", "sva")
METRICS = {"ioi": "logit_diff", "gendered_pronoun": "logit_diff"}
UNITS = {"logit_diff": "logits", "prob_diff": "probability"}


def common(model: str, task: str, step: int) -> dict[str, object]:
    metric = METRICS.get(task, "prob_diff")
    return {
        "model": model,
        "variant": "",
        "step": step,
        "tokens": step * TOKENS_PER_STEP,
        "task": task,
        "metric": metric,
        "unit": UNITS[metric],
        "n": 200,
    }


def level(model: str, task: str, step: int, *, noise: float = 0.0) -> float:
    """A metric that rises from zero; later for IOI, higher for the larger models."""
    size, place = list(LABELS).index(model), (*TASKS, task).index(task)
    top = (2.0 + size) if task in METRICS else 0.4 + 0.15 * size
    onset = (9000, 400, 2500, 1200, 1000)[place] / (1 + 0.5 * size)
    return top / (1 + (onset / max(step, 1)) ** 2) + top * noise


def make_behaviour(*, models=tuple(LABELS), tasks=TASKS, steps=STEPS) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = []
    for model in models:
        for task in tasks:
            for step in steps:
                value = level(model, task, step, noise=draw.normal(scale=0.02))
                se = 0.04 * level(model, task, 143000)
                rows.append(
                    common(model, task, step)
                    | {
                        "value": value,
                        "se": se,
                        "ci_low": value - 2 * se,
                        "ci_high": value + 2 * se,
                    }
                    | {"value_corrupted": -value, "accuracy": 0.9, "rank0": 0.5}
                    | {
                        "answer_prob": 0.6,
                        "prepend_bos": False,
                        "dtype": "float32",
                        "data_seed": 0,
                        "n_parameters": 9,
                        "checkpoint": "ok",
                    }
                )
    return BEHAVIOUR.cast(pd.DataFrame(rows))


def make_summary(*, models=tuple(LABELS), tasks=TASKS, steps=STEPS[3:]) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    rows = []
    for model in models:
        for task in tasks:
            for step in steps:
                m_model = level(model, task, step)
                status, f_raw = "ok", 0.83 + 0.1 * draw.random()
                if m_model < 0.05 * level(model, task, 143000):
                    status, f_raw = "no_behaviour", np.nan
                elif draw.random() < 0.08:
                    status, f_raw = "overshoot", 1.25 + 0.3 * draw.random()
                elif draw.random() < 0.12:
                    status, f_raw = "not_reached", 0.4 + 0.35 * draw.random()
                size = int(40 * np.exp(0.8 * list(LABELS).index(model) + draw.normal(scale=0.5)))
                n_edges = None if status == "no_behaviour" else size
                rows.append(
                    common(model, task, step)
                    | {"method": "eap_ig_inputs", "ig_steps": 5, "n_requested": n_edges}
                    | {"ig_rule": "left", "selection": "greedy", "threshold": 0.8}
                    | {"faithfulness": "raw", "f_raw_empty": -1.0}
                    | {
                        f"n_edges_{end}": np.nan if n_edges is None else n_edges * by
                        for end, by in (("low", 0.8), ("high", 1.3))
                    }
                    | {"n_edges": n_edges, "n_nodes": n_edges, "n_edges_total": 3580}
                    | {"n_eliminated": 0}
                    | {"edge_fraction": np.nan if n_edges is None else n_edges / 3580}
                    | {"m_model": m_model, "m_model_low": m_model, "m_model_high": m_model}
                    | {"m_corrupted": -m_model, "m_circuit": f_raw * m_model, "f_raw": f_raw}
                    | {"f_raw_low": f_raw - 0.1, "f_raw_high": f_raw + 0.1}
                    | {"f_norm": (f_raw + 1) / 2, "status": status, "f_raw_held_out": f_raw - 0.02}
                    | {"f_raw_held_out_low": f_raw - 0.13, "f_raw_held_out_high": f_raw + 0.08}
                    | {"held_out_status": "no_behaviour" if n_edges is None else "ok"}
                    | {"certificate_status": "no_behaviour" if n_edges is None else "ok"}
                    | dict.fromkeys(CERTIFICATE_NUMBERS, np.nan if n_edges is None else 0.5)
                    | {"q_minimality": np.nan if n_edges is None else 0.01}
                    | dict.fromkeys(EDGES_TESTED, n_edges)
                    | {"checkpoint": "ok"}
                )
    return CIRCUIT_SUMMARY.cast(pd.DataFrame(rows))


def make_curve(*, models=tuple(LABELS), tasks=TASKS, steps=(66000, 143000)) -> pd.DataFrame:
    draw = np.random.default_rng(2)
    rows = []
    for model in models:
        for task in tasks:
            for step in steps:
                half = 15 * 2 ** list(LABELS).index(model)
                for n_requested in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610):
                    f_raw = 2 / (1 + half / n_requested) - 1 + draw.normal(scale=0.03)
                    rows.append(
                        common(model, task, step)
                        | {"method": "eap_ig_inputs", "ig_steps": 5, "n_requested": n_requested}
                        | {"n_edges": n_requested - 1, "m_circuit": f_raw, "f_raw": f_raw}
                        | {"f_norm": (f_raw + 1) / 2, "f_raw_held_out": f_raw - 0.03}
                    )
    return FAITHFULNESS_CURVE.cast(pd.DataFrame(rows))


def make_rankings(curve: pd.DataFrame) -> pd.DataFrame:
    """Circuits of fixed shares of the edges; random ones do the task only when nearly all is in."""
    n_total, draw = 3580, np.random.default_rng(3)
    rows = []
    for _, one in curve[["model", "task", "step"]].drop_duplicates().iterrows():
        for ranking, seed, half in (
            ("signed", pd.NA, 0.02),
            ("random", 1, 0.6),
            ("random", 2, 0.7),
        ):
            for fraction in FRACTIONS:
                n_edges = int(fraction * n_total * (1 if ranking == "signed" else fraction**0.3))
                f_raw = 2 / (1 + (half / fraction) ** 3 * (1 - fraction)) - 1
                rows.append(
                    common(one["model"], one["task"], one["step"])
                    | {"method": "eap_ig_inputs", "ig_steps": 5, "ranking": ranking, "seed": seed}
                    | {"fraction": fraction, "n_requested": int(fraction * n_total)}
                    | {"n_edges": n_edges, "m_circuit": f_raw, "f_norm": (f_raw + 1) / 2}
                    | {"f_raw": f_raw + draw.normal(scale=0.02), "held_out": True}
                )
    return RANKING_CURVE.cast(pd.DataFrame(rows))


@pytest.fixture
def rankings(curve) -> pd.DataFrame:
    return make_rankings(curve)


@pytest.fixture
def behaviour() -> pd.DataFrame:
    return make_behaviour()


@pytest.fixture
def summary() -> pd.DataFrame:
    return make_summary()


@pytest.fixture
def curve() -> pd.DataFrame:
    return make_curve()


@pytest.fixture
def labels() -> dict[str, str]:
    return LABELS


@pytest.fixture
def tasks() -> tuple[str, ...]:
    return TASKS


@pytest.fixture
def own_tasks() -> tuple[str, ...]:
    """The built-in tasks, and two of a user's with names as long as they come."""
    return (*TASKS, "ioi_bos", "a_long_name_for_prompts_that_test_subjectverbagreementinonerun")


@pytest.fixture
def long_labels() -> dict[str, str]:
    return {model: f"{label}, deduplicated text, run 2" for model, label in LABELS.items()}


def texts_of(figure: Figure) -> list[Text]:
    """Every text that a reader sees: around and in the panels, in the legend."""
    figure.draw_without_rendering()
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        if axes.get_visible():
            found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            if key := axes.get_legend():
                found += [key.get_title(), *key.get_texts()]
            found += [label for axis in (axes.xaxis, axes.yaxis) for label in tick_labels(axis)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def tick_labels(axis: Axis) -> list[Text]:
    """The labels of the ticks that lie inside the axis."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]


@pytest.fixture
def check_print():
    """Whether a figure can be printed: text large enough, inside, and not on other text."""

    def check(figure: Figure) -> None:
        texts = texts_of(figure)
        boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in texts]
        assert min(text.get_fontsize() for text in texts) >= 7
        for index, (name, box) in enumerate(boxes):
            assert figure.bbox.padded(1).contains(box.x0, box.y0), name
            assert figure.bbox.padded(1).contains(box.x1, box.y1), name
            for other, other_box in boxes[index + 1 :]:
                assert not box.overlaps(other_box), f"{name!r} overlaps {other!r}"

    return check


@pytest.fixture
def drawn_line():
    """The finite points of the line that a panel draws under a model's label."""

    def line(axes: Axes, label: str) -> np.ndarray:
        (found,) = [line for line in axes.lines if line.get_label() == label]
        points = np.asarray(found.get_xydata(), dtype=float)
        return points[np.isfinite(points).all(axis=1)]

    return line


@pytest.fixture
def pick():
    """The rows of a table in which columns have given values."""

    def rows(table: pd.DataFrame, **values: object) -> pd.DataFrame:
        return table[np.logical_and.reduce([table[name] == v for name, v in values.items()])]

    return rows
