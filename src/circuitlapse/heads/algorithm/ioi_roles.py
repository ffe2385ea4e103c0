"""Find the heads of the IOI algorithm, from its end: name movers, S-inhibition, induction."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.faithfulness import does_the_task
from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm.base import IoiAlgorithm, tables_of
from circuitlapse.heads.algorithm.shares import Effects, Panel, RoleTest
from circuitlapse.heads.base import DEFAULTS, Subject
from circuitlapse.heads.naming import Naming
from circuitlapse.heads.path_patching import Head, HeadPort, PatchedPaths, Receivers, patch_paths
from circuitlapse.heads.s_inhibition import s_inhibition
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.bridge import Model, as_decoder
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.load import model_graph
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import Metric, Role, RoleRule
from circuitlapse.types.status import AlgorithmStatus

TOP_EDGES = 0.1
"""Share of all edges, by |score|, among which an S-inhibition head has one into a name mover.

The size of a circuit varies by a factor of two or more between neighbouring steps, and a head whose
edge is near its end would come and go with it. A rank does not. Circuits are mostly smaller, so the
condition is wider: the effect along the edge and the test by flips decide.
"""
ROLE_SCORES = ("copy", "copy_neg", "cspa", "induction", "duplicate")
"""The scores that roles depend on."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its prompts and the scores of its heads, in the order of layers.

    Attributes:
        scores: one of `ROLE_SCORES` -> its values.
        seed: of the names that S-inhibition heads are misled with.
        lengths: numbers of random tokens that induction and duplicate were measured with.
    """

    model: Decoder
    pairs: PromptPairs
    scores: Mapping[str, Float[ndarray, " head"]]
    circuit: Circuit | None
    settings: Algorithm
    bootstrap: Bootstrap
    seed: int
    limits: Limits
    lengths: Sequence[int] = DEFAULTS.lengths
    edge_scores: Float[ndarray, "source target"] | None = None

    @property
    def strong_edges(self) -> Circuit | None:
        """The edges that connect an S-inhibition head to name movers; None if they are not known.

        By the rule `paper` those of the circuit, else the `TOP_EDGES` with the highest scores.
        """
        if self.settings.rule == RoleRule.PAPER or self.edge_scores is None:
            return self.circuit
        graph, size = model_graph(self.model), np.abs(self.edge_scores)
        known = np.sort(size[graph.exists])  # rising
        return Circuit(graph, graph.exists & (size >= known[-math.ceil(TOP_EDGES * len(known))]))

    @cached_property
    def layers(self) -> Int[ndarray, " head"]:
        """The layer of every head."""
        n_layers, n_heads = shape_of(self.model)
        return np.repeat(np.arange(n_layers), n_heads)

    def named(self, score: str, *, above: float) -> Bool[ndarray, " head"]:
        """Return which heads a score above some value names; none whose score is NaN."""
        naming, values = Naming(self.settings.rule, self.lengths), self.scores[score]
        return np.asarray((values > above) & naming.may_name(score, self.layers, values))

    def patch(
        self, receivers: Receivers, senders: Sequence[Collection[Head]] | None = None
    ) -> PatchedPaths:
        """Patch the paths from all heads, or from sets of heads that are patched together."""
        return patch_paths(
            self.model,
            self.pairs,
            receivers=receivers,
            senders=senders,
            freeze_mlps=self.settings.freeze_mlps,
            limits=self.limits,
        )

    def test(self, *, name_movers: Sequence[Head], candidates: Sequence[Head]) -> pd.DataFrame:
        """Test for S-inhibition."""
        subject = Subject(self.model, self.seed, self.pairs)
        return s_inhibition(
            subject,
            name_movers=name_movers,
            candidates=candidates,
            settings=self.settings,
            bootstrap=self.bootstrap,
            limits=self.limits,
        )

    def before(self, receivers: Sequence[HeadPort]) -> Bool[ndarray, " head"]:
        """Return which heads are in an earlier layer than one of the receivers."""
        return np.asarray(self.layers < max(port.layer for port in receivers))

    def heads(self, mask: Bool[ndarray, " head"]) -> list[Head]:
        """Return (layer, head) where a mask is true."""
        return [divmod(int(at), self.model.cfg.n_heads) for at in np.flatnonzero(mask)]

    def ports(self, mask: Bool[ndarray, " head"], port: str) -> list[HeadPort]:
        """Return one port of the heads where a mask is true."""
        return [HeadPort(layer, head, port) for layer, head in self.heads(mask)]


def shape_of(model: Decoder) -> tuple[int, int]:
    """Return the number of layers, and of heads of each."""
    return (model.cfg.n_layers, model.cfg.n_heads)


def values_of(
    scores: pd.DataFrame, name: str, *, shape: tuple[int, int]
) -> Float[ndarray, " head"]:
    """Return one score of every head.

    Raises:
        ValueError: if there is not one row for each.
    """
    rows = scores[scores["score"] == name].sort_values(["layer", "head"])
    # Sorted, they must be exactly (0, 0), (0, 1), ...: no head twice, none missing.
    places = [tuple(place) for place in rows[["layer", "head"]].to_numpy().tolist()]
    if places != list(np.ndindex(shape)):
        raise ValueError(
            f"scores must have one row of {name} for each of {shape[0]} layers of {shape[1]} "
            f"heads, found {len(rows)} rows"
        )
    return rows["value"].to_numpy(dtype=np.float64)


def refuse_other_graph(circuit: Circuit | None, shape: tuple[int, int]) -> None:
    """Check that a circuit is one of a model with so many layers and heads.

    Raises:
        ValueError: naming both.
    """
    if circuit is None:
        return
    found = (circuit.graph.n_layers, circuit.graph.n_heads)
    if found != shape:
        raise ValueError(
            f"the circuit is one of {found[0]} layers of {found[1]} heads, but the model has "
            f"{shape[0]} of {shape[1]}"
        )


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
        scores: from `score_heads`, with copy, copy_neg, cspa, induction and duplicate. A score
            that is NaN gives a head no role.
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
    return tables_of(
        panels,
        tested,
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
        return panels, case.test(name_movers=[], candidates=[])
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
        tested = case.test(name_movers=[], candidates=[])
        return _undefined(S2I, AlgorithmStatus.NO_NAME_MOVERS), tested
    # All name movers receive together: one effect per sender.
    receivers = case.ports(movers, "q")
    effects = _effects(case, case.patch(receivers))
    if (strong := case.strong_edges) is None:
        tested = case.test(name_movers=name_movers, candidates=[])
        return Panel(*S2I, effects, {}, AlgorithmStatus.NO_CIRCUIT), tested
    # Tested are heads that an edge connects to a name mover's query and that do harm: each flip
    # costs another round of path patching.
    queries = [strong.graph.port_targets(at, "q").start + head for at, head in name_movers]
    candidates = strong.heads_into(queries).ravel()  # [layer, head] -> [head]
    candidates &= effects.mean < case.settings.max_effect
    tested = case.test(name_movers=name_movers, candidates=case.heads(candidates))
    passed = np.zeros(shape_of(case.model), dtype=bool)  # [layer, head]
    found = tested[tested["is_s2i"]]
    passed[found["layer"].to_numpy(int), found["head"].to_numpy(int)] = True
    tests = {Role.S_INHIBITION: RoleTest(passed.ravel(), high=case.settings.max_effect)}
    # No other head was tested, so no other could be named: shuffled over all heads, those that were
    # tested because of their effect would beat chance whatever the test says.
    return _panel(case, S2I, receivers, effects, tests, candidates), tested


def _tertiary(case: Case, second: Panel, suppresses: Bool[ndarray, " head"]) -> Panel:
    if second.status != AlgorithmStatus.OK:
        return _undefined(TERTIARY, second.status)
    receivers = case.ports(second.roles[Role.S_INHIBITION] & ~suppresses, "v")
    if not receivers:
        return _undefined(TERTIARY, AlgorithmStatus.NO_S2I_HEADS)
    effects = _effects(case, case.patch(receivers))
    tests = {  # pandas takes the mean over the heads whose score is not NaN
        role: RoleTest(
            case.named(name, above=pd.Series(case.scores[name]).mean()),
            high=case.settings.max_effect,
        )
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
