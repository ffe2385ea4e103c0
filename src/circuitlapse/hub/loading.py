"""Models for a notebook: from a folder, or by name from a hub through the cache of its library."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from huggingface_hub import cached_assets_path, constants, is_offline_mode, snapshot_download

from circuitlapse.errors import HubError, ModelError
from circuitlapse.hub.fetch import fetch_snapshot
from circuitlapse.hub.layout import OPTIONAL, TOKENIZER, WEIGHT_CHOICES
from circuitlapse.hub.remote import MAIN, HubSource
from circuitlapse.hub.retry import RetryPolicy, describe, readable_errors
from circuitlapse.hub.symlinks import LocalSource
from circuitlapse.io.provenance import PROVENANCE
from circuitlapse.models import bridge, load
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.snapshot import CONFIG, INDEX_SUFFIX
from circuitlapse.redaction import redact

HUB_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""
LOCAL_DISK = "; set HF_HOME to a folder on a local disk, because files in the hub cache are locked"


def load_model(
    path: str | Path, device: str = "cpu", dtype: str = "float32", *, revision: str | None = None
) -> bridge.Bridge:
    """Load a model of TransformerLens, with raw weights, from a folder or from a hub.

    Every function of this library takes it, and computes with its weights: hooks of TransformerLens
    are not called. Where no hooks are needed, `load_decoder` is faster.

    Args:
        path: see `load_decoder`.
        device: see `load_decoder`.
        dtype: see `load_decoder`.
        revision: see `load_decoder`.

    Raises:
        ModelError: see `load_decoder`; also if TransformerLens cannot load the model.
        HubError: see `load_decoder`.
    """
    return bridge.load_model(model_folder(path, revision), device, dtype)


def load_decoder(
    path: str | Path, device: str = "cpu", dtype: str = "float32", *, revision: str | None = None
) -> Decoder:
    """Load a model, with raw weights, from a folder or from a hub.

    Nothing is folded or centred, so the logits are those of the Hugging Face model, and no weight
    asks for a gradient. No code from the folder or the hub is run.

    Args:
        path: folder laid out like a hub snapshot, or OWNER/NAME, a model on the hub.
        device: `cpu`, `cuda` or one GPU, such as `cuda:0`.
        dtype: `float32`, `bfloat16` or `float64`.
        revision: of a model on the hub: branch, tag or commit, such as `step1000`; by default the
            branch `main`.

    Raises:
        ModelError: if `path` is neither a folder nor such a name, a revision of a folder is asked
            for, or the model cannot be loaded; see `circuitlapse.models.load.load_decoder`.
        HubError: if the model or revision is not on the hub, or not in its cache with
            `HF_HUB_OFFLINE=1`; see `fetch_snapshot`.
    """
    return load.load_decoder(model_folder(path, revision), device, dtype)


def model_folder(
    path: str | Path, revision: str | None = None, *, retry: RetryPolicy | None = None
) -> Path:
    """Return the folder of a model; one on a hub is downloaded into the cache of its library first.

    Raises:
        ModelError: if `path` is neither a folder nor the name of a model on a hub, or it is a
            folder and a revision is asked for.
        HubError: see `load_decoder`.
    """
    if Path(path).is_dir():
        if revision is not None:
            raise ModelError(
                f"{path}: a folder has no revision {revision!r}; leave it out, or name a model on "
                "a hub"
            )
        return Path(path)
    if not HUB_NAME.fullmatch(str(path)):
        raise ModelError(
            f"{redact(str(path))}: expected a folder laid out like a hub snapshot (a relative path "
            f"starts in {Path.cwd()}), or OWNER/NAME, a model on a hub; found neither"
        )
    try:
        return _published(str(path), revision or MAIN, retry or RetryPolicy())
    except HubError as error:
        if revision is not None:
            raise
        raise HubError(f"{error}; a folder {path} is not in {Path.cwd()} either") from None


def _published(repo: str, revision: str, retry: RetryPolicy) -> Path:
    """Return a folder of links to the cache, in which pickled weights are converted."""
    source: LocalSource | HubSource
    if is_offline_mode():
        source = LocalSource.of_cache(repo, revision)
    else:
        source = HubSource.at(repo, revision, retry)
    revision, commit = source.origin["revision"], source.origin["commit"]
    folder = cached_assets_path("circuitlapse", repo, commit, assets_dir=constants.HF_ASSETS_CACHE)
    # its links dangle once the cache has been cleared
    files = list(folder.iterdir())
    if folder / PROVENANCE not in files or not all(file.exists() for file in files):
        if isinstance(source, HubSource):
            _fill_cache(source)
        fetch_snapshot(repo, revision, folder, retry=retry)
    return folder


def _fill_cache(source: HubSource) -> None:
    weights = next((name for name in WEIGHT_CHOICES if name in source.names), "")
    wanted = [name for name in (CONFIG, TOKENIZER, *OPTIONAL, weights) if name in source.names]
    if weights.endswith(INDEX_SUFFIX):
        stem, _, suffix = weights.removesuffix(INDEX_SUFFIX).partition(".")
        wanted.append(f"{stem}-*.{suffix}")
    with readable_errors(source.repo, source.revision):
        try:
            source.retry.retrying(source.repo)(
                snapshot_download, source.repo, revision=source.revision, allow_patterns=wanted
            )
        except OSError as error:
            remedy = LOCAL_DISK if error.errno in NO_LOCKS else ""
            raise HubError(f"{source.label}: {describe(error)}{remedy}") from None
