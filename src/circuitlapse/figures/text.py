"""How wide text is, and where to break it so that it fits."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

FONT = "DejaVu Sans"
"""The type of all figures. It comes with matplotlib: the same on every machine."""


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return how wide a line of text is, in points, at a type size of `size` points."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=size, prop=FontProperties(family=FONT))
    return float(path.get_extents().width)


def wrap(text: str, width: float, *, size: float) -> str:
    """Break `text` into lines at most `width` points wide; inside a word only if it must."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines += _pieces(word, width, size=size)
    return "\n".join(lines)


def shorten(text: str, width: float, *, size: float) -> str:
    """Return `text`, or as much of its beginning as fits before an ellipsis."""
    if text_width(text, size) <= width:
        return text
    fitting = [n for n in range(1, len(text)) if text_width(f"{text[:n]}…", size) <= width]
    return f"{text[: max(fitting, default=1)].rstrip()}…"


def _pieces(word: str, width: float, *, size: float) -> list[str]:
    pieces = [word[:1]]
    for letter in word[1:]:
        if text_width(pieces[-1] + letter, size) <= width:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces
