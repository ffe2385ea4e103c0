"""Whether the statistics over training find a change that is known, at the right step.

Three kinds of statistics report a change between neighbouring steps:

- `stability`: the overlap of circuits of one size is below the noise floor (`tables.stability`), at
  each level and weighting;
- `turnover`: the overlap of the heads of some role is below its noise floor (`tables.turnover`);
- `roles`: an edge of the graph of roles has another effect: what the heads of one role do to those
  of another, together, whichever heads these are.

A hand-over changes heads and not roles; a rival algorithm changes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from circuitlapse import PromptPairs, load_decoder
from circuitlapse.circuits.discovery import Discovery, discover_circuit, record_of
from circuitlapse.heads.algorithm import IoiAlgorithm, trace_ioi
from circuitlapse.heads.repeated_tokens import diagonal_means
from circuitlapse.heads.scoring import score_heads
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.forward import embed_tokens, run_layers
from circuitlapse.schemas import HEAD_SCORES, ROLE_SPLITS, ROLES
from circuitlapse.settings.analysis import Bootstrap, Circuits, Stability
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.tables.stability import stability_table
from circuitlapse.tables.turnover import turnover_table
from circuitlapse.types import Comparison
from tests.planted_ioi import N_NAMES
from tests.zoo.ioi import ioi_pairs
from tests.zoo.lapses import Lapse

CIRCUITS = Circuits(ig_steps=5, random_circuits=0, max_fraction=0.1, min_cap=80, certificates=False)
BOOTSTRAP = Bootstrap(samples=100)
LENGTHS = (2, 3)
"""Names in the sequences that induction and duplicate are measured with; there are 6 places."""
EDGE_CHANGE = 0.25
"""A larger change of an effect between roles is reported; 1 is the drop to the corrupted level."""


class AtStep(NamedTuple):
    """What is measured of a model at one step."""

    circuit: Discovery
    algorithm: IoiAlgorithm


@dataclass(frozen=True, eq=False)
class Measured:
    """A model over training, and what was measured at each step."""

    lapse: Lapse
    at: Mapping[int, AtStep]


def measure(
    lapse: Lapse, steps: Sequence[int], *, seed: int = 0, pairs: PromptPairs | None = None
) -> Measured:
    """Find the circuit of every step, and trace the algorithm; by default on all prompts."""
    pairs = ioi_pairs() if pairs is None else pairs
    return Measured(lapse, {step: _at_step(lapse, step, pairs, seed) for step in steps})


def _at_step(lapse: Lapse, step: int, pairs: PromptPairs, seed: int) -> AtStep:
    with TemporaryDirectory() as folder:
        model = load_decoder(lapse.save(Path(folder), step, seed=seed))
    found = discover_circuit(
        model,
        pairs,
        activations=cache_activations(model, pairs),
        metric="logit_diff",
        settings=CIRCUITS,
        bootstrap=BOOTSTRAP,
    )
    algorithm = trace_ioi(
        model,
        pairs,
        scores=head_scores(model),
        circuit=found.circuit,
        bootstrap=BOOTSTRAP,
        seed=0,
        lengths=LENGTHS,
        edge_scores=found.scores.values,
    )
    return AtStep(found, algorithm)


def head_scores(model) -> pd.DataFrame:
    """Return the scores that roles depend on.

    Attention scores are measured on names alone, as the planted heads know no other tokens;
    there is no text for copy suppression.
    """
    copying = score_heads(model, scores=("copy", "copy_neg"), pairs=ioi_pairs())
    means = [repeated(model, length) for length in LENGTHS]
    induction, previous, duplicate = np.minimum.reduce(means)
    layer, head = np.indices(induction.shape).reshape(2, -1)
    place = {"layer": layer, "head": head, "n": len(ioi_pairs()), "status": "ok"}
    values = {"induction": induction, "prev_token": previous, "duplicate": duplicate}
    values["cspa"] = np.zeros(induction.shape)
    others = [
        pd.DataFrame(place | {"score": name, "value": value.ravel(), "low": np.nan, "high": np.nan})
        for name, value in values.items()
    ]
    return HEAD_SCORES.cast(pd.concat([copying, *others], ignore_index=True))


@torch.no_grad()
def repeated(model, length: int) -> np.ndarray:
    """Return induction, previous token and duplicate, [score, layer, head]."""
    names = torch.combinations(torch.arange(N_NAMES), length)
    layers = run_layers(model, embed_tokens(model, torch.cat([names, names], 1)))
    parts = [diagonal_means(layer.pattern, length=length).mean(1) for layer in layers]
    return torch.stack(parts, 1).numpy()


def _places(measured: Measured) -> dict[int, dict[str, Any]]:
    """Return the columns that say which model and step."""
    own = {"model": measured.lapse.name, "variant": "", "task": "ioi"}
    return {step: own | {"step": step, "tokens": 1000 * step} for step in measured.at}


def stability_and_turnover(measured: Measured) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of these names; of stability, the rows that compare neighbouring steps."""
    places, at = _places(measured), measured.at
    how: dict[str, Any] = {"metric": "logit_diff", "settings": CIRCUITS, "bootstrap": BOOTSTRAP}
    records = [record_of(at[step].circuit, **places[step], **how) for step in at]
    models = [measured.lapse.name]
    order: dict[str, Any] = {"models": models, "tasks": ["ioi"]}
    summary = circuit_tables(iter(records), **order).circuit_summary
    settings = Stability(min_step=0).model_dump(mode="json")
    stability = stability_table(
        iter(records), circuit_summary=summary, originals=models, stability=settings, **order
    )
    roles = [at[step].algorithm.roles.assign(**places[step]) for step in at]
    turnover = turnover_table(
        [ROLE_SPLITS.cast(at[step].algorithm.role_splits.assign(**places[step])) for step in at],
        roles=ROLES.cast(pd.concat(roles)),
        circuit_summary=summary,
        models=models,
        task_of_builder={"ioi": "ioi"},
    )
    return stability[stability["comparison"] == Comparison.CONSECUTIVE], turnover


