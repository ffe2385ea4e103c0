"""Circuits on disk: one file per model, task and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import graph_of
from circuitlapse.errors import CircuitlapseError, reading
from circuitlapse.io.hdf5 import Dataset, read_attributes, read_hdf5, write_hdf5
from circuitlapse.io.seal import holds

EDGE = ("source", "target")
DIMS = {
    "sources": ("source",),
    "targets": ("target",),
    "scores": EDGE,
    "order": EDGE,
    "in_circuit": EDGE,
    "m_model": ("prompt",),
    "m_corrupted": ("prompt",),
    "m_circuit": ("prompt",),
    "group_of_prompt": ("prompt",),
    "m_held_out": ("prompt",),
    "m_complement": ("prompt",),
    **{f"knockout_{name}": ("tested",) for name in ("half", "source", "target", "effect", "p")},
    "curve_n_requested": ("size",),
    "curve_n_edges": ("size",),
    "curve_metric": ("size", "prompt"),
    "curve_held_out": ("size", "prompt"),
    "ranking_name": ("row",),
    "ranking_seed": ("row",),
    "ranking_fraction": ("row",),
    "ranking_n_requested": ("row",),
    "ranking_n_edges": ("row",),
    "ranking_metric": ("row", "prompt"),
    "ranking_held_out": ("row",),
    "half_of_prompt": ("prompt",),
    "half_scores": ("half", *EDGE),
    "half_in_circuit": ("half", *EDGE),
    "half_status": ("half",),
    "split_sizes": ("compared",),
    "split_overlap": ("split", "compared", "level", "weighting"),
    "split_rank_correlation": ("split",),
}
NAMES = ("sources", "targets", "ranking_name", "half_status")
MEASURED = (
    "scores",
    "m_model",
    "m_corrupted",
    "m_circuit",
    "m_held_out",
    "m_complement",
    "knockout_effect",
    "curve_metric",
    "curve_held_out",
    "ranking_metric",
    "half_scores",
)
PREFIX = "record_"
_LETTERS = {"Float": "f", "Int": "iu", "Bool": "b", "tuple": "S"}
_DECLARED = {field.name: str(field.type) for field in fields(CircuitRecord)}
KINDS = {name: _LETTERS[_DECLARED[name].partition("[")[0]] for name in DIMS}
"""What each dataset holds, as the record declares; see `read_hdf5`."""
SCALARS = {name: kind for name, kind in _DECLARED.items() if name not in DIMS}
"""What each other field is, such as "int | None"."""


def write_circuit(path: str | Path, record: CircuitRecord, provenance: Mapping[str, str]) -> None:
    """Write a record: its arrays as datasets, the rest and the provenance as attributes."""
    arrays = {name: getattr(record, name) for name in DIMS}
    datasets = {
        name: Dataset(
            np.array(array, dtype="S") if name in NAMES else array,
            DIMS[name],
            record.unit if name in MEASURED else "",
        )
        for name, array in arrays.items()
        if array is not None
    }
    scalars = {
        PREFIX + field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name not in DIMS and getattr(record, field.name) is not None
    }
    write_hdf5(path, datasets, {**provenance, **scalars})


def read_circuit(path: str | Path) -> CircuitRecord:
    """Read a record that `write_circuit` wrote.

    Raises:
        ArtifactError: if the file is missing, broken or of another version, or a dataset is missing
            or has other axes.
    """
    arrays, attributes = read_hdf5(path, DIMS, KINDS, optional=("m_circuit",))
    values: dict[str, Any] = {"n_requested": None, "m_circuit": None, "half_seed": None}
    values |= {"split_seed": None, "n_eliminated": None, **arrays}
    with reading(path, "circuit of this version"):
        values |= {name: tuple(n.decode() for n in arrays[name]) for name in NAMES}
        values |= {
            key.removeprefix(PREFIX): value.item() if isinstance(value, np.generic) else value
            for key, value in attributes.items()
            if key.startswith(PREFIX)
        }
        if wrong := [name for name, kind in SCALARS.items() if not _fits(values.get(name), kind)]:
            found = values.get(wrong[0])
            raise TypeError(f"{wrong[0]} is {found!r}, expected {SCALARS[wrong[0]]}")
        try:
            record = CircuitRecord(**values)
            graph_of(record)
        except CircuitlapseError as error:
            raise ValueError(str(error)) from error
    return record


def _fits(value: object, kind: str) -> bool:
    """Return whether a scalar is what a record declares, such as "int | None"."""
    return type(value).__name__.removesuffix("Type") in kind.split(" | ")


def is_current(path: str | Path, provenance: Mapping[str, str]) -> bool:
    """Return whether `path` is an undamaged file with this provenance; see `holds`."""
    return holds(path, provenance["key"], read_attributes)
