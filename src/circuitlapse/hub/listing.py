"""What a hub says of a repository: its commits, and the files of one. Nothing is believed unseen.

`HfApi` of huggingface_hub reads answers of any length and form, so it is not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id

from circuitlapse.hub.download import Pace, opened
from circuitlapse.hub.retry import AnswerError, RetryPolicy
from circuitlapse.hub.symlinks import FileHash

MAX_BYTES = 64 * 2**20
"""Size of the longest answer that is read."""
MAX_FILES = 100_000
"""Number of files of a commit, and of branches and tags of a repository."""
MAX_NAME = 1024
"""Length of the longest name of a file or branch, in characters."""
MAX_SIZE = 2**50
"""Size of the largest file, in bytes."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it: its size in bytes, and its hash."""

    size: int
    hash: FileHash

    @property
    def is_large(self) -> bool:
        """Whether it is one that the hub keeps apart: weights, and some tokenizers."""
        return self.hash.kind == "SHA-256"


def list_files(repo: str, revision: str, retry: RetryPolicy) -> tuple[str, dict[str, HubFile]]:
    """Return the commit of a revision, and its files by name; one request.

    Raises:
        HFValidationError: if no repository can have this name.
        AnswerError: if the answer is not a list of files.
        HTTPError: see `opened`.
    """
    answer = _asked(f"{repo}/revision/{quote(revision, safe='')}?blobs=true", repo, retry)
    files: dict[str, HubFile] = {}
    for entry in _list_of(answer, "siblings"):
        name = _name(entry.get("rfilename"))
        if name in files:
            raise AnswerError(f"{_short(name)} twice")
        files[name] = _file(name, entry)
    return _commit(answer.get("sha")), files


def list_commits(repo: str, retry: RetryPolicy) -> dict[str, str]:
    """Return the commit of every branch and tag; see `list_files`."""
    answer = _asked(f"{repo}/refs", repo, retry)
    refs = [*_list_of(answer, "branches"), *_list_of(answer, "tags")]
    return {_name(ref.get("name")): _commit(ref.get("targetCommit")) for ref in refs}


def _asked(path: str, repo: str, retry: RetryPolicy) -> Mapping[str, Any]:
    validate_repo_id(repo)
    url = f"{constants.ENDPOINT}/api/models/{path}"
    content, pace = bytearray(), Pace(retry)
    with opened(url, {}, float(constants.HF_HUB_ETAG_TIMEOUT)) as response:
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise AnswerError(f"more than {MAX_BYTES:,} bytes")
            pace.check(len(content))
    try:
        answer = json.loads(content)
    except RecursionError:
        raise AnswerError("lists or mappings nested too deeply") from None
    except ValueError as error:
        raise AnswerError(type(error).__name__) from None
    if not isinstance(answer, dict):
        raise AnswerError(f"a {type(answer).__name__}, expected a mapping")
    return answer


def _list_of(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = answer.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise AnswerError(f"no list of mappings {key}")
    if len(found) > MAX_FILES:
        raise AnswerError(f"{len(found):,} {key}, expected at most {MAX_FILES:,}")
    return found


def _name(name: Any) -> str:
    """Return the name of a file below its repository, or of a branch."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or _CONTROL.search(name):
        raise AnswerError(f"the name {_short(name)}")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise AnswerError(f"the name {_short(name)}")
    return name


def _file(name: str, entry: Mapping[str, Any]) -> HubFile:
    size, lfs = entry.get("size"), entry.get("lfs")
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise AnswerError(f"{_short(name)} with the size {_short(size)}")
    if lfs is None:
        digest, form = entry.get("blobId"), _COMMIT
    elif isinstance(lfs, dict) and lfs.get("size", size) == size:
        digest, form = lfs.get("sha256"), _SHA256
    else:
        raise AnswerError(f"{_short(name)} with two sizes")
    if not isinstance(digest, str) or not form.fullmatch(digest):
        raise AnswerError(f"{_short(name)} with the hash {_short(digest)}")
    return HubFile(size, FileHash(digest))


def _commit(commit: Any) -> str:
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise AnswerError(f"the commit {_short(commit)}")
    return commit


def _short(value: Any) -> str:
    """Return a value for a message: printable and short."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
