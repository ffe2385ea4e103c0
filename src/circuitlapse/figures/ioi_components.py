"""What the heads of the IOI circuit do, over training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlapse.figures import layout, style
from circuitlapse.figures.lines import (
    NO_CIRCUIT_HEAD,
    NOT_TESTED,
    REASONS,
    Rows,
    draw_heads,
    limits_of,
    looks_of,
    name_row,
    of_score,
    say_empty,
    title_of,
    why_empty,
)
from circuitlapse.figures.style import label_log
from circuitlapse.tables.head_choice import Head, largest_in_circuit
from circuitlapse.types import S2I_SIGNALS
from circuitlapse.types.status import ScoreStatus

MOST_HEADS = 6
_RATIO = "IO / S1 attention"
_SMALL_CHANGE = 0.05
"""A change of so much does not fill a panel: 5 % are what S-inhibition heads need."""
_CHANGES = {
    "d_logit_diff": "Logit difference",
    "d_attn_io": "Attention to IO",
    "d_attn_s1": "Attention to S1",
    "d_attn_s2": "Attention to S2",
}
_UPPER = {
    "copy": title_of("copy"),
    "attn_io": title_of("attn_io"),
    _RATIO: _RATIO,
    "cspa": title_of("cspa"),
}
_Panels = Mapping[str, pd.DataFrame]
"""Score or column -> the rows of its panel."""


def ioi_components_figure(
    components: pd.DataFrame,
    *,
    s2i: pd.DataFrame,
    labels: Mapping[str, str],
    ioi_task: str | None,
    min_step: int,
) -> Figure:
    """Draw what heads of the IOI circuit do against training tokens, three rows per model.

    The upper row has the copy score, attention from the end to the indirect object (IO), its
    ratio to that to the first mention of the subject (S1), and copy suppression. The lower rows
    have how logit difference and name movers' attention change when the position signal of a head
    is flipped, and when its token signal is. A panel has at most six heads: those with the highest
    score at the last step at which a head of the circuit has it. The ratio has the heads of
    attention to IO, a lower row those that lower the logit difference most. A head has one colour
    and marker in all panels of its model.

    Args:
        components: the table `components`.
        s2i: the table `s2i`.
        labels: models to draw and their names, from top to bottom.
        ioi_task: name of the IOI task; None if the run has none.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    with style.in_style():
        titles = [[*_UPPER.values()], *[[*_CHANGES.values()]] * len(S2I_SIGNALS)]
        panels = Rows(titles * len(labels))
        for index, (model, label) in enumerate(labels.items()):
            first = index * len(titles)
            name_row(panels.grid[first, 0], label)
            for below, signal in enumerate(S2I_SIGNALS, start=1):
                unit = f"change: {signal}\nsignal flipped"
                name_row(panels.grid[first + below, 0], label, unit=unit)
            if ioi_task is None:
                for axes in panels.grid[first : first + len(titles)].flat:
                    say_empty(axes, layout.NO_TASK)
                continue
            analysed = _analysed(components, s2i=s2i, model=model)
            _draw_model(panels, first, analysed, min_step=min_step)
        return panels.finish()


def _analysed(components: pd.DataFrame, *, s2i: pd.DataFrame, model: str) -> list[_Panels]:
    """Return the panels of each row of a model."""
    copy, io, s1, cspa = (
        of_score(components, name, models=[model])
        for name in ("copy", "attn_io", "attn_s1", "cspa")
    )
    heard = components[(components["model"] == model) & (components["score"] == "e_nm_q")]
    steps = heard.loc[heard["value"].notna(), "step"].unique()
    own = s2i[s2i["model"] == model]
    changes = [
        _changes(io, own[own["flip"] == flip], steps_with_movers=steps.tolist())
        for flip in S2I_SIGNALS.values()
    ]
    return [{"copy": copy, "attn_io": io, _RATIO: _ratio(io, s1), "cspa": cspa}, *changes]


