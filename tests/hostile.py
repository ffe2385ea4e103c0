"""Files that are well-formed, but hold anything but what their writer declares.

Each function yields a name and what changes a file so. Their digests fit (`sealed.reseal`), so only
the checks of types, shapes and names are left to refuse them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from circuitlapse.io.table_files import SEAL, write_parquet
from tests.sealed import reseal

Change = Callable[[Path], None]
RAW = {
    "lists nested too deeply": b"[" * 100_000,
    "mappings nested too deeply": b'{"a":' * 100_000,
    "a number beyond all": b"1e999",
    "a number of 5000 digits": 5000 * b"9",
    "no number": b"NaN",
    "not UTF-8": b'"\xff"',
    "half of a character": b'"\\ud800"',
    "zeros": bytes(5000),
    "null": b"null",
}
"""Content of a file of text or JSON."""
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "a text": "x",
    "minus one": -1,
    "a fraction": 0.5,
    "infinity": float("inf"),
    "no number": float("nan"),
    "a huge number": 10**12,
    "a number beyond all": 10**400,
    "an empty list": [],
    "a list": [[[1]]],
    "an empty mapping": {},
    "a mapping": {"a": {"b": None}},
}
"""What may stand in place of a value of JSON."""


def raw() -> Iterator[tuple[str, Change]]:
    """Yield other contents of the whole file, and a file too large for memory."""
    for name, content in RAW.items():
        yield name, lambda path, content=content: path.write_bytes(content) and None


def json_changes(
    text: str, finish: Callable[[Any], Any] = lambda value: value
) -> Iterator[tuple[str, Change]]:
    """Yield changes of one value of a JSON document, or of one key; `finish` may add a digest."""
    whole = json.loads(text)
    for place in _places(whole, limit=12):
        for name, value in VALUES.items():
            yield f"{_dotted(place)} is {name}", _written(finish(_with(whole, place, value)))
        yield f"{_dotted(place)} is missing", _written(finish(_with(whole, place, _MISSING)))


_MISSING = object()


def _places(value: Any, *, limit: int, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value, of long lists and mappings the first ones."""
    inner = value if isinstance(value, dict) else dict(enumerate(value))
    for key in list(inner)[:limit]:
        yield (*place, key)
        if isinstance(inner[key], dict | list):
            yield from _places(inner[key], limit=limit // 3, place=(*place, key))


def _with(whole: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(whole)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if value is _MISSING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return changed


def _dotted(place: tuple[Any, ...]) -> str:
    return ".".join(map(str, place))


def _written(value: Any) -> Change:
    return lambda path: path.write_text(json.dumps(value)) and None


HDF5_TYPES = ("float64", "float16", "int64", "uint8", "bool", "S3", "complex64")
ATTRIBUTES: dict[str, Any] = {
    "a text": "x",
    "a number": -1,
    "no number": float("nan"),
    "bytes": np.void(b"x"),
    "a row": np.arange(3),
    "nothing": h5py.Empty("f"),
    "deep JSON": "[" * 60_000,
    "null": "null",
    "a list": "[[]]",
}


def hdf5_changes(path: Path) -> Iterator[tuple[str, Change]]:
    """Yield changes of one dataset or one attribute of an HDF5 file."""
    with h5py.File(path, locking=False) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if _is_dataset(item) else None)
        attributes = list(file.attrs)
        dtypes = {name: file[name].dtype for name in names}
    for name in names:
        for what, change in _dataset_changes(dtypes[name]):
            yield f"{name}: {what}", _in_hdf5(name, change)
    for name in attributes:
        yield f"attribute {name} is missing", _attribute(name, None)
        for what, value in ATTRIBUTES.items():
            yield f"attribute {name} is {what}", _attribute(name, value)


def _is_dataset(item: object) -> bool:
    return isinstance(item, h5py.Dataset)


def _dataset_changes(dtype: np.dtype) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield what is in place of the values; None for nothing, a mapping for a group."""
    yield "missing", lambda values: None
    yield "a group", lambda values: {}
    yield "one value", lambda values: np.zeros((), dtype=values.dtype)
    yield "one axis more", lambda values: values[..., None]
    yield "one entry less", lambda values: values[:-1]
    yield "one entry more", lambda values: np.concatenate([values, values[:1]])
    yield "no entry", lambda values: values[:0]
    yield "text", lambda values: np.full(values.shape, b"\xff", dtype="S3")
    yield "objects", lambda values: np.full(values.shape, "x", dtype=object)
    yield "announced", lambda values: (values.shape, 10**5, dtype)
    for other in HDF5_TYPES:
        yield other, lambda values, other=other: np.zeros(values.shape, dtype=other)
    if dtype.kind == "f":
        yield "no numbers", lambda values: np.full(values.shape, np.nan, dtype=dtype)


def _in_hdf5(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+", locking=False) as file:
            old = file[name]
            labels, values = [dim.label for dim in old.dims], old[()]
            made = change(values)
            del file[name]
            if isinstance(made, dict):
                file.create_group(name)
            elif made is not None:
                _create(file, name, made, labels)
        reseal(path)

    return apply


def _create(file: h5py.File, name: str, made: Any, labels: list[str]) -> None:
    if isinstance(made, tuple):  # announced, but not there
        shape, length, dtype = made
        shape = tuple(length for _ in shape)
        stored = file.create_dataset(name, shape=shape, dtype=dtype, chunks=True)
    elif made.dtype == object:
        stored = file.create_dataset(name, data=made, dtype=h5py.string_dtype())
    else:
        stored = file.create_dataset(name, data=made)
    for dim, label in zip(stored.dims, labels, strict=False):
        dim.label = label


def _attribute(name: str, value: Any) -> Change:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+", locking=False) as file:
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
        reseal(path)

    return apply


COLUMNS: dict[str, Callable[[int], pa.Array]] = {
    "texts": lambda n: pa.array(["x"] * n),
    "numbers": lambda n: pa.array([-1] * n),
    "large numbers": lambda n: pa.array([2**62] * n),
    "no numbers": lambda n: pa.array([float("nan")] * n),
    "nulls": lambda n: pa.nulls(n),
    "bytes": lambda n: pa.array([b"\xff"] * n),
    "lists": lambda n: pa.array([[[1]]] * n),
    "mappings": lambda n: pa.array([{"a": 1}] * n),
    "times": lambda n: pa.array([2**62] * n, type=pa.timestamp("ns")),
    "durations": lambda n: pa.array([2**40] * n, type=pa.duration("s")),
}


def parquet_changes(path: Path) -> Iterator[tuple[str, Change]]:
    """Yield changes of one column or one entry of the metadata of a Parquet file."""
    table = pq.read_table(path)
    for index, name in enumerate(table.column_names):
        yield f"{name} is missing", _in_parquet(lambda old, i=index: old.remove_column(i))
        for what, column in COLUMNS.items():
            yield (
                f"{name} has {what}",
                _in_parquet(
                    lambda old, i=index, name=name, column=column: old.set_column(
                        i, name, column(len(old))
                    )
                ),
            )
    yield "no rows", _in_parquet(lambda old: old.slice(0, 0))
    for key in table.schema.metadata:
        if key != SEAL:
            yield f"no {key.decode()}", _metadata(key, None)
            for what, text in RAW.items():
                yield f"{key.decode()} is {what}", _metadata(key, text)


def _metadata(key: bytes, text: bytes | None) -> Change:
    def change(old: pa.Table) -> pa.Table:
        metadata = {**old.schema.metadata, key: text}
        return old.replace_schema_metadata({k: v for k, v in metadata.items() if v is not None})

    return _in_parquet(change)


def _in_parquet(change: Callable[[pa.Table], pa.Table]) -> Change:
    def apply(path: Path) -> None:
        write_parquet(path, change(pq.read_table(path)), {})

    return apply
