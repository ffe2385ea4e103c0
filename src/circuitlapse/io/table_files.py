"""Tables on disk: Parquet for programs, CSV for readers and `diff`."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from circuitlapse.errors import ArtifactError, reading
from circuitlapse.io.atomic import atomic_path, clear_abandoned
from circuitlapse.io.seal import ROOM, check_seal, holds, seal
from circuitlapse.schemas import Schema

PROVENANCE = b"circuitlapse"
"""Key of the provenance in the metadata of a Parquet file; the value is JSON."""

SEAL = b"circuitlapse_seal"
"""Key of the digest of the content in the metadata of a Parquet file."""

_log = logging.getLogger(__name__)


def write_parquet(path: str | Path, table: pa.Table, metadata: Mapping[bytes, str]) -> None:
    """Write a Parquet file, complete or absent; `metadata` is added to that of the table."""
    metadata = {**(table.schema.metadata or {}), **metadata}
    metadata.pop(SEAL, None)  # of the file that the table was read from
    with atomic_path(path) as scratch:
        whole = table.replace_schema_metadata(metadata)
        with pq.ParquetWriter(scratch, whole.schema, compression="zstd") as writer:
            writer.write_table(whole)
            writer.add_key_value_metadata({SEAL: ROOM})
        seal(scratch)


def read_parquet(path: str | Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        ArtifactError: if the file is missing or damaged, or is not Parquet.
    """
    check_seal(path)
    with reading(path, "Parquet file"):
        return pq.ParquetFile(path).read()


def write_table(
    path: str | Path,
    frame: pd.DataFrame,
    *,
    provenance: Mapping[str, Any],
    csv: str | Path | None = None,
) -> None:
    """Write `frame` as Parquet and, if `csv` is given, as CSV.

    The same frame always gives the same bytes.

    Args:
        path: of the Parquet file.
        frame: its index is not stored.
        provenance: what made the table, for the metadata of the Parquet file.
        csv: path of the CSV file, with nine significant digits and `NaN` for missing numbers.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_parquet(path, table, {PROVENANCE: json.dumps(provenance, sort_keys=True)})
    if csv is not None:
        with atomic_path(csv) as scratch:
            frame.to_csv(
                scratch, index=False, float_format="%.9g", na_rep="NaN", lineterminator="\n"
            )


def read_table(path: str | Path, schema: Schema) -> pd.DataFrame:
    """Read a table with the columns of `schema`.

    Raises:
        ArtifactError: if the file is missing or is not Parquet, or a column is missing,
            unexpected or of another dtype.
    """
    table = read_parquet(path)
    with reading(path, "table"):
        frame: pd.DataFrame = table.to_pandas()
    schema.check(frame, where=str(path))
    return frame


def read_tables(paths: Iterable[str | Path], schema: Schema) -> pd.DataFrame:
    """Read tables with the columns of `schema` and concatenate their rows.

    Raises:
        ArtifactError: see `read_table`.
    """
    tables = [read_table(path, schema) for path in paths]
    return pd.concat([schema.empty(), *tables], ignore_index=True)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return the provenance of a Parquet file.

    Raises:
        ArtifactError: if the file is missing, is not Parquet or has no provenance.
    """
    check_seal(path)
    with reading(path, "Parquet file"):
        metadata = pq.read_schema(path).metadata or {}
        if PROVENANCE not in metadata:
            raise ArtifactError(f"{path}: expected provenance in the metadata, found none")
        return dict(json.loads(metadata[PROVENANCE]))


class Parts:
    """A folder of finished tables that together become the output of a long job.

    Snakemake deletes the output of a job that fails, runs out of time or is killed, but not this
    folder, so the next attempt starts where the last one stopped. What is no folder is removed.

    Args:
        folder: for this job only.
        schema: of every table.
    """

    def __init__(self, folder: str | Path, schema: Schema) -> None:
        self._folder, self._schema = Path(folder), schema
        if os.path.lexists(folder) and (self._folder.is_symlink() or not self._folder.is_dir()):
            self._folder.unlink()
        clear_abandoned(self._folder)

    def get(
        self, name: str, provenance: Mapping[str, str], make: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """Return the part `name` from the folder, or make it and keep it there.

        Args:
            name: of the part.
            provenance: of the part; an existing part with another key is replaced.
            make: returns the part.
        """
        path = self._folder / f"{name}.parquet"
        if holds(path, provenance["key"], read_provenance):
            _log.info("%s: reused from an unfinished job", name)
            return read_table(path, self._schema)
        table = make()
        write_table(path, table, provenance=provenance)
        _log.info("%s: %d rows", name, len(table))
        return table

    def finish(
        self, path: str | Path, tables: Sequence[pd.DataFrame], *, provenance: Mapping[str, str]
    ) -> None:
        """Write all parts as one table, and delete the folder.

        Args:
            path: output of the job.
            tables: every part, from `get`; without any the output has no rows.
            provenance: of the output.
        """
        whole = pd.concat([self._schema.empty(), *tables], ignore_index=True)
        write_table(path, whole, provenance=provenance)
        shutil.rmtree(self._folder, ignore_errors=True)
