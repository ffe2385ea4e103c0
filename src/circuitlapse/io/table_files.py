"""Tables on disk: Parquet for programs, CSV for people and `diff`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from circuitlapse.errors import REMAKE, ArtifactError, require_file
from circuitlapse.io.atomic import atomic_path
from circuitlapse.schemas import Schema

_PROVENANCE = b"circuitlapse"


def write_table(
    path: str | Path,
    frame: pd.DataFrame,
    *,
    provenance: Mapping[str, Any],
    csv: str | Path | None = None,
) -> None:
    """Write `frame` as Parquet and, where `csv` is given, as CSV; the same frame, the same bytes.

    Args:
        path: the Parquet file; it is whole or absent.
        frame: its index is not kept.
        provenance: what the table was made from and by; JSON in the Parquet metadata.
        csv: numbers have nine significant digits, missing ones are `NaN`.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = {_PROVENANCE: json.dumps(provenance, sort_keys=True).encode()}
    with atomic_path(path) as scratch:
        pq.write_table(
            table.replace_schema_metadata({**table.schema.metadata, **note}),
            scratch,
            compression="zstd",
        )
    if csv is not None:
        with atomic_path(csv) as scratch:
            frame.to_csv(
                scratch, index=False, float_format="%.9g", na_rep="NaN", lineterminator="\n"
            )


def read_table(path: str | Path, schema: Schema) -> pd.DataFrame:
    """Read a Parquet table that must follow `schema`.

    Raises:
        ArtifactError: if the file is not Parquet, or a column is missing, unexpected or of
            another dtype; names the file, the column, what was expected and what was found.
    """
    frame: pd.DataFrame = _open(path).read().to_pandas()
    schema.check(frame, where=str(path))
    return frame


def read_tables(paths: Iterable[str | Path], schema: Schema) -> pd.DataFrame:
    """Read tables that must follow `schema` and return all their rows, or none without tables.

    Raises:
        ArtifactError: see `read_table`.
    """
    tables = [read_table(path, schema) for path in paths]
    return pd.concat([schema.empty(), *tables], ignore_index=True)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return what `write_table` was told about the origin of a Parquet table.

    Raises:
        ArtifactError: if the file is not Parquet or says nothing about its origin.
    """
    metadata = _open(path).schema_arrow.metadata or {}
    if _PROVENANCE not in metadata:
        raise ArtifactError(
            f"{path}: no provenance in the metadata; was it written by write_table?"
        )
    return dict(json.loads(metadata[_PROVENANCE]))


def _open(path: str | Path) -> pq.ParquetFile:
    require_file(path)
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ArtifactError(f"{path}: expected a Parquet file, found: {error}; {REMAKE}") from error


_log = logging.getLogger(__name__)


class Parts:
    """A folder of tables that together become the output of a job.

    The workflow knows nothing of it, so it is there after the job failed, ran out of time or was
    killed, when Snakemake deletes the output.

    Args:
        folder: of this job alone.
        schema: of every table.
    """

    def __init__(self, folder: str | Path, schema: Schema) -> None:
        self._folder, self._schema = Path(folder), schema

    def get(
        self, name: str, provenance: Mapping[str, str], make: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """Return the part called `name`; make and keep it, unless it is there and still valid.

        Args:
            name: of the part.
            provenance: what it is made from and by; a part with another key is made anew.
            make: makes it.
        """
        path = self._folder / f"{name}.parquet"
        if _is_current(path, provenance):
            _log.info("%s: kept from an unfinished job", name)
            return read_table(path, self._schema)
        table = make()
        write_table(path, table, provenance=provenance)
        _log.info("%s: %d rows", name, len(table))
        return table

    def discard(self) -> None:
        """Delete all parts: the job is done."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _is_current(path: Path, provenance: Mapping[str, str]) -> bool:
    try:
        return bool(read_provenance(path).get("key") == provenance["key"])
    except (FileNotFoundError, ArtifactError):
        return False