def role_edges(algorithm: IoiAlgorithm) -> pd.Series:
    """Return the effect of every edge of the graph of roles; 0 where there are no such heads."""
    return algorithm.role_graph.set_index(["source", "target", "port"])["effect"].fillna(0.0)


def reported(measured: Measured) -> dict[str, dict[int, bool]]:
    """Return, for each statistic, the steps before which it reports a change, or not.

    A statistic that is not defined for a step says nothing of it.
    """
    stability, turnover = stability_and_turnover(measured)
    found = {
        f"stability, {level}, {weighting}": _by_step(rows)
        for (level, weighting), rows in stability.groupby(["level", "weighting"])
    }
    found["turnover"] = _by_step(turnover)
    edges = {step: role_edges(at.algorithm) for step, at in measured.at.items()}
    found["roles"] = {
        step: bool((edges[step] - edges[before]).abs().max() > EDGE_CHANGE)
        for before, step in pairwise(edges)
    }
    return found


def _by_step(rows: pd.DataFrame) -> dict[int, bool]:
    """Return whether any of the rows of a step reports a change."""
    known = rows.dropna(subset="changed").groupby("step_next")["changed"].any()
    return {int(step): bool(changed) for step, changed in known.items()}


def verdicts(measured: Measured) -> pd.DataFrame:
    """Return a row per statistic: what it reports, and whether that is right.

    - `hits`: reported, of the steps before which something planted changes;
    - `error`: steps between the change and the report closest to it;
    - `false_alarms`: reported, of the steps before which nothing changes.
    """
    rows = []
    for name, steps in reported(measured).items():
        true = [step for step in steps if measured.lapse.changes_before(step)]
        alarms = [step for step, says in steps.items() if says]
        middle = np.mean(true) if true else np.nan
        rows.append(
            {
                "model": measured.lapse.name,
                "statistic": name,
                "defined": len(steps),
                "hits": len(set(alarms) & set(true)),
                "n_true": len(true),
                "error": min((abs(step - middle) for step in alarms if true), default=np.nan),
                "false_alarms": len(set(alarms) - set(true)),
                "n_false": len(steps) - len(true),
            }
        )
    return pd.DataFrame(rows)
