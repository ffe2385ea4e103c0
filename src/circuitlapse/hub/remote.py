"""Fetch files of one revision from a hub.

The requests go through the session of `huggingface_hub`, but not through its downloader, which
(in version 2.4) drops what it has when a connection is reset or the hub is busy half-way.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from circuitlapse.jobs import byte_progress
from circuitlapse.errors import HubError
from circuitlapse.hub.retry import (
    LOST,
    Patience,
    clear_answers,
    clear_refusals,
    described,
    host,
    missing_revision,
)
from circuitlapse.hub.symlinks import FileHash, link

LOG = logging.getLogger(__name__)
PARTIAL_CONTENT = 206
ENOUGH_BYTES = 2**20
"""A connection that was lost after so many new bytes does not count as a failed attempt."""


@dataclass(frozen=True)
class HubFile:
    """A file as the hub announces it: its size in bytes, and its hash."""

    size: int
    hash: FileHash


@dataclass(frozen=True)
class HubSource:
    """One commit of a hub model."""

    repo: str
    revision: str
    commit: str
    files: Mapping[str, HubFile]
    patience: Patience

    @classmethod
    def at(cls, repo: str, revision: str, patience: Patience) -> HubSource:
        """Ask the hub what a revision holds; HubError if it has none of that name."""
        with clear_refusals(repo, revision), clear_answers(repo, revision):
            try:
                commit, siblings = patience.retrying(repo)(_listing, repo, revision)
            except RevisionNotFoundError:
                known = patience.retrying(repo)(_revisions, repo)
                raise missing_revision(repo, revision, known) from None
            files = {sibling.rfilename: _announced(sibling) for sibling in siblings}
        return cls(repo, revision, commit, files, patience)

    @property
    def label(self) -> str:
        """Model and revision."""
        return f"{self.repo} at {self.revision}"

    @property
    def remedy(self) -> str:
        """What to do when a file is missing."""
        return f"{host()} does not list it for commit {self.commit}; take another revision"

    @property
    def names(self) -> Collection[str]:
        """The files that the hub has."""
        return self.files.keys()

    @property
    def origin(self) -> Mapping[str, str]:
        """Model, revision and commit."""
        return {"repo": self.repo, "revision": self.revision, "commit": self.commit}

    def put(self, name: str, target: Path) -> None:
        """Link to the file in the hub cache, or fetch it."""
        file = self.files[name]
        cached = try_to_load_from_cache(self.repo, name, revision=self.commit)
        if isinstance(cached, str):
            link(Path(cached), target, file.hash)
            LOG.info("%s: linked to the hub cache", name)
            return
        _refuse_full_disk(target.parent, file.size, name)
        with clear_refusals(self.repo, self.revision):
            url = hf_hub_url(self.repo, name, revision=self.commit)
            _fetch(url, target, file.size, self.patience)
        label = f"{name} of {self.label}, as {host()} sent it"
        remedy = "nothing was kept; run this again, and if it stays so, the hub's file is broken"
        file.hash.check(target, label=label, remedy=remedy)
        LOG.info("%s: %d bytes fetched, %s checked", name, file.size, file.hash.kind)


def _listing(repo: str, revision: str) -> tuple[str, list[RepoSibling]]:
    timeout = float(constants.HF_HUB_ETAG_TIMEOUT)
    info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=timeout)
    if info.sha is None or info.siblings is None:
        raise ValueError("no commit, or no files")
    return info.sha, info.siblings


def _revisions(repo: str) -> list[str]:
    refs = HfApi().list_repo_refs(repo)
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def _announced(sibling: RepoSibling) -> HubFile:
    announced = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if sibling.size is None or announced is None:
        raise ValueError("no size, or no hash")
    return HubFile(sibling.size, FileHash(announced))


def _refuse_full_disk(folder: Path, n_bytes: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise HubError(
            f"{folder}: no room for {name}; it needs {n_bytes:,} bytes, and {free:,} are free"
        )


def _fetch(url: str, path: Path, size: int, patience: Patience) -> None:
    """Make `path` what the hub sends; a lost connection is taken up where it broke."""
    path.touch()
    with byte_progress(size, path.name, log=LOG) as bar:
        retrying = patience.retrying(path.name)
        while not retrying(_stream, url, path, size, bar):
            pass


def _stream(url: str, path: Path, size: int, bar: Any) -> bool:
    """Append to `path` what it lacks; return whether the hub says that this was all."""
    done = path.stat().st_size
    if done >= size:
        return True
    # compressed answers could not be taken up half-way
    asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    headers, timeout = build_hf_headers(headers=asked), float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    try:
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            mode = "ab" if response.status_code == PARTIAL_CONTENT else "wb"
            with path.open(mode) as out:
                bar.n = out.tell()
                for chunk in response.iter_bytes():
                    bar.update(out.write(chunk))
    except LOST as error:
        now = path.stat().st_size
        if now - done < ENOUGH_BYTES:
            raise
        LOG.info("%s: %s; going on at byte %d of %d", path.name, described(error), now, size)
        return False
    return True