def _ratio(io: pd.DataFrame, s1: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `io` with attention to IO over that to S1; NaN without the latter."""
    at = ["step", "layer", "head"]
    other = io[at].merge(s1[[*at, "value"]], on=at, how="left")["value"].to_numpy()
    ratio: pd.Series[float] = io["value"] / np.where(other > 0, other, np.nan)
    return io.assign(value=ratio.where(ratio > 0))


def _changes(
    heads: pd.DataFrame, flipped: pd.DataFrame, *, steps_with_movers: Collection[int]
) -> _Panels:
    """Return for each change a row for every head of `heads`; NaN where it was not tested.

    `flipped` are the rows of one flip. At `steps_with_movers` there are name movers: effects on
    their queries are known.
    """
    at = ["step", "task", "layer", "head"]
    tested = heads.drop(columns=["value", "status"]).merge(
        flipped[[*at, *_CHANGES]].assign(status=str(ScoreStatus.OK)), on=at, how="left"
    )
    reason = (
        tested["step"]
        .isin(list(steps_with_movers))
        .map({True: NOT_TESTED, False: str(ScoreStatus.NO_NAME_MOVERS)})
    )
    tested["status"] = tested["status"].fillna(reason)
    return {
        change: tested.drop(columns=list(_CHANGES)).assign(value=tested[change].astype("float64"))
        for change in _CHANGES
    }


def _draw_model(panels: Rows, first: int, analysed: Sequence[_Panels], *, min_step: int) -> None:
    rows = [
        {name: style.drawable(own, min_step=min_step) for name, own in row.items()}
        for row in analysed
    ]
    upper, *lower = rows
    heads = [_choose(upper), *(_misleading(row) for row in lower)]
    looks = looks_of(chosen for row in heads for chosen in row.values())
    for below, row in enumerate(rows):
        drawn = {name: _of(row[name], heads[below][name]) for name in row}
        for column, name in enumerate(row):
            axes = panels.grid[first + below, column]
            if drawn[name].empty:
                say_empty(axes, _why_empty(analysed[below][name], name=name, min_step=min_step))
                continue
            draw_heads(axes, row[name], heads[below][name], looks=looks)
            panels.key(first + below, column, [looks[head] for head in heads[below][name]])
            _set_range(axes, drawn, name)


def _set_range(axes: Axes, drawn: Mapping[str, pd.Series[float]], name: str) -> None:
    """Set the y axis of a panel; changes of attention share theirs."""
    if name == _RATIO:
        _around_one(axes, drawn[name])
    elif name not in _CHANGES:
        axes.set_ylim(*limits_of(drawn[name]))
    elif "attn" in name:
        _around_zero(axes, [value for other in drawn if "attn" in other for value in drawn[other]])
    else:
        _around_zero(axes, drawn[name])


def _choose(upper: _Panels) -> dict[str, list[Head]]:
    """Return the heads of each panel of the upper row."""
    own = {name: largest_in_circuit(upper[name], limit=MOST_HEADS) for name in _UPPER}
    return own | {_RATIO: own["attn_io"]}


def _misleading(lower: _Panels) -> dict[str, list[Head]]:
    """Return the heads of each panel of a lower row: one choice for all."""
    fall = lower["d_logit_diff"].assign(value=-lower["d_logit_diff"]["value"])
    return dict.fromkeys(_CHANGES, largest_in_circuit(fall, limit=MOST_HEADS))


def _of(rows: pd.DataFrame, heads: Sequence[Head]) -> pd.Series[float]:
    """Return the known values of some heads."""
    chosen = pd.DataFrame(heads, columns=["layer", "head"], dtype="int16")
    return rows.merge(chosen, on=["layer", "head"])["value"].dropna()


def _why_empty(analysed: pd.DataFrame, *, name: str, min_step: int) -> str:
    rows = style.drawable(analysed, min_step=min_step)
    if len(rows) and not rows["in_circuit"].fillna(False).any():
        return "no circuit"
    if len(rows) and name in _CHANGES and not (rows["status"] == ScoreStatus.OK).any():
        movers = (rows["status"] == NOT_TESTED).any()
        return REASONS[NOT_TESTED if movers else ScoreStatus.NO_NAME_MOVERS]
    if rows["value"].isna().all():
        return why_empty(analysed, min_step=min_step)
    return "no circuit contains\na tested head" if name in _CHANGES else NO_CIRCUIT_HEAD


def _around_one(axes: Axes, values: pd.Series[float]) -> None:
    axes.axhline(1, **style.THIN)
    axes.set_yscale("log")
    axes.set_ylim(min(values.min(), 1) / 1.4, max(values.max(), 1) * 1.4)
    label_log(axes.yaxis)


def _around_zero(axes: Axes, values: Iterable[float]) -> None:
    axes.axhline(0, **style.THIN)
    known = [value for value in values if np.isfinite(value)]
    low, high = min([*known, 0.0]), max([*known, 0.0])
    margin = max(0.08 * (high - low), _SMALL_CHANGE - (high - low))
    axes.set_ylim(low - margin, high + margin)
