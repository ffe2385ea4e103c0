"""Made-up tables about circuits over training, to go with those of the conftest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from circuitlapse.schemas import STABILITY
from tests.unit.figures.conftest import TOKENS_PER_STEP

HOW = {"method": "eap_ig_inputs", "ig_steps": 5, "variant": ""}
ALPHA = 0.5


def _overlap(draw: np.random.Generator, level: float, *, same: bool) -> float:
    return 1.0 if same else float(np.clip(level + draw.normal(scale=0.1), 0, 1))


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
            ("reference", [(step, last) for step in circuits], 0.5),
            ("halves", [(step, step) for step in circuits], 0.7),
        ):
            for of in ("node", "edge"):
                for weighting in ("none", "abs"):
                    values = [
                        _overlap(
                            draw, level - 0.1 * (of == "edge"), same=kind == "reference" and a == b
                        )
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
                            | {"jaccard": value, "alpha": ALPHA, "unit": "share"}
                            | {"ewma": smooth if kind == "consecutive" else np.nan}
                            | {"size": 40, "size_next": 50}
                        )
    return STABILITY.cast(pd.DataFrame(rows, columns=list(STABILITY.columns)))
