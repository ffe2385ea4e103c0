"""How much the heads of each role in the IOI algorithm change from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from circuitlapse.figures import layout, style
from circuitlapse.figures.stability import NODES, Panel, draw_overlap, overlap_handles
from circuitlapse.types import ROLE_TITLES, Role
from circuitlapse.types.status import TurnoverStatus

_STRIP_IN = 0.12
"""Height of a model's row in the strip of changes beyond the noise floor."""
_PANEL_IN = 1.3
_N_COLUMNS = 4
_WHY = {
    TurnoverStatus.NO_BEHAVIOUR: "the model does not do the task",
    TurnoverStatus.NOT_MEASURED: "no heads that it would write to",
    TurnoverStatus.NO_HEADS: "no head has the role",
}
"""Why nothing is drawn; the later, the more was measured."""


def turnover_figure(turnover: pd.DataFrame, *, labels: Mapping[str, str], min_step: int) -> Figure:
    """Draw the overlap of the heads of each role at neighbouring steps, a panel per role.

    Dotted is the noise floor, the 5 % quantile of the overlap of roles by two halves of the
    prompts; the shade reaches up to the median. The strip below a panel marks the steps whose
    overlap with the next step is below the floor.

    Args:
        turnover: the table `turnover`.
        labels: models to draw and their names, in the order of the legend.
        min_step: first step to draw; the logarithmic axis never shows step 0.
    """
    table = turnover[turnover["model"].isin(list(labels))]
    looks = style.looks(labels)
    with style.in_style():
        figure, panels = _panels(n_models=len(labels))
        for role, panel in panels.items():
            analysed = table[table["role"] == role]
            pairs = style.drawable(analysed, min_step=min_step)
            if pairs["jaccard"].isna().all():
                layout.say(panel.overlap, _why_empty(analysed, pairs, min_step=min_step))
                continue
            known = pairs.assign(jaccard_matched=pairs["jaccard"])
            draw_overlap(panel, known, floors=known[known["jaccard"].notna()], looks=looks)
            layout.make_room(panel.overlap, n_lines=2)
            layout.note(panel.overlap, f"{layout.n_prompts(pairs)}\n{_n_heads(pairs)}")
        models = layout.model_handles(looks.values())
        marks = overlap_handles(figure, NODES[0])
        return layout.finish(figure, panels[Role.NAME_MOVER].beyond, models, marks)


def _panels(*, n_models: int) -> tuple[Figure, dict[Role, Panel]]:
    """Return a panel and a strip for each role."""
    n_rows = -(-len(Role) // _N_COLUMNS)
    heights = [_PANEL_IN, _STRIP_IN * (n_models + 0.4)] * n_rows
    size = (style.WIDTH_IN, sum(heights) + 0.45 * n_rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        2 * n_rows, _N_COLUMNS, squeeze=False, sharex=True, height_ratios=heights
    )
    above, below = grid[::2].ravel(), grid[1::2].ravel()
    panels = {role: Panel(*pair) for role, *pair in zip(ROLE_TITLES, above, below, strict=False)}
    for place, (role, panel) in enumerate(panels.items()):
        first = place % _N_COLUMNS == 0
        panel.overlap.set_title(ROLE_TITLES[role])
        panel.overlap.set_ylim(0, 1.18)
        panel.overlap.set_yticks(np.linspace(0, 1, 6))
        panel.overlap.set_xscale("log")
        panel.overlap.tick_params(axis="y", labelleft=first)
        panel.overlap.set_ylabel("Overlap of heads\n(Jaccard)" if first else "")
        panel.beyond.set_xlabel(style.across(style.TOKENS, _N_COLUMNS, size=style.LABEL_SIZE))
        panel.beyond.set_yticks([])
        panel.beyond.set_ylim(n_models - 0.4, -0.6)
        panel.beyond.tick_params(axis="x", labelbottom=True)
    for unused in (*above[len(panels) :], *below[len(panels) :]):
        unused.set_visible(False)
    return figure, panels


def _n_heads(pairs: pd.DataFrame) -> str:
    """Return how many heads the roles that are drawn have."""
    drawn = pairs[pairs["jaccard"].notna()]
    number = layout.low_to_high(pd.concat([drawn["n_heads"], drawn["n_heads_next"]]))
    return f"{number} {'head' if number == '1' else 'heads'}"


def _why_empty(analysed: pd.DataFrame, pairs: pd.DataFrame, *, min_step: int) -> str:
    if analysed.empty:
        return layout.NO_TASK
    if pairs.empty:
        return style.nothing_to_show(analysed, min_step=min_step)
    return _reason(list(pairs["status"]))


def _reason(statuses: Sequence[str]) -> str:
    """Return why no overlap is defined, at the steps where most was measured."""
    return [words for status, words in _WHY.items() if status in statuses][-1]
