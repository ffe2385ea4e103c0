"""A schema, and the columns that most tables have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from circuitlapse.errors import ArtifactError


@dataclass(frozen=True)
class Schema:
    """One table: its columns, in order, with their pandas dtypes, and what identifies a row."""

    name: str
    keys: tuple[str, ...]
    """Columns that together identify a row; rows are sorted by them."""
    columns: Mapping[str, str]

    def check(self, frame: pd.DataFrame, *, where: str) -> None:
        """Refuse a table whose columns or dtypes differ from this schema.

        Raises:
            ArtifactError: names `where` and every column that differs.
        """
        found = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
        problems = [
            f"column {column!r} is {found.get(column, 'missing')}, expected {dtype}"
            for column, dtype in self.columns.items()
            if found.get(column) != dtype
        ]
        problems += [f"column {name!r} is unexpected" for name in found if name not in self.columns]
        if not problems and list(found) != list(self.columns):
            problems = [f"columns are in the order {list(found)}, expected {list(self.columns)}"]
        if problems:
            raise ArtifactError(f"{where}: not a {self.name} table: {'; '.join(problems)}")

    def without(self, *names: str) -> Schema:
        """Return the schema of the same table without some columns."""
        keys = tuple(key for key in self.keys if key not in names)
        kept = {name: dtype for name, dtype in self.columns.items() if name not in names}
        return Schema(self.name, keys, kept)

    def empty(self) -> pd.DataFrame:
        """Return the table without rows."""
        return self.cast(pd.DataFrame(columns=list(self.columns)))

    def cast(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of this schema, in its order, with its dtypes."""
        return frame[list(self.columns)].astype(dict(self.columns))


CHECKPOINT = {"model": "str", "variant": "str", "step": "int64", "tokens": "int64"}
"""The columns about a checkpoint: one model at one step."""
CHECKPOINT_TASK = CHECKPOINT | {"task": "str"}
"""The same and the task that the model is asked to do."""
TASK_KEYS = ("model", "variant", "task", "step")
"""Those of these columns that identify a checkpoint and a task; tokens follow from the step."""
HEAD = {"layer": "int16", "head": "int16"}
"""The columns about an attention head."""
