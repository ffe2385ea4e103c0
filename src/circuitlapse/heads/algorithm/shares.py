"""How much of an effect the heads with a role explain, and how much chance would explain.

The sum of |effects| is biased: noise makes the |effect| of a head without any effect larger than 0,
and with many such heads the sum is mostly noise. So the prompts are split into halves, at random
and many times. The sign of an effect comes from one half and its size from the other: noise then
adds nothing on average. An effect far below its noise counts for nothing, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from circuitlapse.schemas import CONSISTENCY_NUMBERS
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import Groups, half_means, ratio_interval, split_interval
from circuitlapse.types import EffectSign, Role
from circuitlapse.types.status import AlgorithmStatus

DENOMINATORS = ("circuit", "all")
"""The heads of the circuit; all heads."""
N_PERMUTATIONS = 1000
NULL_QUANTILE = 0.95
"""The quantile of the null that tables and figures have."""

SIGNS: Mapping[EffectSign, Callable[[ndarray], ndarray]] = {
    EffectSign.BOTH: np.sign,
    EffectSign.NEGATIVE: lambda effects: np.minimum(np.sign(effects), 0),
    EffectSign.POSITIVE: lambda effects: np.maximum(np.sign(effects), 0),
}
"""Which effects a row counts -> their sign; 0 for those that it leaves out."""


@dataclass(frozen=True, eq=False)
class Effects:
    """What corrupting the path from each head does; heads are in the order of their layers.

    Attributes:
        change: logit difference with the path corrupted, minus the clean one.
        span: the clean logit difference minus that on the corrupted prompt.
        groups: of the prompts; None makes every prompt one of its own.
    """

    change: Float[ndarray, "head prompt"]
    span: Float[ndarray, " prompt"]
    groups: Groups = None

    @property
    def mean(self) -> Float[ndarray, " head"]:
        """Mean change over mean span: 0 is no harm, -1 a fall to the corrupted level."""
        return np.asarray(self.change.mean(1) / self.span.mean())

    def on(self, parts: Float[ndarray, "part prompt"]) -> Float[ndarray, "part head"]:
        """Return the same on parts of the prompts, each 1 for the prompts in it."""
        return np.asarray((parts @ self.change.T) / (parts @ self.span)[:, None])

    def halves(
        self, bootstrap: Bootstrap
    ) -> tuple[Float[ndarray, "sample head"], Float[ndarray, "sample head"]]:
        """Return the same on both halves of random splits."""
        both = np.vstack([self.change, self.span])  # changes and span of a prompt stay together
        first, second = half_means(both, bootstrap, self.groups)  # each [sample, head + 1]
        return first[:, :-1] / first[:, -1:], second[:, :-1] / second[:, -1:]


@dataclass(frozen=True, eq=False)
class RoleTest:
    """What gives a head a role: a score that names it, and an effect between two bounds, not 0.

    Heads may be named sample by sample, too.
    """

    named: Bool[ndarray, "*sample head"]
    low: float = -np.inf
    high: float = np.inf

    def passed(self, effects: Float[ndarray, "*sample head"]) -> Bool[ndarray, "*sample head"]:
        """Return which heads have the role by their effects."""
        return np.asarray(self.named & self.allows(effects))

    def allows(self, effects: Float[ndarray, "*sample head"]) -> Bool[ndarray, "*sample head"]:
        """Return which effects lie between the bounds."""
        return np.asarray((effects != 0) & (effects > self.low) & (effects < self.high))


@dataclass(frozen=True, eq=False)
class Panel:
    """One step of the algorithm.

    Attributes:
        name: in the table `algorithm_consistency`.
        score: name of its effects in the table of heads.
        effects: None where they are not defined.
        tests: role -> what gives it; empty where it is not known.
        status: why effects or roles are missing.
        eligible: heads that the scores could have named: those that can reach the receivers, and of
            S-inhibition those that were tested.
        together: from sets of heads to the change of the metric when each set is patched at once.
        named_on: from prompts to the heads that are named by them alone; None where names are
            those of all prompts.
    """

    name: str
    score: str
    effects: Effects | None
    tests: Mapping[Role, RoleTest]
    status: AlgorithmStatus = AlgorithmStatus.OK
    eligible: Bool[ndarray, " head"] | None = None
    together: Callable[[Sequence[ndarray]], Float[ndarray, "set prompt"]] | None = None
    named_on: Callable[[ndarray], Bool[ndarray, " head"]] | None = None

    @property
    def roles(self) -> dict[Role, Bool[ndarray, " head"]]:
        """Role -> the heads that have it; empty where effects or tests are not known."""
        if self.effects is None:
            return {}
        mean = self.effects.mean
        return {role: test.passed(mean) for role, test in self.tests.items()}

    def heads(self, effects: Float[ndarray, "*sample head"]) -> Bool[ndarray, "*sample head"]:
        """Return the heads with any of the roles, by some effects."""
        found = [test.passed(effects) for test in self.tests.values()]
        return np.asarray(np.logical_or.reduce([np.zeros(effects.shape, dtype=bool), *found]))

    def shuffled(
        self, effects: Float[ndarray, " head"], *, seed: int
    ) -> Bool[ndarray, "sample head"]:
        """Return the same for scores that were permuted over the eligible heads.

        The scores of a head stay together.
        """
        eligible = np.ones(len(effects), dtype=bool) if self.eligible is None else self.eligible
        places = np.flatnonzero(eligible)
        rows = np.tile(places, (N_PERMUTATIONS, 1))
        origin = np.tile(np.arange(len(effects)), (N_PERMUTATIONS, 1))  # whose scores a head gets
        origin[:, places] = np.random.default_rng(seed).permuted(rows, axis=1)
        found = [test.named[origin] & test.allows(effects) for test in self.tests.values()]
        return np.asarray(np.logical_or.reduce([np.zeros(origin.shape, dtype=bool), *found]))


class _Counted(NamedTuple):
    """The effects that count in a row, by random halves: sign of one half times the other.

    They are what their heads add to the total, [sample, head]; and the effects that gave the sign.
    """

    first: Float[ndarray, "sample head"]
    second: Float[ndarray, "sample head"]
    by_first: Float[ndarray, "sample head"]
    by_second: Float[ndarray, "sample head"]

    @property
    def mean(self) -> Float[ndarray, " head"]:
        """What each head adds, on average over all splits."""
        return np.asarray((self.first + self.second).mean(0) / 2)


def consistency_rows(
    panel: Panel,
    in_circuit: Bool[ndarray, " head"] | None,
    bootstrap: Bootstrap,
    *,
    min_total: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield a row of `algorithm_consistency` per denominator and sign of effects.

    With effects E, `total` is the sum over the heads of the denominator of sign(E) E, with sign and
    size from different halves of the prompts, averaged over random halves. `explained` is the same
    over the heads with a role. `pct` is their ratio; noise may push it below 0 or above 100. It is
    NaN if `total` is below `min_total`. Signs `negative` and `positive` leave out other effects.

    Intervals are normal, from the spread over the halves (see `split_interval`); roles are derived
    again from the half that gives the sign. The null is the share when scores are permuted over
    the eligible heads: `null_high` is its quantile, `p` the part that reaches `pct`. `joint` is the
    effect of the heads with a role when they are patched together, with a bootstrap interval.

    How the paper takes the share is not public.
    """
    rows = [
        {"panel": panel.name, "denominator": denominator, "sign": str(sign)}
        for denominator, sign in product(DENOMINATORS, EffectSign)
    ]
    if panel.effects is None or panel.status != AlgorithmStatus.OK:
        yield from (row | _undefined(panel.status) for row in rows)
        return
    halves = panel.effects.halves(bootstrap)
    sets = [_named(panel, panel.effects, _kept(row, in_circuit), row["sign"]) for row in rows]
    joint = _joint(panel, sets, bootstrap)
    for row, heads, together in zip(rows, sets, joint, strict=True):
        if (kept := _kept(row, in_circuit)) is None:
            yield row | _undefined(AlgorithmStatus.NO_CIRCUIT)
            continue
        counted = _counted(halves, kept, row["sign"])
        share = _share(panel, panel.effects, counted, bootstrap, min_total)
        yield row | share | together | {"n_heads": heads.sum()}


