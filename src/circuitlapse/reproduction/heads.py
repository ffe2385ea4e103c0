"""Tests of what attention heads do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from circuitlapse.component_choice import attention_chance
from circuitlapse.reproduction.base import END, NOTHING, Found, Run, reaches, span, untrained


def heads_have_roles(
    size: str, roles: Iterable[str], heads: Iterable[tuple[int, int]]
) -> Callable[[Run], Found]:
    """Test that heads have one of some roles at the end of training.

    Roles are looked for in every circuit, and a model may have none.
    """
    wanted = set(heads)

    def test(run: Run) -> Found:
        circuits = run.of("circuit_summary", size, "ioi")
        if not reaches(circuits, END) or "roles" not in run.tables:
            return NOTHING
        rows = run.of("roles", size, "ioi")
        rows = rows[(rows["step"] == circuits["step"].max()) & rows["role"].isin(list(roles))]
        found = wanted & set(zip(rows["layer"], rows["head"], strict=True))
        names = ", ".join(f"({layer},{head})" for layer, head in sorted(found))
        return Found(f"{len(found)} of {len(wanted)}: {names or 'none'}", found == wanted)

    return test


def copy_score_by(
    size: str, head: tuple[int, int], least: float, step: int
) -> Callable[[Run], Found]:
    """Test that the copy score of a head, with `copy_ln` folded, is above some value by a step.

    The step itself must be among those analysed.
    """

    def test(run: Run) -> Found:
        rows = run.of("components", size)
        if run.copy_ln != "folded" or step not in set(rows["step"]):
            return NOTHING
        here = (rows["layer"] == head[0]) & (rows["head"] == head[1]) & (rows["step"] <= step)
        values = rows.loc[here & (rows["score"] == "copy"), "value"].dropna()
        if values.empty:
            return NOTHING
        return Found(f"{values.max():.0f}", bool(values.max() > least))

    return test


def attends_by_chance(score: str, within: float) -> Callable[[Run], Found]:
    """Test that heads of every model attend uniformly at step 0, on average over heads.

    Args:
        score: `induction`, `duplicate` or `prev_token`.
        within: the largest deviation from chance that agrees, as a share of chance.
    """

    def test(run: Run) -> Found:
        rows = untrained(run, "components")
        means = rows[rows["score"] == score].groupby("model")["value"].mean().dropna()
        if means.empty:
            return NOTHING
        chance = attention_chance(score, run.length)
        agrees = (means / chance - 1).abs().max() <= within
        measured = f"{span(means)}, chance is {chance:.3g}"
        return Found(measured, bool(agrees))

    return test
