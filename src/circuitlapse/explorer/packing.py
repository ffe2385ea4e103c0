"""Tables as compact JSON: columns instead of rows, numbers with four significant digits.

A packed table is `{"n": rows, "columns": {name: value or list}}`. A column whose rows are all equal
is that one value; any other is a list with one entry per row. Missing and undefined values are
null. `unpack` is the inverse, up to rounding.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

DIGITS = 4
"""Significant digits of every number that is not a count."""

Packed = dict[str, Any]
"""A packed table, or one column of it."""


def rounded(value: float) -> float | int | None:
    """Return a number with `DIGITS` significant digits, as short as JSON can write it.

    A whole number loses its decimal point; NaN and infinities become None.
    """
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def plain(values: Iterable[Any]) -> list[Any]:
    """Return values of one column as JSON can write them; missing ones are None.

    Counts keep all their digits, other numbers have `DIGITS`.
    """
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return rounded(float(value))
    return str(value)


def squeezed(values: Sequence[Any]) -> Any:
    """Return a list, or its only value if all are equal and there is at least one."""
    first = values[0] if values else None
    same = bool(values) and all(value == first and type(value) is type(first) for value in values)
    return first if same else list(values)


def pack(rows: pd.DataFrame, *, without: Sequence[str] = ()) -> Packed:
    """Return a packed table.

    Args:
        rows: a table; its index is not kept.
        without: columns to leave out.
    """
    columns = {
        str(name): squeezed(plain(rows[name].tolist()))
        for name in rows.columns
        if name not in without
    }
    return {"n": len(rows), "columns": columns}


def unpack(packed: Packed) -> pd.DataFrame:
    """Return the rows of a packed table."""
    n = packed["n"]
    return pd.DataFrame(
        {
            name: value if isinstance(value, list) else [value] * n
            for name, value in packed["columns"].items()
        },
        index=range(n),
    )


def gaps(order: Sequence[int]) -> list[int]:
    """Return each number minus the one before it, the first as it is: small, so it packs well."""
    return [int(gap) for gap in np.diff(np.asarray(order, dtype=np.int64), prepend=0)]


def compressed(document: Any) -> str:
    """Return a JSON document, gzipped and in base64; equal documents give equal text.

    Raises:
        ValueError: if a number is NaN or infinite, which is no JSON.
    """
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def decompressed(text: str) -> Any:
    """Return the document of `compressed`."""
    return json.loads(gzip.decompress(base64.b64decode(text)))
