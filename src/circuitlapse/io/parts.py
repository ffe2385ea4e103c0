"""What is done of an unfinished job, kept for its next attempt."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from circuitlapse.errors import ArtifactError
from circuitlapse.io.tables import read_provenance, read_table, write_table
from circuitlapse.schemas import Schema

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
