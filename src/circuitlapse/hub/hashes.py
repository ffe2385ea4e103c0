"""The hashes by which a hub names its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from circuitlapse.errors import HubError

SHA256_LENGTH = 64


@dataclass(frozen=True)
class FileHash:
    """What a file must hash to: SHA-256 for a large one (Git LFS), else the id of a Git blob."""

    hexadecimal: str

    @property
    def kind(self) -> str:
        """Name of the hash, for people."""
        return "SHA-256" if len(self.hexadecimal) == SHA256_LENGTH else "Git blob id"

    def check(self, path: Path, *, label: str, remedy: str) -> None:
        """Refuse a file that hashes to something else; HubError says both hashes."""
        found = self._of(path)
        if found != self.hexadecimal:
            raise HubError(
                f"{label}: {self.kind} is {found}, expected {self.hexadecimal}; {remedy}"
            )

    def _of(self, path: Path) -> str:
        start = b"" if len(self.hexadecimal) == SHA256_LENGTH else _blob_header(path)
        algorithm = hashlib.sha256 if not start else hashlib.sha1
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: algorithm(start, usedforsecurity=False))
        return digest.hexdigest()


def _blob_header(path: Path) -> bytes:
    """Return what Git puts before the content of a file when it hashes it."""
    return b"blob %d\0" % path.stat().st_size
