"""Snapshots that are on the disk already: in the hub cache, or in a folder of one's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from circuitlapse.errors import HubError
from circuitlapse.hub.retry import bad_name, nearest_of
from circuitlapse.models.snapshot import CONFIG

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


BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class LinkedSource:
    """Files to link to.

    Attributes:
        folder: where they are.
        label: what to call it in a message.
        remedy: what to do when a file is missing.
        origin: what identifies it in a result.
    """

    folder: Path
    label: str
    remedy: str
    origin: Mapping[str, str]

    @classmethod
    def of_folder(cls, folder: str | Path) -> LinkedSource:
        """Return the snapshot in a folder; HubError if there is no such folder."""
        folder = Path(folder).absolute()
        if not folder.is_dir():
            siblings = [path.name for path in folder.parent.glob("*") if path.is_dir()]
            raise HubError(f"{folder}: no such folder; {nearest_of(folder.name, siblings)}")
        remedy = "expected a folder laid out like a hub snapshot"
        return cls(folder, str(folder), remedy, {"folder": str(folder)})

    @classmethod
    def of_cache(cls, repo: str, revision: str) -> LinkedSource:
        """Return the snapshot in the hub cache; HubError if it is not there."""
        fill = (
            "fill it where there is a network, with the same HF_HOME: "
            f"hf download {repo} --revision {revision} --include '*.json' --include "
            "'*.safetensors' (and --include '*.bin' for a model without safetensors)"
        )
        try:
            config = try_to_load_from_cache(repo, CONFIG, revision=revision)
        except HFValidationError:
            raise bad_name(repo) from None
        label = f"{repo} at {revision} in the hub cache {constants.HF_HUB_CACHE}"
        if not isinstance(config, str):
            raise HubError(f"{label}: not there, and HF_HUB_OFFLINE forbids fetching it; {fill}")
        folder = Path(config).absolute().parent
        origin = {"repo": repo, "revision": revision, "commit": folder.name}
        return cls(folder, label, fill, origin)

    @property
    def names(self) -> Collection[str]:
        """The files that are there."""
        return {path.name for path in self.folder.iterdir() if path.is_file()}

    def put(self, name: str, target: Path) -> None:
        """Make `target` a link, after checking the file."""
        link(self.folder / name, target)


def link(path: Path, target: Path, announced: FileHash | None = None) -> None:
    """Make `target` a link to `path`, a file with the hash that is announced.

    If nothing is, a file in a hub cache must have the hash that the cache calls it by.

    Raises:
        HubError: if it has another.
    """
    if announced is None and path.is_symlink() and BLOB.fullmatch(path.readlink().name):
        announced = FileHash(path.readlink().name)
    if announced is not None:
        announced.check(path, label=str(path), remedy="delete it and fetch it again")
    target.symlink_to(path.absolute())
