"""Made-up tables of heads that look like a training run: each head rises at its own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from circuitlapse.schemas import COMPONENTS, S2I
from tests.unit.figures.conftest import STEPS, TOKENS_PER_STEP

SIZES = {"small": (3, 4), "medium": (4, 4), "large": (4, 6)}
"""Layers and heads of each model."""
CHANCE = {"induction": 0.0069, "duplicate": 0.0069, "prev_token": 0.0245, "succession": 0.03}
N = {"succession": 288, "cspa": 17 * 61, "copy": 210, "attn_io": 70, "attn_s1": 70}
TOP = {"succession": 0.7, "cspa": 0.3, "copy": 90.0, "attn_io": 0.6, "attn_s1": 0.15}
UNITS = {"copy": "percent"}
FLIPS = ("same_opposite", "opposite_same")


def make_components(
    *, sizes: Mapping[str, tuple[int, int]] = SIZES, steps: Sequence[int] = STEPS
) -> pd.DataFrame:
    """Of every score a few heads rise, the others stay low; cspa of some falls below zero."""
    return COMPONENTS.cast(
        pd.concat(
            _of_score(model, score, heads, steps)
            for model, (layers, n) in sizes.items()
            for heads in [list(product(range(layers), range(n)))]
            for score in (*CHANCE, "cspa", "copy", "attn_io", "attn_s1")
        ).assign(low=np.nan, high=np.nan)
    )


def _of_score(model: str, score: str, heads: list[tuple[int, int]], steps) -> pd.DataFrame:
    draw = np.random.default_rng(abs(hash_of(f"{model} {score}")))
    task = "ioi" if score in ("cspa", "copy", "attn_io", "attn_s1") else "greater_than"
    top = TOP.get(score, 0.9) * draw.random(len(heads)) ** 4
    onset = 10 ** draw.uniform(2, 4.5, len(heads))
    frames = []
    for step in steps:
        value = top / (1 + (onset / max(step, 1)) ** 3) * draw.normal(1, 0.03, len(heads))
        value += CHANCE.get(score, 0.0) * draw.normal(1, 0.1, len(heads))
        value += 0.03 if score.startswith("attn") else 0
        if score == "cspa":
            value -= 0.5 * (draw.random(len(heads)) < 0.01)
            value[: len(heads) // 2] = np.nan
        status = np.where(np.isnan(value), "skipped", "ok")
        inside = draw.random(len(heads)) < 0.2 + 0.6 * top / top.max()
        frame = pd.DataFrame(heads, columns=["layer", "head"])
        frame["in_circuit"] = pd.array(inside if step >= 256 else [pd.NA] * len(heads), "boolean")
        here = {"step": step, "tokens": step * TOKENS_PER_STEP, "value": value, "status": status}
        frames.append(frame.assign(**here))
    whole = {"model": model, "variant": "", "task": task, "score": score}
    unit = UNITS.get(score, "share")
    return pd.concat(frames).assign(**whole, unit=unit, n=N.get(score, 10))


def hash_of(text: str) -> int:
    """The same number in every process, unlike `hash`."""
    return sum(ord(letter) * 31**at for at, letter in enumerate(text)) % 2**32


def make_s2i(components: pd.DataFrame, *, from_step: int = 1000) -> pd.DataFrame:
    """Of the circuit's heads below the top layer, tested from the first name movers on."""
    tested = components[(components["score"] == "attn_io") & components["in_circuit"].fillna(False)]
    tested = tested[(tested["step"] >= from_step) & (tested["layer"] < 3)]
    draw = np.random.default_rng(5)
    frames = []
    for flip in FLIPS:
        fall = draw.random(len(tested)) ** 3 * np.log10(tested["step"]) / 5
        changes = {"d_logit_diff": -fall, "d_attn_io": -0.8 * fall, "d_attn_s1": 1.5 * fall}
        frames.append(tested.assign(flip=flip, d_attn_s2=0.05 * fall, **changes))
    passed = dict.fromkeys(("by_position", "by_token", "is_s2i"), True)
    ends = {"d_logit_diff_low": np.nan, "d_logit_diff_high": np.nan}
    return S2I.cast(pd.concat(frames).assign(unit="relative change", **passed, **ends))
