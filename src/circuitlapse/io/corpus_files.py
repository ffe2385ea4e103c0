"""Text on disk: the corpus as token ids, its tokenizer, and documents to score heads on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt16
from numpy import ndarray
from tokenizers import Tokenizer

from circuitlapse.errors import REMAKE, ArtifactError, reading
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.provenance import checked_hash
from circuitlapse.tasks.vocabulary import Vocabulary

BLANK_LINES = re.compile(r"\n\s*\n")
"""What separates two documents of a text file."""


def read_corpus(path: str | Path) -> dict[str, UInt16[ndarray, " token"]]:
    """Read the token ids of every kind of text in a corpus.

    Raises:
        ArtifactError: if the file is missing or broken, or holds anything but rows of uint16.
    """
    checked_hash(path)
    with reading(path, "NumPy archive"), np.load(path) as archive:
        corpus = dict(archive)
    for kind, ids in corpus.items():
        # of a member that is no array, NumPy returns the bytes
        found = f"{ids.dtype} of shape {ids.shape}" if isinstance(ids, ndarray) else "no array"
        if not (isinstance(ids, ndarray) and ids.dtype == np.uint16 and ids.ndim == 1):
            raise ArtifactError(
                f"{path}: {kind}: found {found}, expected a row of uint16; {REMAKE}"
            )
    return corpus


def read_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer of the `tokenizers` library.

    Raises:
        ArtifactError: if the file is missing or broken.
    """
    checked_hash(path)
    with reading(path, "tokenizer"):
        return Tokenizer.from_file(str(path))


def read_tokenizer_of(model: str | Path) -> Tokenizer:
    """Read the tokenizer in the folder of a model; see `read_tokenizer`."""
    return read_tokenizer(Path(model) / "tokenizer.json")


def read_documents(path: str | Path, tokenizer: Tokenizer) -> list[Int64[ndarray, " _"]]:
    """Read a text file in which blank lines separate documents; return their token ids.

    The lines of one document stay separated by a line end. No token is added.

    Raises:
        ArtifactError: if the file is missing, is not UTF-8 or has no text.
    """
    checked_hash(path)
    try:
        # utf-8-sig: some editors write a byte order mark
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a readable text file in UTF-8: {error}") from error
    documents = [part for part in BLANK_LINES.split(text.strip()) if part]
    if not documents:
        raise ArtifactError(f"{path}: expected documents separated by blank lines, found no text")
    vocabulary = Vocabulary(tokenizer)
    return [np.array(vocabulary.ids(document), dtype=np.int64) for document in documents]


def refuse_short_text(
    path: str | Path,
    documents: Sequence[Int64[ndarray, " _"]],
    *,
    n_mean: int,
    n_documents: int,
    n_positions: int,
) -> None:
    """Check that a text has as many long documents as copy suppression needs.

    Args:
        path: of the text, for the message.
        documents: what `read_documents` returned.
        n_mean: documents for mean outputs.
        n_documents: documents for the score.
        n_positions: tokens that a document needs.

    Raises:
        ArtifactError: if there are too few.
    """
    key = "n_mean" if n_mean >= n_documents else "n_documents"
    wanted = max(n_mean, n_documents)
    found = sum(len(document) >= n_positions for document in documents)
    if found < wanted:
        raise ArtifactError(
            f"{path}: found {found} documents of at least heads.n_positions = {n_positions} tokens "
            f"(of {len(documents)} in all), expected heads.{key} = {wanted}; give more text, or "
            "ask for less"
        )


def write_documents(path: str | Path, documents: Sequence[str]) -> None:
    """Write a text file that `read_documents` reads: a blank line separates two documents."""
    with atomic_path(path) as scratch:
        scratch.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
