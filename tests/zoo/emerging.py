"""Models of three sizes in which a task and a component emerge at known times.

They are those of `tests.planted_ioi`, without distractors. "Size" is only a number that they carry.

    task       the gains of all name movers rise together, from 0 to what they are, along a sigmoid
               in the logarithm of the tokens. The logit difference is proportional to them, so it
               is at half of its rise where the sigmoid is 1/2
    component  a1.h0 attends one place back and writes nothing. Its scores rise from 0 to STRENGTH
               along a sigmoid that comes earlier. With a score of s its attention at query p is
               e^s / (e^s + p); the mean over queries says where the half level is
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from circuitlapse import load_decoder
from circuitlapse.models.activations import end_logits_of
from circuitlapse.models.batching import AUTOMATIC
from circuitlapse.models.metrics import metric_by_group
from circuitlapse.schemas import BEHAVIOUR_BY_GROUP
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.tables.emergence import EmergenceTables, emergence_tables
from circuitlapse.types import RoleRule
from tests.planted_ioi import (
    MOVERS,
    PLACE,
    ROOT,
    head_weights,
    plant_mover,
    save_planted_ioi,
)
from tests.zoo.changes import LENGTHS, repeated
from tests.zoo.ioi import ioi_pairs

SIZES = {"small": 1_000_000, "medium": 4_000_000, "large": 16_000_000}
"""Names of the models and their numbers of parameters."""
TOKENS = (0, *(1000 * 2**k for k in range(3, 10)))
HALF, SLOPE, LAG = 60_000, -0.3, -0.4
"""Tokens at the half level of the task in the medium model; how the logarithms of tokens and
parameters go together; and how much earlier the sigmoid of the component is, in log10 tokens."""
STEEPNESS, STRENGTH, PREVIOUS = 4.0, 5.0, (1, 0)
BOOTSTRAP = Bootstrap(samples=200)


def risen(tokens: float, half: float) -> float:
    """Return how much of a rise has come, 0 to 1."""
    return 1 / (1 + (half / tokens) ** STEEPNESS) if tokens else 0.0


@dataclass(frozen=True)
class Emerging:
    """A model over training; its name is in `SIZES`."""

    name: str

    @property
    def task_half(self) -> float:
        """Tokens at the half level of the task."""
        return HALF * (SIZES[self.name] / SIZES["medium"]) ** SLOPE

    @property
    def sigmoid_half(self) -> float:
        """Tokens at the middle of the component's sigmoid."""
        return self.task_half * 10**LAG

    @property
    def component_half(self) -> float:
        """Tokens at the half level of the component."""
        first, last = (attention_back(self._strength(tokens)) for tokens in (0, TOKENS[-1]))

        def above(tokens):
            return attention_back(self._strength(tokens)) - (first + last) / 2

        return brentq(above, TOKENS[1] / 10, TOKENS[-1])

    def _strength(self, tokens: float) -> float:
        return STRENGTH * risen(tokens, self.sigmoid_half)

    def save(self, folder: Path, tokens: int) -> Path:
        """Save the model after so many tokens."""

        def plant(model):
            for at, gain in MOVERS.items():
                plant_mover(model, at, gain * risen(tokens, self.task_half))
            plant_previous(model, self._strength(tokens))

        return save_planted_ioi(folder, more=plant)


def plant_previous(model, strength):
    """Plant a head whose attention scores one place back are `strength`, and 0 elsewhere."""
    into, _, _ = head_weights(model, PREVIOUS)
    n = len(PLACE) - 1
    into[:, 0, :n] = strength * ROOT * PLACE[1:].T
    into[:, 1, :n] = ROOT * PLACE[:-1].T


def attention_back(strength: float) -> float:
    """Return the mean attention to the place before, as `prev_token` measures it."""
    return min(
        np.mean([math.exp(strength) / (math.exp(strength) + p) for p in range(1, 2 * length)])
        for length in LENGTHS
    )


def measure() -> EmergenceTables:
    """Measure all models at all steps, and find when task and component emerge."""
    by_group, components = [], []
    for name in SIZES:
        for step, tokens in enumerate(TOKENS):
            with TemporaryDirectory() as folder:
                model = load_decoder(Emerging(name).save(Path(folder), tokens))
            place = {"model": name, "variant": "", "step": step, "tokens": tokens, "task": "ioi"}
            logits = end_logits_of(model, ioi_pairs(), side="clean", limits=AUTOMATIC)
            means = pd.DataFrame(metric_by_group(logits, ioi_pairs(), metric="logit_diff"))
            means = means.assign(**place, metric="logit_diff", unit="logits")
            by_group.append(BEHAVIOUR_BY_GROUP.cast(means))
            components.append(_previous_token(model).assign(**place))
    return emergence_tables(
        by_group,
        behaviour=pd.DataFrame({"model": [*SIZES], "n_parameters": [*SIZES.values()]}),
        components=pd.concat(components),
        models=[*SIZES],
        tasks=["ioi"],
        bootstrap=BOOTSTRAP.model_dump(),
        lengths=LENGTHS,
        role_rule=RoleRule.CONTROLLED,
        variants={model: [model] for model in SIZES},
        task_of_builder={"ioi": "ioi"},
    )


def _previous_token(model) -> pd.DataFrame:
    value = np.minimum.reduce([repeated(model, length) for length in LENGTHS])[1]
    layer, head = np.indices(value.shape).reshape(2, -1)
    frame = {"score": "prev_token", "layer": layer, "head": head, "value": value.ravel()}
    return pd.DataFrame(frame | {"n": 10})


def against_truth(found: EmergenceTables) -> pd.DataFrame:
    """Return a row per half level, slope and lag: what was found, its interval, and the truth."""
    rows = []
    for row in found.emergence.itertuples():
        model = Emerging(row.model)
        truth = model.task_half if row.kind == "task" else model.component_half
        ends = (row.tokens_half_low, row.tokens_half_high)
        rows.append((row.model, f"tokens, {row.name}", truth, row.tokens_half, *ends))
    lag = np.mean([math.log10(m.component_half / m.task_half) for m in map(Emerging, SIZES)])
    times = [math.log10(Emerging(name).component_half) for name in SIZES]
    slopes = {"ioi": SLOPE, "prev_token": np.polyfit(np.log10([*SIZES.values()]), times, 1)[0]}
    for row in found.emergence_trends.itertuples():
        truth = slopes[row.name] if row.trend == "slope" else lag
        rows.append(("all", f"{row.trend}, {row.name}", truth, row.value, row.low, row.high))
    return pd.DataFrame(rows, columns=["model", "what", "truth", "found", "low", "high"])
