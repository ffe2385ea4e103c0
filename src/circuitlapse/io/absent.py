"""A file that is not there is not a broken one: it cannot be deleted and made again."""

from __future__ import annotations

from pathlib import Path

from circuitlapse.errors import ArtifactError


def refuse_absent(path: str | Path) -> None:
    """Refuse a path that leads to no file.

    Raises:
        ArtifactError: there is no such file.
    """
    if not Path(path).is_file():
        raise ArtifactError(
            f"{path}: there is no such file; a relative path starts in {Path.cwd()}"
        )
