"""The study's sentences, and what this run says about each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlapse.figures import layout, style
from circuitlapse.tables.claims.registry import EVERY_SUBJECT
from circuitlapse.types import SIGNIFICANCE, Verdict

_ROW_IN = 0.52
_TEXT_SHARE = 0.47
"""Share of the width that the sentences take."""
_FURTHEST = 3.0
"""Evidence is drawn up to a corrected p value of 10 to the power of minus this."""
_LOOKS = {
    Verdict.SUPPORTED: ("#009E73", ">"),
    Verdict.CONTRADICTED: ("#D55E00", "<"),
    Verdict.CANNOT_TELL: (style.GREY, "o"),
}
_VERDICT_WIDTH = 3.4
"""Room for the verdict, and for names of subjects beside their marks, in powers of ten."""
_NAMED = 2
"""Subjects that are named in a row: those with the strongest evidence."""


def claims_figure(claims: pd.DataFrame) -> Figure:
    """Draw a row per claim: the sentence, the evidence of every subject, and the verdict.

    Evidence is the logarithm of the corrected p value: to the right what speaks for the claim, to
    the left what speaks against it.

    Args:
        claims: the table `claims`.
    """
    names = list(dict.fromkeys(claims["claim"]))
    with style.in_style():
        figure = Figure(figsize=(style.WIDTH_IN, _ROW_IN * len(names) + 0.9), layout="constrained")
        ratios = [_TEXT_SHARE, 1 - _TEXT_SHARE]
        words, axes = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
        words.set_axis_off()
        words.set_xlim(0, 1)
        _frame(axes, len(names))
        for row, name in enumerate(names):
            own = claims[claims["claim"] == name]
            whole = own["subject"] == EVERY_SUBJECT
            _say(words, own[whole].iloc[0], row)
            _draw(axes, own[~whole], row)
            _judge(axes, own[whole].iloc[0], row)
        layout.legend_below(figure, _handles())
        return figure


def _frame(axes: Axes, n_rows: int) -> None:
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(-_FURTHEST - 0.3, _FURTHEST + _VERDICT_WIDTH)
    ticks = np.arange(-_FURTHEST, _FURTHEST + 1)
    axes.set_xticks(ticks, labels=["1" if not at else f"$10^{{{-abs(at):.0f}}}$" for at in ticks])
    axes.set_xlabel("← against   corrected p value   for →")
    for at in (np.log10(SIGNIFICANCE), -np.log10(SIGNIFICANCE)):
        axes.axvline(at, color=style.GREY, linewidth=0.6, linestyle=":")
    axes.axvline(0, color=style.GREY, linewidth=0.4)
    for border in range(1, n_rows):
        axes.axhline(border - 0.5, color=style.GREY, linewidth=0.3)


def _say(axes: Axes, summary: pd.Series, row: int) -> None:
    width = 72 * style.WIDTH_IN * _TEXT_SHARE * 0.96
    sentence = style.wrap(summary["sentence"], width, size=style.SIZE)
    small = style.SIZE - 1.5
    how = f"{summary['measured']}; control: {summary['controlled_by']}"
    axes.text(0, row - 0.42, sentence, va="top", size=style.SIZE, weight="bold")
    below = row - 0.42 + 0.24 * (1 + sentence.count("\n"))
    axes.text(0, below, style.wrap(how, width, size=small), va="top", size=small, color=style.GREY)


def _evidence(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the place of every subject: right for the claim, left against it."""
    pro, con = (
        -np.log10(rows[name].fillna(1.0).clip(lower=10**-_FURTHEST).to_numpy(dtype=float))
        for name in ("q_for", "q_against")
    )
    return pd.Series(np.where(pro >= con, pro, -con), index=rows.index)


def _draw(axes: Axes, rows: pd.DataFrame, row: int) -> None:
    tested = rows[rows[["q_for", "q_against"]].notna().any(axis=1)]
    place = _evidence(tested)
    for verdict, (colour, marker) in _LOOKS.items():
        own = place[tested["verdict"] == verdict]
        spread = row + 0.06 * (np.arange(len(own)) % 5 - 2)
        face = "none" if verdict == Verdict.CANNOT_TELL else colour
        axes.plot(own, spread, color=colour, marker=marker, mfc=face, ms=3.5, linestyle="none")
    decided = tested["verdict"] != Verdict.CANNOT_TELL
    strongest = place[decided].abs().sort_values(ascending=False, kind="stable").index[:_NAMED]
    for number, at in enumerate(strongest):
        axes.text(
            place[at] + 0.1,
            row + (0.36 if number % 2 else -0.3),
            style.task_short(str(tested.loc[at, "subject"])),
            ha="left",
            va="center",
            size=style.SIZE - 2,
            color=_LOOKS[Verdict(tested.loc[at, "verdict"])][0],
        )


def _judge(axes: Axes, summary: pd.Series, row: int) -> None:
    colour, _ = _LOOKS[Verdict(summary["verdict"])]
    words = f"{summary['verdict']}\n{summary['n']} tested" if summary["n"] else "nothing\nto test"
    place: dict[str, Any] = {"ha": "right", "va": "center", "size": style.SIZE, "color": colour}
    axes.text(_FURTHEST + _VERDICT_WIDTH - 0.05, row, words, **place)


def _handles() -> list[Artist]:
    words = {
        Verdict.SUPPORTED: "supports the claim",
        Verdict.CONTRADICTED: "contradicts it",
        Verdict.CANNOT_TELL: "cannot tell",
    }
    return [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            mfc="none" if verdict == Verdict.CANNOT_TELL else colour,
            linestyle="none",
            label=words[verdict],
        )
        for verdict, (colour, marker) in _LOOKS.items()
    ]
