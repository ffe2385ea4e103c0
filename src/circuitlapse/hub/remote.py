"""Download files of one revision from a hub.

The requests use the session of `huggingface_hub`, with its endpoint, token and headers, but not
its downloader. In version 2.4, `hf_hub_download` over HTTP

- checks the size of a file, but not its hash;
- fails, and deletes what it has, when the connection is reset or the hub answers 500 to 504;
- waits as long as the hub asks, even for hours;
- shows signed addresses in its errors.

`HfApi.model_info` retries nothing.
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
    CONNECTION_ERRORS,
    RetryPolicy,
    describe,
    host,
    readable_errors,
    readable_parse_errors,
)
from circuitlapse.hub.revisions import TOKENS, matching_revision, unknown_revision
from circuitlapse.hub.symlinks import FileHash, link

LOG = logging.getLogger(__name__)
MAIN = "main"
"""The branch that every repository has."""
PARTIAL_CONTENT = 206
ENOUGH_BYTES = 2**20
"""An attempt that receives this many new bytes before the connection is lost has not failed."""


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it: its size in bytes, and its hash."""

    size: int
    hash: FileHash


@dataclass(frozen=True)
class HubSource:
    """One commit of a model on the hub."""

    repo: str
    revision: str
    commit: str
    files: Mapping[str, HubFile]
    retry: RetryPolicy

    @classmethod
    def at(cls, repo: str, revision: str, retry: RetryPolicy) -> HubSource:
        """List the files of a revision; HubError if there is no such revision.

        {tokens} in its name is resolved; see `matching_revision`.
        """
        with readable_errors(repo, revision), readable_parse_errors(repo, revision):
            if TOKENS in revision:
                known = retry.retrying(repo)(_list_revisions, repo)
                revision = matching_revision(repo, revision, known)
            try:
                commit, siblings = retry.retrying(repo)(_list_files, repo, revision)
            except RevisionNotFoundError:
                known = retry.retrying(repo)(_list_revisions, repo)
                raise unknown_revision(repo, revision, known) from None
            files = {sibling.rfilename: _hub_file(sibling) for sibling in siblings}
        return cls(repo, revision, commit, files, retry)

    @property
    def label(self) -> str:
        """Model and revision."""
        return f"{self.repo} at {self.revision}"

    @property
    def remedy(self) -> str:
        """Advice when a file is missing."""
        return f"{host()} does not list it for commit {self.commit}; use another revision"

    @property
    def names(self) -> Collection[str]:
        """The files of the commit."""
        return self.files.keys()

    @property
    def origin(self) -> Mapping[str, str]:
        """Model, revision and commit."""
        return {"repo": self.repo, "revision": self.revision, "commit": self.commit}

    def put(self, name: str, target: Path) -> None:
        """Link to the file in the hub cache, or download it to `target`."""
        file = self.files[name]
        cached = try_to_load_from_cache(self.repo, name, revision=self.commit)
        if isinstance(cached, str):
            link(Path(cached), target, file.hash)
            LOG.info("%s: linked to the hub cache", name)
            return
        _require_disk_space(target.parent, file.size, name)
        with readable_errors(self.repo, self.revision):
            url = hf_hub_url(self.repo, name, revision=self.commit)
            _download(url, target, file.size, self.retry)
        label = f"{name} of {self.label}, downloaded from {host()}"
        remedy = "the download was deleted; run this again (if it fails again, the hub is wrong)"
        file.hash.check(target, label=label, remedy=remedy)
        LOG.info("%s: %d bytes downloaded, %s checked", name, file.size, file.hash.kind)


def _list_files(repo: str, revision: str) -> tuple[str, list[RepoSibling]]:
    timeout = float(constants.HF_HUB_ETAG_TIMEOUT)
    info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=timeout)
    if info.sha is None or info.siblings is None:
        raise ValueError("no commit, or no files")
    return info.sha, info.siblings


def _list_revisions(repo: str) -> list[str]:
    return list(_list_commits(repo))


def _list_commits(repo: str) -> dict[str, str]:
    refs = HfApi().list_repo_refs(repo)
    return {ref.name: ref.target_commit for ref in (*refs.branches, *refs.tags)}


def commits_of(repo: str, retry: RetryPolicy) -> dict[str, str]:
    """Return the commit of every branch and tag of a repository; HubError if there is none."""
    with readable_errors(repo, "main"), readable_parse_errors(repo, "main"):
        return retry.retrying(repo)(_list_commits, repo)


def _hub_file(sibling: RepoSibling) -> HubFile:
    digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if sibling.size is None or digest is None:
        raise ValueError("no size, or no hash")
    return HubFile(sibling.size, FileHash(digest))


def _require_disk_space(folder: Path, n_bytes: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise HubError(f"{folder}: {name} needs {n_bytes:,} bytes of disk space, found {free:,}")


def _download(url: str, path: Path, size: int, retry: RetryPolicy) -> None:
    """Download `url` to `path`; a lost connection is resumed where it broke."""
    path.touch()
    with byte_progress(size, path.name, log=LOG) as bar:
        retrying = retry.retrying(path.name)
        while not retrying(_stream, url, path, size, bar):
            pass


def _stream(url: str, path: Path, size: int, bar: Any) -> bool:
    """Append the missing bytes to `path`; return whether the hub sent all of them."""
    done = path.stat().st_size
    if done >= size:
        return True
    # a compressed answer could not be resumed in the middle
    wanted = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    headers, timeout = build_hf_headers(headers=wanted), float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    try:
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            mode = "ab" if response.status_code == PARTIAL_CONTENT else "wb"
            with path.open(mode) as out:
                bar.n = out.tell()
                for chunk in response.iter_bytes():
                    bar.update(out.write(chunk))
    except CONNECTION_ERRORS as error:
        now = path.stat().st_size
        if now - done < ENOUGH_BYTES:
            raise
        LOG.info("%s: %s; resuming at byte %d of %d", path.name, describe(error), now, size)
        return False
    return True
