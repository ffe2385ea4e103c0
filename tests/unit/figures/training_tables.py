"""Made-up tables about circuits over training, to go with those of the conftest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd

from circuitlapse.schemas import SIZE_CORRELATION, STABILITY, TRANSFER
from tests.unit.figures.conftest import METRICS, TOKENS_PER_STEP, UNITS

HOW = {"method": "eap_ig_inputs", "ig_steps": 5, "variant": ""}
ALPHA = 0.5


def _overlap(draw: np.random.Generator, level: float) -> float:
    return float(np.clip(level + draw.normal(scale=0.1), 0, 1))


def make_stability(summary: pd.DataFrame) -> pd.DataFrame:
    """Overlaps of the circuits in a table `circuit_summary`; NaN where one has none."""
    draw = np.random.default_rng(4)
    rows = []
    for (model, task), group in summary.groupby(["model", "task"], sort=False):
        circuits = {
            step: pd.notna(n) for step, n in zip(group["step"], group["n_edges"], strict=True)
        }
        last = max(circuits)
        for kind, pairs, level in (
            ("consecutive", list(pairwise(circuits)), 0.8),
            ("reference", [(step, last) for step in circuits if step != last], 0.5),
            ("halves", [(step, step) for step in circuits], 0.7),
        ):
            for of in ("node", "edge"):
                for weighting in ("none", "abs"):
                    values = [
                        _overlap(draw, level - 0.1 * (of == "edge"))
                        if circuits[a] and circuits[b]
                        else np.nan
                        for a, b in pairs
                    ]
                    ewma = pd.Series(values, dtype=float).ewm(alpha=ALPHA, adjust=False).mean()
                    for (step, step_next), value, smooth in zip(pairs, values, ewma, strict=True):
                        rows.append(
                            HOW
                            | {"model": model, "task": task, "step": step}
                            | {"tokens": step * TOKENS_PER_STEP, "step_next": step_next}
                            | {"comparison": kind, "level": of, "weighting": weighting}
                            | {"jaccard": value, "unit": "share"}
                            | {"alpha": ALPHA if kind == "consecutive" else np.nan}
                            | {"ewma": smooth if kind == "consecutive" else np.nan}
                            | {"size": 40, "size_next": 50, "size_matched": 45}
                            | _at_one_size(kind, value)
                        )
    return STABILITY.cast(pd.DataFrame(rows, columns=list(STABILITY.columns)))


def _at_one_size(kind: str, value: float) -> dict[str, object]:
    """Return the columns about circuits of one size, with a noise floor from 0.6 to 0.7."""
    if kind == "halves":
        nothing = dict.fromkeys(MATCHED, np.nan)
        floor = {"floor_low": 0.6, "floor_median": 0.7} if value == value else {}
        return nothing | {"changed": pd.NA} | floor
    known = {"floor_low": 0.6, "floor_median": 0.7, "jaccard_matched": value}
    known |= {"jaccard_chance": 0.1, "jaccard_corrected": (value - 0.1) / 0.9}
    known |= {"rank_correlation": 0.9, "changed": value < 0.6}
    return known if value == value else dict.fromkeys(MATCHED, np.nan) | {"changed": pd.NA}


MATCHED = (
    *("jaccard_matched", "jaccard_chance", "jaccard_corrected", "rank_correlation"),
    *("floor_low", "floor_median"),
)


def make_transfer(summary: pd.DataFrame) -> pd.DataFrame:
    """Circuits of a table `circuit_summary` at other steps, and at the last step on other tasks.

    A circuit does worse the further away the step is, and badly on another task.
    """
    draw = np.random.default_rng(5)
    circuits = summary.set_index(["model", "task", "step"])["n_edges"].to_dict()
    last = summary.groupby("model")["step"].max().to_dict()
    rows = []
    for (model, circuit_task, found), n_edges in circuits.items():
        for (other, task, run), behaviour in circuits.items():
            at_the_end = found == run == last[model]
            if other != model or (task != circuit_task and not at_the_end):
                continue
            status = "no_circuit" if pd.isna(n_edges) else "ok"
            status = "no_behaviour" if pd.isna(behaviour) else status
            value = 0.95 - 0.25 * abs(np.log10((found + 1) / (run + 1))) + draw.normal(scale=0.05)
            value = value if task == circuit_task else 0.4 * draw.normal()
            f_raw = value if status == "ok" else np.nan
            rows.append(
                HOW
                | {"model": model, "task": task, "step": run, "tokens": run * TOKENS_PER_STEP}
                | {"control": "own", "circuit_model": model, "circuit_variant": "", "draw": -1}
                | {"circuit_task": circuit_task, "circuit_step": found, "n_edges": n_edges}
                | {"metric": (metric := METRICS.get(task, "prob_diff")), "unit": UNITS[metric]}
                | {"m_model": 1.0, "m_corrupted": -1.0, "m_circuit": f_raw}
                | {"f_raw": f_raw, "f_norm": (f_raw + 1) / 2, "n": 200, "status": status}
            )
    return TRANSFER.cast(pd.DataFrame(rows, columns=list(TRANSFER.columns)))


def make_correlation(*, tasks: Sequence[str], min_step: int = 1000) -> pd.DataFrame:
    """Correlations that differ between all rows."""
    rows = [
        {"task": task, "level": level, "x": x, "n": 3, "n_steps": 4, "unit": "correlation"}
        | {"r": 0.9 - 0.1 * place, "p": 0.02 * (place + 1), "min_step": min_step}
        for place, (task, level, x) in enumerate(
            product(tasks, ("edge", "node"), ("params", "log_params"))
        )
    ]
    return SIZE_CORRELATION.cast(pd.DataFrame(rows, columns=list(SIZE_CORRELATION.columns)))


def with_seeds(table: pd.DataFrame, column: str, *, of: str, n_seeds: int) -> pd.DataFrame:
    """Add models like `of` whose values of `column` are 10, 20, ... % larger."""
    others = []
    for seed in range(1, n_seeds):
        other = table[table["model"] == of].assign(model=f"{of}-seed{seed}")
        dtype = table[column].dtype
        scaled = (other[column].astype("Float64") * (1 + 0.1 * seed)).round(6)
        others.append(other.assign(**{column: (scaled.round() if dtype == "Int32" else scaled)}))
    return pd.concat([table, *others], ignore_index=True).astype(table.dtypes)