def _kept(row: Mapping[str, Any], in_circuit: Bool[ndarray, " head"] | None) -> ndarray | None:
    """Return the heads of the denominator; None where that is a circuit and there is none."""
    if row["denominator"] == "circuit":
        return in_circuit
    return np.asarray(True)


def _named(panel: Panel, effects: Effects, kept: ndarray | None, sign: str) -> ndarray:
    """Return the heads with a role that count in a row."""
    mean = effects.mean
    counts = SIGNS[EffectSign(sign)](mean) != 0
    return np.asarray(panel.heads(mean) & counts & (False if kept is None else kept))


def _joint(panel: Panel, sets: Sequence[ndarray], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Return the effect of each set of heads, patched together."""
    if panel.together is None or panel.effects is None:
        return [{}] * len(sets)
    span, rows = panel.effects.span, []
    for change in panel.together(sets):
        low, high = ratio_interval(change, span, bootstrap, panel.effects.groups)
        rows.append({"joint": change.mean() / span.mean(), "joint_low": low, "joint_high": high})
    return rows


def _counted(halves: tuple[ndarray, ndarray], kept: ndarray, sign: str) -> _Counted:
    first, second = halves
    sign_of = SIGNS[EffectSign(sign)]
    return _Counted(sign_of(first) * second * kept, sign_of(second) * first * kept, first, second)


def _share(
    panel: Panel, effects: Effects, counted: _Counted, bootstrap: Bootstrap, min_total: float
) -> dict[str, Any]:
    weights = counted.mean  # [head]
    total, mean = weights.sum(), effects.mean
    explained = weights[panel.heads(mean)].sum()
    low, high = split_interval(total, counted.first.sum(1), counted.second.sum(1), bootstrap)
    row = dict.fromkeys(CONSISTENCY_NUMBERS, np.nan)
    row |= {"explained": explained, "total": total, "total_low": low, "total_high": high}
    if total <= 0 or total < min_total:
        small = AlgorithmStatus.SMALL_TOTAL if total > 0 else AlgorithmStatus.NO_EFFECT
        return row | {"status": str(small)}
    share = explained / total
    # explained - share * total has mean 0: no ratio of two noisy sums of a half.
    one, two = (
        (adds * (panel.heads(by) - share)).sum(1)
        for adds, by in ((counted.first, counted.by_first), (counted.second, counted.by_second))
    )
    low, high = split_interval(0.0, one, two, bootstrap)
    null = panel.shuffled(mean, seed=bootstrap.seed) @ weights / total  # [sample]
    reaching = (null >= share - 1e-9).sum()
    row |= {"pct": share, "pct_low": share + low / total, "pct_high": share + high / total}
    row |= {"null_high": np.quantile(null, NULL_QUANTILE)}
    row |= {name: 100 * row[name] for name in ("pct", "pct_low", "pct_high", "null_high")}
    p = (1 + reaching) / (1 + len(null))
    return row | {"p": p, "status": str(AlgorithmStatus.OK)}


def _undefined(status: AlgorithmStatus) -> dict[str, Any]:
    return dict.fromkeys(CONSISTENCY_NUMBERS, np.nan) | {"n_heads": 0, "status": str(status)}
