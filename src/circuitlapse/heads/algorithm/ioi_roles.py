"""Find the heads of the IOI algorithm, from its end: name movers, S-inhibition, induction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.faithfulness import does_the_task
from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm.base import IoiAlgorithm, tables_of
from circuitlapse.heads.algorithm.case import (
    ROLE_SCORES,
    Case,
    refuse_other_graph,
    shape_of,
    values_of,
)
from circuitlapse.heads.algorithm.role_graph import role_graph
from circuitlapse.heads.algorithm.role_splits import role_splits
from circuitlapse.heads.algorithm.self_repair import self_repair
from circuitlapse.heads.algorithm.shares import Effects, Panel, RoleTest
from circuitlapse.heads.base import DEFAULTS
from circuitlapse.heads.naming import Naming
from circuitlapse.heads.path_patching import PatchedPaths, Receivers
from circuitlapse.heads.s_inhibition import FlipTest
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import Metric, Role
from circuitlapse.types.status import AlgorithmStatus


class _Step(NamedTuple):
    panel: str
    """Its name in `algorithm_consistency`."""
    score: str
    """The name of its effects."""


DIRECT, S2I = _Step("direct", "e_logits"), _Step("s2i", "e_nm_q")
TERTIARY = _Step("tertiary", "e_s2i_v")


def trace_ioi(
    model: Model,
    pairs: PromptPairs,
    *,
    scores: pd.DataFrame,
    circuit: Circuit | None,
    bootstrap: Bootstrap,
    seed: int,
    settings: Algorithm | None = None,
    lengths: Sequence[int] = DEFAULTS.lengths,
    edge_scores: Float[ndarray, "source target"] | None = None,
    limits: Limits = AUTOMATIC,
) -> IoiAlgorithm:
    """Find which heads do the parts of the IOI algorithm, and how much of it they explain.

    Effects E are those of `patch_paths`, of means over prompts. There are three steps:

    1. `direct`, E from each head to the logits. Name movers NM: copy above `min_copy` and E < 0.
       NegNM: negative copy above it and E other than 0. Copy suppression CS: cspa above
       `min_cspa` and E < 0; NegCS: the same and E > 0.
    2. `s2i`, E from each head to the queries of all NM together. S2I: E below `max_effect`, one of
       `strong_edges` into the query of a name mover, and `is_s2i` of `s_inhibition`.
    3. `tertiary`, E from each head to the values of the S2I heads that are not CS. Ind: E below
       `max_effect` and an induction score above the mean of all heads; Dup: the same with the
       duplicate-token score.

    By the rule `controlled`, scores must name the head too: see `Naming`.
    Source: Tigges et al. 2024 (arXiv 2407.10827), section 4 and figure 4. Without a name mover or
    S2I head the reference stops; here numbers are NaN, with a status.

    Args:
        model: a decoder, or a model from `load_model`.
        pairs: IOI prompts with the roles io, s1 and s2.
        scores: from `score_heads`, with copy, copy_neg, cspa, induction, duplicate and
            prev_token. A score that is NaN gives a head no role.
        circuit: of these prompts; None without one.
        bootstrap: for intervals, and to tell whether the model does the task.
        seed: of the names that S-inhibition heads are misled with.
        settings: thresholds and rule of roles, and `freeze_mlps`; None for the defaults.
        lengths: numbers of random tokens that induction and duplicate were measured with.
        edge_scores: of all edges; without them, those of the circuit connect S2I heads.
        limits: how many prompts go through the model at once.

    Raises:
        ValueError: if a head lacks a score, the circuit is of another graph, or prompts lack roles.
    """
    refuse_other_graph(circuit, shape := shape_of(model := as_decoder(model)))
    case = Case(
        model=model,
        pairs=pairs,
        scores={name: values_of(scores, name, shape=shape) for name in ROLE_SCORES},
        circuit=circuit,
        settings=settings or Algorithm(),
        bootstrap=bootstrap,
        seed=seed,
        limits=limits,
        lengths=lengths,
        edge_scores=edge_scores,
    )
    return _tables(case, *_trace(case))


def _tables(case: Case, panels: Sequence[Panel], tested: pd.DataFrame) -> IoiAlgorithm:
    circuit = case.circuit
    roles = {role: mask for panel in panels for role, mask in panel.roles.items()}
    able, effects = panels[0].status == AlgorithmStatus.OK, panels[0].effects
    return tables_of(
        panels,
        tested,
        {
            "role_graph": role_graph(case, roles, able=able),
            "role_splits": role_splits(panels, case.pairs.groups, seed=case.bootstrap.seed),
            "self_repair": self_repair(case, roles, effects.span if effects else None),
        },
        in_circuit=None if circuit is None else circuit.heads.ravel(),  # [layer, head] -> [head]
        shape=shape_of(case.model),
        n=case.pairs.n_groups,
        bootstrap=case.bootstrap,
        min_total=case.settings.min_total,
    )


def _trace(case: Case) -> tuple[Sequence[Panel], pd.DataFrame]:
    """Return the three steps, and what the test for S-inhibition measured."""
    paths = case.patch("logits")
    clean, corrupted = (_numpy(metric) for metric in (paths.clean, paths.corrupted))  # [prompt]
    able = does_the_task(
        clean,
        corrupted,
        metric=Metric.LOGIT_DIFF,
        bootstrap=case.bootstrap,
        groups=case.pairs.groups,
    )
    if not able:
        steps = (DIRECT, S2I, TERTIARY)
        panels = [_undefined(step, AlgorithmStatus.NO_BEHAVIOUR) for step in steps]
        return panels, case.test(name_movers=[], candidates=[]).table
    direct = _direct(case, paths)
    second, tested = _s2i(case, direct.roles[Role.NAME_MOVER])
    return (direct, second, _tertiary(case, second, direct.roles[Role.COPY_SUPPRESSION])), tested


def _direct(case: Case, paths: PatchedPaths) -> Panel:
    least = case.settings
    copies, copies_against = (
        case.named(name, above=least.min_copy) for name in ("copy", "copy_neg")
    )
    suppresses = case.named("cspa", above=least.min_cspa)
    tests = {
        Role.NAME_MOVER: RoleTest(copies, high=0.0),
        Role.NEGATIVE_NAME_MOVER: RoleTest(copies_against),
        Role.COPY_SUPPRESSION: RoleTest(suppresses, high=0.0),
        Role.NEGATIVE_COPY_SUPPRESSION: RoleTest(suppresses, low=0.0),
    }
    # Copy suppression is not measured in the first layers, where no name mover may be either.
    may = Naming(least.rule, case.lengths).in_layer("copy", case.layers) | suppresses
    return _panel(case, DIRECT, "logits", _effects(case, paths), tests, may)


def _s2i(case: Case, movers: Bool[ndarray, " head"]) -> tuple[Panel, pd.DataFrame]:
    name_movers = case.heads(movers)
    if not name_movers:
        tested = case.test(name_movers=[], candidates=[]).table
        return _undefined(S2I, AlgorithmStatus.NO_NAME_MOVERS), tested
    # All name movers receive together: one effect per sender.
    receivers = case.ports(movers, "q")
    effects = _effects(case, case.patch(receivers))
    if (strong := case.strong_edges) is None:
        tested = case.test(name_movers=name_movers, candidates=[]).table
        return Panel(*S2I, effects, {}, AlgorithmStatus.NO_CIRCUIT), tested
    # Tested are heads that an edge connects to a name mover's query and that do harm: each flip
    # costs another round of path patching.
    queries = [strong.graph.port_targets(at, "q").start + head for at, head in name_movers]
    candidates = strong.heads_into(queries).ravel()  # [layer, head] -> [head]
    candidates &= effects.mean < case.settings.max_effect
    flips = case.test(name_movers=name_movers, candidates=case.heads(candidates))
    tests = {Role.S_INHIBITION: RoleTest(_passed(flips, case), high=case.settings.max_effect)}
    # No other head was tested, so no other could be named: shuffled over all heads, those that were
    # tested because of their effect would beat chance whatever the test says.
    panel = _panel(case, S2I, receivers, effects, tests, candidates)
    return replace(panel, named_on=lambda rows: _passed(flips, case, rows)), flips.table


def _passed(
    flips: FlipTest, case: Case, rows: Int[ndarray, " row"] | None = None
) -> Bool[ndarray, " head"]:
    """Return which heads pass the test by flips, on all prompts or on some."""
    passed = np.zeros(shape_of(case.model), dtype=bool)  # [layer, head]
    if rows is None:
        found = flips.table.loc[flips.table["is_s2i"].astype(bool), ["layer", "head"]].to_numpy(int)
    else:
        found = np.reshape(flips.candidates, (-1, 2)).astype(int)[flips.passed(rows)]
    passed[tuple(found.T)] = True
    return passed.ravel()


def _tertiary(case: Case, second: Panel, suppresses: Bool[ndarray, " head"]) -> Panel:
    if second.status != AlgorithmStatus.OK:
        return _undefined(TERTIARY, second.status)
    receivers = case.ports(second.roles[Role.S_INHIBITION] & ~suppresses, "v")
    if not receivers:
        return _undefined(TERTIARY, AlgorithmStatus.NO_S2I_HEADS)
    effects = _effects(case, case.patch(receivers))
    tests = {
        role: RoleTest(case.above_mean(name), high=case.settings.max_effect)
        for role, name in ((Role.INDUCTION, "induction"), (Role.DUPLICATE_TOKEN, "duplicate"))
    }
    return _panel(case, TERTIARY, receivers, effects, tests, case.before(receivers))


def _panel(
    case: Case,
    step: _Step,
    receivers: Receivers,
    effects: Effects,
    tests: Mapping[Role, RoleTest],
    eligible: Bool[ndarray, " head"],
) -> Panel:
    def together(sets: Sequence[Bool[ndarray, " head"]]) -> Float[ndarray, "set prompt"]:
        paths = case.patch(receivers, [case.heads(mask) for mask in sets])
        return _numpy(paths.patched - paths.clean)

    return Panel(*step, effects, tests, eligible=eligible, together=together)


def _undefined(step: _Step, status: AlgorithmStatus) -> Panel:
    return Panel(*step, None, {}, status)


def _effects(case: Case, paths: PatchedPaths) -> Effects:
    # [head, prompt] and [prompt]: every head is a sender, in the order of layers
    change, span = paths.patched - paths.clean, paths.clean - paths.corrupted
    return Effects(_numpy(change), _numpy(span), case.pairs.groups)


def _numpy(x: Tensor) -> ndarray:
    return np.asarray(x.double().cpu().numpy())
