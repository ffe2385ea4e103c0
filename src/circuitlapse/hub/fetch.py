"""Make the folder of one model at one step, laid out as `load_decoder` reads it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import is_offline_mode

from circuitlapse.errors import HubError
from circuitlapse.hub.layout import TOKENIZER, Completed, Source, fill_folder, require_files
from circuitlapse.hub.remote import MAIN, HubSource
from circuitlapse.hub.retry import RetryPolicy, describe
from circuitlapse.hub.symlinks import LocalSource
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import BLANK_LINES
from circuitlapse.io.provenance import PROVENANCE, provenance, write_provenance

LOG = logging.getLogger(__name__)


def fetch_snapshot(
    repo: str,
    revision: str,
    folder: str | Path,
    *,
    weights: str = "",
    retry: RetryPolicy | None = None,
) -> None:
    """Fetch the configuration, tokenizer and weights of one revision of a model on the hub.

    - Weights in `pytorch_model.bin` are converted to safetensors; no code in the file is run.
    - Every file must have the hash that the hub lists for it.
    - A revision without `tokenizer.json` gets that of the branch `main`.
    - Files in the hub cache are linked, not downloaded; with `HF_HUB_OFFLINE=1`, only the cache
      is used.
    - The folder is complete or absent. Its `provenance.json` names the commit.
    - What a failed or killed download has received of large files lies in `.NAME.parts` beside the
      folder; the next one goes on with it.

    Args:
        repo: such as `EleutherAI/pythia-70m`.
        revision: branch, tag or commit, such as `step1000`.
        folder: where the model goes; an existing one is replaced.
        weights: name of a file with weights, to take that format instead of the preferred one.
        retry: when to retry failed requests.

    Raises:
        HubError: if the model or revision does not exist, access is denied, the hub cannot be
            reached, a file has another hash than listed, or one is missing.
    """
    parts = Path(folder).parent / f".{Path(folder).name}.parts"
    source = _published(repo, revision, retry, parts)
    try:
        _make(source, folder, weights)
        shutil.rmtree(parts, ignore_errors=True)
    finally:
        with suppress(OSError):  # it is not empty, or not there
            parts.rmdir()


def link_snapshot(source: str | Path, folder: str | Path) -> None:
    """Fill `folder` with links to the files of `source`, a local snapshot.

    Weights in `pytorch_model.bin` are converted, into `folder`; `source` is only read.

    Raises:
        HubError: if `source` is not a folder, or lacks a file.
    """
    _make(LocalSource.of_folder(source), folder)


def fetch_tokenizer(
    repo: str, revision: str, path: str | Path, *, retry: RetryPolicy | None = None
) -> Mapping[str, str]:
    """Fetch only `tokenizer.json` of one revision; see `fetch_snapshot`. Return its origin."""
    return _take_tokenizer(_published(repo, revision, retry), path)


def copy_tokenizer(source: str | Path, path: str | Path) -> Mapping[str, str]:
    """Copy `tokenizer.json` of a local snapshot; see `link_snapshot`. Return its origin."""
    return _take_tokenizer(LocalSource.of_folder(source), path)


def _published(
    repo: str, revision: str, retry: RetryPolicy | None, parts: Path | None = None
) -> Source:
    source = _at(repo, revision, retry, parts)
    if TOKENIZER in source.names or revision == MAIN:
        return source
    # some suites have their tokenizer in this branch only
    with suppress(HubError):
        other = _at(repo, MAIN, retry)
        if TOKENIZER in other.names:
            LOG.info("%s: no %s; that of the branch %s is taken", source.label, TOKENIZER, MAIN)
            return Completed(source, other)
    return source


def _at(
    repo: str, revision: str, retry: RetryPolicy | None, parts: Path | None = None
) -> LocalSource | HubSource:
    if is_offline_mode():
        return LocalSource.of_cache(repo, revision)
    return HubSource.at(repo, revision, retry or RetryPolicy(), parts)


def _take_tokenizer(source: Source, path: str | Path) -> Mapping[str, str]:
    require_files(source, [TOKENIZER])
    with atomic_path(path) as scratch:
        source.put(TOKENIZER, scratch)
        if scratch.is_symlink():
            original = scratch.resolve()
            scratch.unlink()
            shutil.copyfile(original, scratch)
    return source.origin


def record_fetched(record: str | Path, file: str | Path, origin: Mapping[str, Any]) -> None:
    """Write a record beside a file that was fetched, with its digest, for `checked_hash`."""
    with atomic_path(record) as scratch:
        write_provenance(scratch, provenance({}, origin, stage="fetching"), [file])


def _make(source: Source, folder: str | Path, weights: str = "") -> None:
    with atomic_path(folder) as scratch:
        scratch.mkdir()
        fill_folder(source, scratch, weights)
        origin = {**source.origin, **({"weights": weights} if weights else {})}
        made = list(scratch.iterdir())
        write_provenance(scratch / PROVENANCE, provenance({}, origin, stage="fetching"), made)


def dataset_texts(dataset: str, *, n_documents: int, min_letters: int) -> list[str]:
    """Return the first documents of a dataset that are long enough, without blank lines.

    The dataset is streamed and nothing is cached, so a dataset on the hub cannot be read with
    `HF_HUB_OFFLINE=1`. The `datasets` library reads `HF_ENDPOINT`, `HF_HOME` and the token. No
    code of the dataset is run.

    Args:
        dataset: its name on the hub, or a folder of files; the split is `train`.
        n_documents: maximum number of documents.
        min_letters: minimum length of a document, in characters.

    Raises:
        HubError: if the dataset cannot be read, has no column `text`, or has no document that is
            long enough. The message never contains a token, credentials or a signature.
    """
    try:
        long_enough = (text for text in _stream_texts(dataset) if len(text) >= min_letters)
        found = list(islice(long_enough, n_documents))
    except KeyError as error:
        raise HubError(f"dataset {dataset}: expected a column text, found no {error}") from None
    except Exception as error:  # the library raises errors of many other libraries
        raise HubError(
            f"dataset {dataset}: cannot be read ({describe(error)}); without a network, set "
            "heads.text to a text file, or run the target `models` first on a machine with one"
        ) from None
    if not found:
        raise HubError(
            f"dataset {dataset}: found no document with {min_letters} characters or more"
        )
    return found


def _stream_texts(dataset: str) -> Iterator[str]:
    from datasets import load_dataset

    for row in load_dataset(dataset, split="train", streaming=True):
        yield BLANK_LINES.sub("\n", str(row["text"])).strip()
