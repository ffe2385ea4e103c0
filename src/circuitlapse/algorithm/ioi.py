"""The IOI algorithm, traced from its end: name movers, S-inhibition, induction and duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.algorithm.base import (
    AlgorithmStatus,
    Effects,
    IoiAlgorithm,
    Panel,
    Thresholds,
)
from circuitlapse.algorithm.case import SCORES, Case, refuse_other_graph, shape_of, values_of
from circuitlapse.algorithm.tables import tables_of
from circuitlapse.faithfulness import does_the_task
from circuitlapse.path_patching import PatchedPaths
from circuitlapse.prompts import PromptPairs
from circuitlapse.selection import Circuit
from circuitlapse.statistics import Bootstrap
from circuitlapse.types import Metric


class _Step(NamedTuple):
    panel: str
    """Its name in `algorithm_consistency`."""
    score: str
    """The name of its effects."""


DIRECT, S2I = _Step("direct", "e_logits"), _Step("s2i", "e_nm_q")
TERTIARY = _Step("tertiary", "e_s2i_v")


def trace_ioi(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    scores: pd.DataFrame,
    circuit: Circuit | None,
    bootstrap: Bootstrap,
    seed: int,
    thresholds: Thresholds | None = None,
    freeze_mlps: bool = False,
    batch_size: int | None = None,
    memory_mb: int | None = None,
) -> IoiAlgorithm:
    """Find which heads do the parts of the IOI algorithm, and how much of it they explain.

    Effects E are those of `patch_paths`, of means over prompts. There are three steps:

    1. `direct`, E from each head to the logits. Name movers NM: copy above `min_copy` and E < 0.
       NegNM: negative copy above it and E other than 0. Copy suppression CS: cspa above
       `min_cspa` and E < 0; NegCS: the same and E > 0.
    2. `s2i`, E from each head to the queries of all NM together. S2I: E below `max_effect`, an
       edge of the circuit into the query of a name mover, and the signs of `s_inhibition`.
    3. `tertiary`, E from each head to the values of the S2I heads that are not CS. Ind: E below
       `max_effect` and an induction score above the mean of all heads; Dup: the same with the
       duplicate-token score.

    `consistency_rows` says how much of each step its heads explain.

    Source: Tigges et al. 2024 (arXiv 2407.10827), section 4 and figure 4. Where there is no name
    mover or no S2I head, the reference stops; here numbers are NaN, with a status. How it takes
    the share is not public, so there are three denominators.

    Args:
        model: from `load_model`.
        pairs: IOI prompts with the roles io, s1 and s2.
        scores: from `score_heads`, with copy, copy_neg, cspa, induction and duplicate. A score
            that is NaN gives a head no role.
        circuit: of these prompts; None where none was found.
        bootstrap: for intervals over prompts, and to tell whether the model does the task.
        seed: of the names that S-inhibition heads are misled with.
        thresholds: None for those of the paper.
        freeze_mlps: see `patch_paths`.
        batch_size: prompts per pass; None takes as many as fit in `memory_mb`.
        memory_mb: None takes most of the free memory of a GPU, 500 MB on a CPU.

    Raises:
        ValueError: if a score of a head is missing, the circuit is of another graph, or the
            prompts lack a role or have fewer than four names in all.
    """
    shape = shape_of(model)
    refuse_other_graph(circuit, shape)
    case = Case(
        model=model,
        pairs=pairs,
        scores={name: values_of(scores, name, shape=shape) for name in SCORES},
        circuit=circuit,
        thresholds=thresholds or Thresholds(),
        seed=seed,
        options={"freeze_mlps": freeze_mlps, "batch_size": batch_size, "memory_mb": memory_mb},
    )
    panels, tested = _trace(case, bootstrap)
    in_circuit = None if circuit is None else circuit.heads.ravel()
    return tables_of(
        panels, tested, in_circuit=in_circuit, shape=shape, n=len(pairs), bootstrap=bootstrap
    )


def _trace(case: Case, bootstrap: Bootstrap) -> tuple[Sequence[Panel], pd.DataFrame]:
    """Return the three steps, and what the test for S-inhibition measured."""
    paths = case.patch("logits")
    clean, corrupted = (_numpy(metric) for metric in (paths.clean, paths.corrupted))
    if not does_the_task(clean, corrupted, metric=Metric.LOGIT_DIFF, bootstrap=bootstrap):
        steps = (DIRECT, S2I, TERTIARY)
        panels = [_undefined(step, AlgorithmStatus.NO_BEHAVIOUR) for step in steps]
        return panels, case.test(name_movers=[], candidates=[])
    direct = _direct(case, _effects(paths))
    second, tested = _s2i(case, direct.roles["NM"])
    return (direct, second, _tertiary(case, second, direct.roles["CS"])), tested


def _direct(case: Case, effects: Effects) -> Panel:
    mean, scores, least = effects.mean, case.scores, case.thresholds
    suppresses = scores["cspa"] > least.min_cspa
    roles = {
        "NM": (scores["copy"] > least.min_copy) & (mean < 0),
        "NegNM": (scores["copy_neg"] > least.min_copy) & (mean != 0),
        "CS": suppresses & (mean < 0),
        "NegCS": suppresses & (mean > 0),
    }
    return Panel(*DIRECT, effects, roles)


def _s2i(case: Case, movers: Bool[ndarray, " head"]) -> tuple[Panel, pd.DataFrame]:
    name_movers = case.heads(movers)
    if not name_movers:
        tested = case.test(name_movers=[], candidates=[])
        return _undefined(S2I, AlgorithmStatus.NO_NAME_MOVERS), tested
    effects = _effects(case.patch(case.ports(movers, "q")))
    if case.circuit is None:
        tested = case.test(name_movers=name_movers, candidates=[])
        return Panel(*S2I, effects, {}, AlgorithmStatus.NO_CIRCUIT), tested
    queries = [case.circuit.graph.port_targets(at, "q").start + head for at, head in name_movers]
    candidates = case.circuit.heads_into(queries).ravel()
    candidates &= effects.mean < case.thresholds.max_effect
    tested = case.test(name_movers=name_movers, candidates=case.heads(candidates))
    passed = np.zeros(shape_of(case.model), dtype=bool)
    found = tested[tested["is_s2i"]]
    passed[found["layer"].to_numpy(int), found["head"].to_numpy(int)] = True
    return Panel(*S2I, effects, {"S2I": passed.ravel()}), tested


def _tertiary(case: Case, second: Panel, suppresses: Bool[ndarray, " head"]) -> Panel:
    if second.status != AlgorithmStatus.OK:
        return _undefined(TERTIARY, second.status)
    receivers = case.ports(second.roles["S2I"] & ~suppresses, "v")
    if not receivers:
        return _undefined(TERTIARY, AlgorithmStatus.NO_S2I_HEADS)
    effects = _effects(case.patch(receivers))
    harms = effects.mean < case.thresholds.max_effect
    roles = {
        role: harms & (case.scores[name] > pd.Series(case.scores[name]).mean())
        for role, name in (("Ind", "induction"), ("Dup", "duplicate"))
    }
    return Panel(*TERTIARY, effects, roles)


def _undefined(step: _Step, status: AlgorithmStatus) -> Panel:
    return Panel(*step, None, {}, status)


def _effects(paths: PatchedPaths) -> Effects:
    change, span = paths.patched - paths.clean, paths.clean - paths.corrupted
    return Effects(_numpy(change), _numpy(span))


def _numpy(x: Tensor) -> ndarray:
    return np.asarray(x.double().cpu().numpy())
