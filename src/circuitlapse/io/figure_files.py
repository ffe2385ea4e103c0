"""Writing of figures."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.figure import Figure

from circuitlapse.figures.style import save_figure
from circuitlapse.io.atomic import atomic_path


def write_figure(figure: Figure, targets: Iterable[str]) -> None:
    """Write a figure to every target, as PDF or PNG by its ending; each is whole or absent."""
    for target in targets:
        with atomic_path(target) as scratch:
            save_figure(figure, scratch)
