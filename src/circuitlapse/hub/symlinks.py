"""Snapshots on this disk, in the hub cache or in a user's folder; their files are linked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils.sha import git_hash

from circuitlapse.errors import HubError
from circuitlapse.hub.retry import invalid_repo
from circuitlapse.hub.revisions import fitting, matching_revision, nearest
from circuitlapse.models.snapshot import CONFIG

SHA256_LENGTH = 64
CACHE_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Name of a file in the hub cache: its hash."""


@dataclass(frozen=True)
class FileHash:
    """Expected hash of a file: SHA-256 if it is large (Git LFS), else the id of its Git blob."""

    hexadecimal: str

    @property
    def kind(self) -> str:
        """Name of the hash in messages."""
        return "SHA-256" if len(self.hexadecimal) == SHA256_LENGTH else "Git blob id"

    def fits(self, path: Path) -> bool:
        """Return whether a file has this hash."""
        return self._of(path) == self.hexadecimal

    def check(self, path: Path, *, label: str, remedy: str) -> None:
        """Raise a HubError with both hashes if the file has another one."""
        found = self._of(path)
        if found != self.hexadecimal:
            raise HubError(
                f"{label}: expected {self.kind} {self.hexadecimal}, found {found}; {remedy}"
            )

    def _of(self, path: Path) -> str:
        if len(self.hexadecimal) != SHA256_LENGTH:
            return git_hash(path.read_bytes())  # a small file
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class LocalSource:
    """A snapshot on this disk.

    Attributes:
        folder: with its files.
        label: name of the source in messages.
        remedy: advice when a file is missing.
        origin: what identifies the source in a result.
    """

    folder: Path
    label: str
    remedy: str
    origin: Mapping[str, str]

    @classmethod
    def of_folder(cls, folder: str | Path) -> LocalSource:
        """Return the snapshot in a folder; HubError if there is no such folder."""
        folder = Path(folder).absolute()
        if not folder.is_dir():
            siblings = [path.name for path in folder.parent.glob("*") if path.is_dir()]
            raise HubError(f"{folder}: no such folder; {nearest(folder.name, siblings)}")
        remedy = "expected a folder laid out like a hub snapshot"
        return cls(folder, str(folder), remedy, {"folder": str(folder)})

    @classmethod
    def of_cache(cls, repo: str, revision: str) -> LocalSource:
        """Return the snapshot in the hub cache; HubError if it is not there.

        {tokens} in the name of the revision is resolved; see `matching_revision`.
        """
        cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
        refs = cached / "refs"
        known = [str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file()]
        if fitting(revision, known):  # else the name is not found below
            revision = matching_revision(repo, revision, known)
        remedy = (
            "fill the cache on a machine with a network, with the same HF_HOME: "
            f"hf download {repo} --revision {revision} --include '*.json' --include "
            "'*.safetensors' (and --include '*.bin' for a model without safetensors)"
        )
        try:
            config = try_to_load_from_cache(repo, CONFIG, revision=revision)
        except HFValidationError:
            raise invalid_repo(repo) from None
        label = f"{repo} at {revision} in the hub cache {constants.HF_HUB_CACHE}"
        if not isinstance(config, str):
            raise HubError(
                f"{label}: not found, and HF_HUB_OFFLINE is set, so it is not downloaded; {remedy}"
            )
        folder = Path(config).absolute().parent
        origin = {"repo": repo, "revision": revision, "commit": folder.name}
        return cls(folder, label, remedy, origin)

    @property
    def names(self) -> Collection[str]:
        """The files of the snapshot."""
        return {path.name for path in self.folder.iterdir() if path.is_file()}

    def put(self, name: str, target: Path) -> None:
        """Make `target` a link to the file `name`, after checking its hash."""
        link(self.folder / name, target)


def link(path: Path, target: Path, expected: FileHash | None = None) -> None:
    """Make `target` a link to `path`, a file with the expected hash.

    Without `expected`, a file in the hub cache must have the hash that is its name there.

    Raises:
        HubError: if it has another hash.
    """
    if expected is None and path.is_symlink() and CACHE_BLOB.fullmatch(path.readlink().name):
        expected = FileHash(path.readlink().name)
    if expected is not None:
        expected.check(path, label=str(path), remedy="delete it and fetch it again")
    target.symlink_to(path.absolute())
