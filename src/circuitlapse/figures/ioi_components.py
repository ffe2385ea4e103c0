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
from circuitlapse.types import S2I_FLIP, ScoreStatus

MOST_HEADS = 6
_RATIO = "IO / S1 attention"
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


def ioi_components_figure(
    components: pd.DataFrame,
    *,
    s2i: pd.DataFrame,
    labels: Mapping[str, str],
    ioi_task: str | None,
    min_step: int,
) -> Figure:
    """Draw what heads of the IOI circuit do against training tokens, two rows per model.

    The upper row has the copy score, attention from the end to the indirect object (IO), its
    ratio to that to the first mention of the subject (S1), and copy suppression. The lower row
    has how logit difference and name movers' attention change when a head is misled about the
    position of the names. A panel has at most six heads: those with the highest score at the last
    step at which a head of the circuit has it. The ratio has the heads of attention to IO, the
    lower row those that lower the logit difference most. A head has one colour and marker in all
    panels of its model.

    Args:
        components: the table `components`.
        s2i: the table `s2i`.
        labels: models to draw and their names, from top to bottom.
        ioi_task: name of the IOI task; None if the run has none.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    with style.in_style():
        panels = Rows([[*_UPPER.values()], [*_CHANGES.values()]] * len(labels))
        for index, (model, label) in enumerate(labels.items()):
            name_row(panels.grid[2 * index, 0], label)
            name_row(panels.grid[2 * index + 1, 0], label, unit="change when misled")
            if ioi_task is None:
                for axes in panels.grid[2 * index : 2 * index + 2].flat:
                    say_empty(axes, layout.NO_TASK)
                continue
            analysed = _analysed(components, s2i=s2i, model=model)
            _draw_model(panels, 2 * index, analysed, min_step=min_step)
        return panels.finish()


def _analysed(
    components: pd.DataFrame, *, s2i: pd.DataFrame, model: str
) -> dict[str, pd.DataFrame]:
    """Return the rows of each panel of a model, by score or column."""
    copy, io, s1, cspa = (
        of_score(components, name, models=[model])
        for name in ("copy", "attn_io", "attn_s1", "cspa")
    )
    heard = components[(components["model"] == model) & (components["score"] == "e_nm_q")]
    steps = heard.loc[heard["value"].notna(), "step"].unique()
    changes = _changes(io, s2i[s2i["model"] == model], steps_with_movers=steps.tolist())
    return {"copy": copy, "attn_io": io, _RATIO: _ratio(io, s1), "cspa": cspa} | changes


def _ratio(io: pd.DataFrame, s1: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `io` with attention to IO over that to S1; NaN without the latter."""
    at = ["step", "layer", "head"]
    other = io[at].merge(s1[[*at, "value"]], on=at, how="left")["value"].to_numpy()
    ratio: pd.Series[float] = io["value"] / np.where(other > 0, other, np.nan)
    return io.assign(value=ratio.where(ratio > 0))


def _changes(
    heads: pd.DataFrame, s2i: pd.DataFrame, *, steps_with_movers: Collection[int]
) -> dict[str, pd.DataFrame]:
    """Return for each change a row for every head of `heads`; NaN where it was not tested.

    At `steps_with_movers` there are name movers: effects on their queries are known.
    """
    at = ["step", "task", "layer", "head"]
    decisive = s2i.loc[s2i["flip"] == S2I_FLIP, [*at, *_CHANGES]]
    tested = heads.drop(columns=["value", "status"]).merge(
        decisive.assign(status=str(ScoreStatus.OK)), on=at, how="left"
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


def _draw_model(
    panels: Rows, row: int, analysed: Mapping[str, pd.DataFrame], *, min_step: int
) -> None:
    rows = {name: style.drawable(own, min_step=min_step) for name, own in analysed.items()}
    heads = _choose(rows)
    looks = looks_of(heads.values())
    drawn = {name: _of(rows[name], heads[name]) for name in heads}
    attention = [value for name in _CHANGES if "attn" in name for value in drawn[name]]
    for at, name in enumerate([*_UPPER, *_CHANGES]):
        below, column = divmod(at, len(_UPPER))
        axes = panels.grid[row + below, column]
        if drawn[name].empty:
            say_empty(axes, _why_empty(analysed[name], name=name, min_step=min_step))
            continue
        draw_heads(axes, rows[name], heads[name], looks=looks)
        panels.key(row + below, column, [looks[head] for head in heads[name]])
        if name == _RATIO:
            _around_one(axes, drawn[name])
        elif name in _CHANGES:
            _around_zero(axes, attention if "attn" in name else drawn[name])
        else:
            axes.set_ylim(*limits_of(drawn[name]))


def _choose(rows: Mapping[str, pd.DataFrame]) -> dict[str, list[Head]]:
    """Return the heads of each panel."""
    fall = rows["d_logit_diff"].assign(value=-rows["d_logit_diff"]["value"])
    own = {name: largest_in_circuit(rows[name], limit=MOST_HEADS) for name in _UPPER}
    misleading = largest_in_circuit(fall, limit=MOST_HEADS)
    return own | {_RATIO: own["attn_io"]} | dict.fromkeys(_CHANGES, misleading)


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
    low, high = min(values, default=0.0), max(values, default=0.0)
    margin = 0.08 * max(high - low, 0.01)
    axes.set_ylim(min(low, 0) - margin, max(high, 0) + margin)
