"""Make the folder of one model at one step, laid out as `load_model` reads it."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

from huggingface_hub import is_offline_mode

from circuitlapse.errors import HubError
from circuitlapse.hub.layout import TOKENIZER, Source, assemble, refuse_missing
from circuitlapse.hub.remote import HubSource
from circuitlapse.hub.retry import Patience, described
from circuitlapse.hub.symlinks import LinkedSource
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.corpus_files import BLANK_LINES
from circuitlapse.io.provenance import PROVENANCE, provenance, write_provenance


def fetch_snapshot(
    repo: str, revision: str, folder: str | Path, *, patience: Patience | None = None
) -> None:
    """Fetch one revision of a hub model: configuration, tokenizer and weights, nothing else.

    Weights that the hub has as `pytorch_model.bin` are converted to safetensors, without running
    code from the file. Every file must have the hash that the hub announces. What is in the hub
    cache already is linked, not fetched; with `HF_HUB_OFFLINE=1` nothing else is used. The folder
    is whole or absent, and its `provenance.json` names the commit.

    Args:
        repo: such as `EleutherAI/pythia-70m`.
        revision: branch, tag or commit, such as `step1000`.
        folder: where the model goes; an older one is replaced.
        patience: how long to go on when the hub does not answer or the connection is lost.

    Raises:
        HubError: if there is no such model or revision, access is refused, the hub cannot be
            reached, a file is not what the hub announced, or one is missing.
    """
    _make(_published(repo, revision, patience), folder)


def link_snapshot(source: str | Path, folder: str | Path) -> None:
    """Make `folder` a model of links to the files of `source`, a snapshot that is there already.

    Weights in `pytorch_model.bin` are converted, into `folder`; `source` is only read.

    Raises:
        HubError: if `source` is no folder, or lacks a file.
    """
    _make(LinkedSource.of_folder(source), folder)


def fetch_tokenizer(
    repo: str, revision: str, path: str | Path, *, patience: Patience | None = None
) -> None:
    """Fetch `tokenizer.json` of one revision alone; see `fetch_snapshot`."""
    _take_tokenizer(_published(repo, revision, patience), path)


def copy_tokenizer(source: str | Path, path: str | Path) -> None:
    """Copy `tokenizer.json` of a snapshot that is there already; see `link_snapshot`."""
    _take_tokenizer(LinkedSource.of_folder(source), path)


def _published(repo: str, revision: str, patience: Patience | None) -> Source:
    if is_offline_mode():
        return LinkedSource.of_cache(repo, revision)
    return HubSource.at(repo, revision, patience or Patience())


def _take_tokenizer(source: Source, path: str | Path) -> None:
    refuse_missing(source, {TOKENIZER: TOKENIZER in source.names})
    with atomic_path(path) as scratch:
        source.put(TOKENIZER, scratch)
        if scratch.is_symlink():
            original = scratch.resolve()
            scratch.unlink()
            shutil.copyfile(original, scratch)


def _make(source: Source, folder: str | Path) -> None:
    with atomic_path(folder) as scratch:
        scratch.mkdir()
        assemble(source, scratch)
        write_provenance(scratch / PROVENANCE, provenance({}, source.origin))


def dataset_texts(dataset: str, *, n_documents: int, min_letters: int) -> list[str]:
    """Return the first documents of a dataset that are long enough, without blank lines.

    Only as much is downloaded as is read, so nothing of it is in a cache, and a dataset of the hub
    cannot be read with `HF_HUB_OFFLINE=1`. `HF_ENDPOINT`, `HF_HOME` and tokens are those of the
    `datasets` library; no code of the dataset is run.

    Args:
        dataset: its name on the hub, or a folder of files; the split is `train`.
        n_documents: so many at most.
        min_letters: shorter ones are passed over.

    Raises:
        HubError: if it cannot be read, has no column `text`, or no document is long enough. Its
            message has no token, and no address with credentials or a signature.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, split="train", streaming=True)
        texts = (BLANK_LINES.sub("\n", str(row["text"])).strip() for row in rows)
        found = list(islice((text for text in texts if len(text) >= min_letters), n_documents))
    except KeyError as error:
        raise HubError(
            f"dataset {dataset}: has no column {error}; expected a column text"
        ) from None
    except Exception as error:  # the library raises whatever its many parts raise
        raise HubError(
            f"dataset {dataset}: cannot be read ({described(error)}); without a network, name a "
            "text file in heads.text, or run the target `models` first where there is one"
        ) from None
    if not found:
        raise HubError(f"dataset {dataset}: no document has {min_letters} letters or more")
    return found
