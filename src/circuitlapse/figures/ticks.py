"""Ticks of logarithmic axes, with labels that are round, short and do not collide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray

from circuitlapse.figures.text import text_width

SIZE = 7.0
"""Type size of tick labels, in points."""
_GAP = 4.0
"""Least distance of two labels, in points."""
_OVERHANG = 7.0
"""How far a label may reach beyond the end of a horizontal axis: the next panel has some too."""


def label_log(axis: Axis) -> None:
    """Label a logarithmic axis, and the axes that share it, when the figure is drawn."""
    axis.set_major_locator(LogTicks(axis))
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=99))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_label(value)))
    axis.set_minor_formatter(NullFormatter())
    horizontal = isinstance(axis, XAxis)
    axis.axes.autoscale_view(scalex=horizontal, scaley=not horizontal)


def count_label(value: float) -> str:
    """Return for instance "0.5", "20k", "1.5M" or "300B"."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


class LogTicks(LogLocator):
    """The most ticks, of several round choices, whose labels fit side by side.

    Powers of ten are preferred, below 1.3 decades also their double and fivefold, and below
    half a decade whatever is round. Where not even two labels fit, there is one.
    """

    def __init__(self, along: Axis) -> None:
        super().__init__()
        self._along = along

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two values, for the size that the axis has now."""
        low, high = sorted((float(vmin), float(vmax)))
        choices = [
            values[::stride]
            for choice, max_stride in _choices(low, high)
            for values in [self._inside(choice, low, high)]
            for stride in range(1, max_stride + 1)
        ]
        fitting = (values for values in choices if len(values) > 1 and self._fit(values, low, high))
        found = next(fitting, None)
        if found is None:
            found = next((values[:1] for values in choices if len(values)), choices[0])
        return [float(value) for value in found]

    def nonsingular(self, vmin: float, vmax: float) -> tuple[float, float]:
        """Return a decade with the value in its middle where there is only one value."""
        if vmin == vmax and vmin > 0:
            return vmin / math.sqrt(10), vmax * math.sqrt(10)
        low, high = super().nonsingular(vmin, vmax)
        return float(low), float(high)

    def _inside(
        self, values: Float[ndarray, " value"], low: float, high: float
    ) -> Float[ndarray, " tick"]:
        """Keep the values whose labels do not reach too far beyond the axis."""
        values = values[(values >= low * (1 - 1e-9)) & (values <= high * (1 + 1e-9))]
        where, half = self._place(values, low, high), self._extents(values) / 2
        if not isinstance(self._along, XAxis):
            return values
        ends = (where - half >= -_OVERHANG) & (where + half <= self._length() + _OVERHANG)
        return values[ends]

    def _fit(self, values: Float[ndarray, " tick"], low: float, high: float) -> bool:
        extents = self._extents(values)
        needed = (extents[1:] + extents[:-1]) / 2 + _GAP
        return bool((np.diff(self._place(values, low, high)) >= needed).all())

    def _place(
        self, values: Float[ndarray, " tick"], low: float, high: float
    ) -> Float[ndarray, " tick"]:
        share: ndarray = np.log(values / low) / (math.log(high / low) or 1.0)
        return share * self._length()

    def _extents(self, values: Float[ndarray, " tick"]) -> Float[ndarray, " tick"]:
        """Return how much of the axis each label takes, in points."""
        if not isinstance(self._along, XAxis):
            return np.full(len(values), SIZE)
        return np.array([text_width(count_label(value), SIZE) for value in values])

    def _length(self) -> float:
        box = self._along.axes.bbox.transformed(self._along.axes.figure.dpi_scale_trans.inverted())
        inches = box.width if isinstance(self._along, XAxis) else box.height
        return 72 * float(inches)


def _choices(low: float, high: float) -> Sequence[tuple[Float[ndarray, " value"], int]]:
    """Return round values between (or next to) two others; the first choice comes first.

    With each comes of how many neighbours one alone may be labelled: two powers of ten may be
    any number of powers apart.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = (10.0 ** np.arange(first, last + 1), max(1, last - first))
    fine = (np.outer(10.0 ** np.arange(first - 1, last + 1), (1, 2, 5)).ravel(), 1)
    even = [(np.asarray(MaxNLocator(n).tick_values(low, high)), 1) for n in (4, 3, 2, 1)]
    decades = math.log10(high / low)
    if decades < 0.5:
        return [*even, fine]
    return [fine, powers, *even] if decades <= 1.3 else [powers, fine, *even]
