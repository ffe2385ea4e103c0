"""Evidence on the heads of the IOI algorithm, their roles, and how roles work together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.statistics import binomial_p
from circuitlapse.tables.claims.verdicts import Evidence, Given
from circuitlapse.tables.compared import FLOOR_QUANTILE
from circuitlapse.types import LOGITS, PREVIOUS_TOKEN, Role
from circuitlapse.types.status import AlgorithmStatus, EvidenceStatus, RoleGraphStatus

PATHS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "copying": ((Role.NAME_MOVER,), LOGITS, ""),
    "suppression": (
        (Role.NEGATIVE_NAME_MOVER, Role.COPY_SUPPRESSION, Role.NEGATIVE_COPY_SUPPRESSION),
        *(LOGITS, ""),
    ),
    "inhibition": ((Role.S_INHIBITION,), Role.NAME_MOVER, "q"),
    "repetition": ((Role.INDUCTION, Role.DUPLICATE_TOKEN), Role.S_INHIBITION, "v"),
    "previous tokens": ((PREVIOUS_TOKEN,), Role.INDUCTION, "k"),
}
"""The paths of the IOI algorithm: roles that send, and what they send to.

Roles that do the same are one path: one head often has two of them, and a score near its threshold
gives and takes such a role while nothing else changes.
"""
TO_LOGITS = (*PATHS["copying"][0], *PATHS["suppression"][0])
"""The roles that heads have by their effect on the logits."""
MARGIN = 20.0
"""Points, of 100, by which a share may fall while the algorithm counts as the same."""
PATH_MARGIN = 0.25
"""Change of the effect of a path up to which the algorithm counts as the same; 1 is the drop
to the corrupted level."""
MEASURED = [status for status in RoleGraphStatus if status != RoleGraphStatus.NO_BEHAVIOUR]
"""Steps with these have a role graph; what is not `ok` has no effect there."""
N_SHUFFLES = 1000


def heads_change(given: Given) -> Iterator[Evidence]:
    """Yield how often the heads of each role changed, beyond what other prompts would do.

    If nothing changed, a pair of steps is called changed in 5 % of cases or fewer. That holds for
    roles by their effect on the logits; the floor of the others lacks the noise of their receivers.
    Pairs with a floor of 1 do not count: there, scores alone decide who has the role, not prompts.
    """
    known = given.turnover[
        given.turnover["changed"].notna()
        & given.turnover["model"].isin(given.originals)
        & given.turnover["role"].isin(TO_LOGITS)
        & (given.turnover["floor_low"] < 1)
    ]
    for (model, role), rows in known.groupby(["model", "role"], sort=False):
        n, changed = len(rows), int(rows["changed"].sum())
        yield Evidence(
            f"{role} in {model}",
            n,
            value=changed / n,
            control=FLOOR_QUANTILE,
            p_for=binomial_p(changed, n, FLOOR_QUANTILE),
        )


def shares_remain(given: Given) -> Iterator[Evidence]:
    """Yield the lowest share over steps that heads with a role explain, of each panel and model.

    - For the claim: at every step the share is above that of permuted scores, and less than
      `MARGIN` below that of the last step. The largest p value of all these tests counts.
    - Against it: at some step it is further below. The smallest p value counts, times their number.
    """
    table = given.algorithm_consistency
    shares = table[
        (table["denominator"] == "all")
        & (table["sign"] == "both")
        & (table["status"] == AlgorithmStatus.OK)
        & table["model"].isin(given.originals)
    ]
    for (model, panel), rows in shares.groupby(["model", "panel"], sort=False):
        rows = rows.sort_values("step")
        if len(rows) < 2:
            few = EvidenceStatus.TOO_FEW_STEPS
            yield Evidence(f"{panel} in {model}", len(rows), status=few)
            continue
        lowest = rows.iloc[int(rows["pct"].to_numpy().argmin())]
        kept, lost = _fall(rows, z=_z(given))
        yield Evidence(
            f"{panel} in {model}",
            len(rows),
            value=lowest["pct"],
            low=lowest["pct_low"],
            high=lowest["pct_high"],
            control=lowest["null_high"],
            p_for=max(float(rows["p"].max()), float(kept.max())),
            p_against=min(1.0, float(lost.min()) * len(lost)),
        )


def _fall(rows: pd.DataFrame, *, z: float) -> tuple[ndarray, ndarray]:
    """Return p values of "the share fell by `MARGIN` or more", and "by less", for earlier steps."""
    error = ((rows["pct_high"] - rows["pct_low"]) / (2 * z)).to_numpy(dtype=float)
    shares = rows["pct"].to_numpy(dtype=float)
    fall = shares[-1] - shares[:-1] - MARGIN
    # Of the same prompts, so their noise is shared: this is on the safe side.
    scale = np.maximum(np.hypot(error[:-1], error[-1]), 1e-9)
    kept = np.array([NormalDist().cdf(value) for value in fall / scale])
    return kept, 1 - kept


def algorithm_remains(given: Given) -> Iterator[Evidence]:
    """Yield by how much the most changed path of the algorithm differs from the last step.

    Shares say nothing of roles that are gone, nor of which role does the work.

    - For the claim: every path has at every step an effect less than `PATH_MARGIN` from that of the
      last step. The largest p value counts.
    - Against it: one is further away. The smallest p value counts, times their number.
    """
    for model, (effect, error) in _effects(given).items():
        subject, n = model, len(effect)
        if n < 2 or not effect.any():
            few = EvidenceStatus.TOO_FEW_STEPS if n < 2 else EvidenceStatus.NO_ROLES
            yield Evidence(subject, n, status=few)
            continue
        change = np.abs(effect[:-1] - effect[-1])  # [step, path]
        scale = np.maximum(np.hypot(error[:-1], error[-1]), 1e-9)
        furthest = float(((change - PATH_MARGIN) / scale).max())
        yield Evidence(
            subject,
            n,
            value=float(change.max()),
            control=PATH_MARGIN,
            p_for=NormalDist().cdf(furthest),
            p_against=min(1.0, NormalDist().cdf(-furthest) * change.size),
        )


def algorithm_across_sizes(given: Given) -> Iterator[Evidence]:
    """Yield the mean distance between the paths of two sizes at their last steps.

    The distance is the root of the mean square difference of the effects of all `PATHS`.

    - For the claim: sizes are closer than with the effects of every model exchanged over paths.
    - Against it: they are further apart than models of one size, by permutation of sizes.
    """
    last = {model: effect[-1] for model, (effect, _) in _effects(given, every=True).items()}
    sizes = [effect for model, effect in last.items() if model in given.originals]
    for task in given.role_graph["task"].unique():
        if len(sizes) < 2:
            yield Evidence(str(task), len(sizes), status=EvidenceStatus.TOO_FEW_MODELS)
            continue
        rng = np.random.default_rng(given.seed)
        value = float(_mean_distance(sizes))
        drawn = _mean_distance(
            [rng.permuted(np.tile(effect, (N_SHUFFLES, 1)), axis=1) for effect in sizes]
        )
        yield Evidence(
            str(task),
            len(sizes),
            value=value,
            control=float(np.quantile(drawn, 0.05)),
            p_for=float((1 + (drawn <= value + 1e-12).sum()) / (1 + N_SHUFFLES)),
            p_against=_p_of_sizes(last, given, rng),
        )


def _z(given: Given) -> float:
    """Return how many standard errors the ends of an interval are from the estimate."""
    return NormalDist().inv_cdf((1 + given.level) / 2)


_Effects = Float[ndarray, "step path"]


def _effects(given: Given, *, every: bool = False) -> dict[str, tuple[_Effects, _Effects]]:
    """Return the effect of each path and its standard error, at the steps of each model.

    A path has the largest effect, in size, of the roles that send. It is 0 where no head sends or
    receives. Steps at which the model does not do the task are left out, and so are variants,
    unless `every` is set.
    """
    table = given.role_graph[given.role_graph["status"].isin(MEASURED)]
    found = {}
    for model, rows in table.groupby("model", sort=False):
        if not every and model not in given.originals:
            continue
        steps = sorted(rows["step"].unique())
        effect, error = np.zeros((2, len(steps), len(PATHS)))
        for place, (senders, target, port) in enumerate(PATHS.values()):
            own = rows[
                rows["source"].isin(senders) & (rows["target"] == target) & (rows["port"] == port)
            ].dropna(subset=["effect"])
            for row in own.sort_values(["source"], kind="stable").to_dict("records"):
                at = steps.index(row["step"]), place
                if abs(row["effect"]) > abs(effect[at]):
                    effect[at] = row["effect"]
                    error[at] = (row["effect_high"] - row["effect_low"]) / (2 * _z(given))
        found[str(model)] = effect, error
    return found


def _mean_distance(effects: Sequence[Float[ndarray, "*draw path"]]) -> Float[ndarray, " *draw"]:
    """Return the mean over pairs of models of the distance of their effects."""
    pairs = combinations(effects, 2)
    return np.asarray(np.mean([_distance(one, other) for one, other in pairs], axis=0))


def _distance(
    one: Float[ndarray, "*draw path"], other: Float[ndarray, "*draw path"]
) -> Float[ndarray, " *draw"]:
    return np.asarray(np.sqrt(((one - other) ** 2).mean(-1)))


def _p_of_sizes(
    last: Mapping[str, Float[ndarray, " path"]], given: Given, rng: np.random.Generator
) -> float:
    """Return the p value of "models of two sizes are no further apart than those of one"."""
    sizes = given.n_parameters[[*last]].to_numpy()
    values = [*last.values()]
    pairs = np.array([*combinations(range(len(values)), 2)])
    distances = np.array([_distance(values[one], values[other]) for one, other in pairs])

    def difference(of: ndarray) -> Float[ndarray, " draw"]:
        """Return how much further apart models of two sizes are; `of` is [draw, model]."""
        same = of[:, pairs[:, 0]] == of[:, pairs[:, 1]]  # [draw, pair]
        apart = (distances * ~same).sum(1) / (~same).sum(1)
        return np.asarray(apart - (distances * same).sum(1) / same.sum(1))

    alike = sizes[pairs[:, 0]] == sizes[pairs[:, 1]]
    if not alike.any() or alike.all():
        return float("nan")
    (found,) = difference(sizes[None])
    drawn = difference(rng.permuted(np.tile(sizes, (N_SHUFFLES, 1)), axis=1))
    return float((1 + (drawn >= found - 1e-12).sum()) / (1 + N_SHUFFLES))
