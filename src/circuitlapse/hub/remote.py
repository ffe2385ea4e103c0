"""Download files of one revision from a hub.

The requests use the session of `huggingface_hub`, with its endpoint, token and headers, but not
its downloader. In version 2.4, `hf_hub_download` over HTTP

- checks the size of a file, but not its hash;
- fails, and deletes what it has, when the connection is reset or the hub answers 500 to 504;
- waits as long as the hub asks, even for hours;
- reads whatever the hub sends, to its end;
- shows signed addresses in its errors.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import RevisionNotFoundError

from circuitlapse.errors import HubError
from circuitlapse.hub.download import Download
from circuitlapse.hub.listing import HubFile, list_commits, list_files
from circuitlapse.hub.retry import RetryPolicy, host, readable_errors, readable_parse_errors
from circuitlapse.hub.revisions import TOKENS, matching_revision, unknown_revision
from circuitlapse.hub.symlinks import link
from circuitlapse.io.atomic import remove
from circuitlapse.settings.environment import check_environment

LOG = logging.getLogger(__name__)
MAIN = "main"
"""The branch that every repository has."""
PART = ".part"
"""Suffix of a large file that is downloaded, or waits for the other files of its folder."""


@dataclass(frozen=True)
class HubSource:
    """One commit of a model on the hub.

    Attributes:
        repo: its repository.
        revision: branch, tag or commit that was asked for.
        commit: what it is.
        files: by name.
        retry: when to retry failed requests.
        parts: folder that keeps large files, or their beginnings, until all of the model is there;
            the next process goes on with them. None keeps nothing.
    """

    repo: str
    revision: str
    commit: str
    files: Mapping[str, HubFile]
    retry: RetryPolicy
    parts: Path | None = None

    @classmethod
    def at(
        cls, repo: str, revision: str, retry: RetryPolicy, parts: Path | None = None
    ) -> HubSource:
        """List the files of a revision; HubError if there is no such revision.

        {tokens} in its name is resolved; see `matching_revision`. A variable of the environment
        that is wrong raises a ConfigError.
        """
        check_environment()
        with readable_errors(repo, revision), readable_parse_errors(repo, revision):
            if TOKENS in revision:
                known = [*retry.retrying(repo)(list_commits, repo, retry)]
                revision = matching_revision(repo, revision, known)
            try:
                commit, files = retry.retrying(repo)(list_files, repo, revision, retry)
            except RevisionNotFoundError:
                known = [*retry.retrying(repo)(list_commits, repo, retry)]
                raise unknown_revision(repo, revision, known) from None
        return cls(repo, revision, commit, files, retry, parts)

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
        part = target
        if self.parts is not None and file.is_large:
            if self.parts.is_symlink() or not self.parts.is_dir():
                remove(self.parts)
                self.parts.mkdir()
            part = self.parts / f"{file.hash.hexadecimal}{PART}"
            if part.is_symlink() or not part.is_file():
                remove(part)
        self._receive(name, part)
        if part != target:
            _move(part, target)
        LOG.info("%s: %d bytes downloaded, %s checked", name, file.size, file.hash.kind)

    def _receive(self, name: str, part: Path) -> None:
        """Download a file and check its hash; one that was begun before is not trusted."""
        file, begun = self.files[name], part.stat().st_size if part.exists() else 0
        _require_disk_space(part.parent, file.size - begun, name)
        url = hf_hub_url(self.repo, name, revision=self.commit)
        download = Download(name, url, part, file.size, self.retry)
        label = f"{name} of {self.label}, downloaded from {host()}"
        remedy = "the download was deleted; run this again (if it fails again, the hub is wrong)"
        with readable_errors(self.repo, self.revision):
            download.run()
            if begun and not file.hash.fits(part):
                LOG.info("%s: what an earlier download left is damaged; starting again", name)
                part.unlink()
                download.run()
        try:
            file.hash.check(part, label=label, remedy=remedy)
        except HubError:
            part.unlink()
            raise


def _move(part: Path, target: Path) -> None:
    """Give a whole file its name, and keep the part as a second one while the others come.

    Files that are converted need their space again, so they are not kept.
    """
    if target.suffix != ".bin":
        with suppress(OSError):  # a file system without hard links
            os.link(part, target)
            return
    part.replace(target)


def commits_of(repo: str, retry: RetryPolicy) -> dict[str, str]:
    """Return the commit of every branch and tag of a repository; HubError if there is none."""
    with readable_errors(repo, MAIN), readable_parse_errors(repo, MAIN):
        return retry.retrying(repo)(list_commits, repo, retry)


def _require_disk_space(folder: Path, n_bytes: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise HubError(f"{folder}: {name} needs {n_bytes:,} bytes of disk space, found {free:,}")
