"""Text on disk: the corpus as token ids, its tokenizer, and documents to measure heads on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt16
from numpy import ndarray
from tokenizers import Tokenizer

from circuitlapse.errors import REMAKE, ArtifactError, require_file
from circuitlapse.io.atomic import atomic_path
from circuitlapse.tasks.vocabulary import Vocabulary

BLANK_LINES = re.compile(r"\n\s*\n")
"""What stands between two documents of a text file."""


def read_tokens(path: str | Path) -> UInt16[ndarray, " token"]:
    """Read the token ids of a corpus.

    Raises:
        ArtifactError: if the file is not there, or broken.
    """
    require_file(path)
    try:
        tokens: ndarray = np.load(path)
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable NumPy file: {error}; {REMAKE}") from error
    return tokens


def read_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer of the `tokenizers` library.

    Raises:
        ArtifactError: if the file is not there, or broken.
    """
    require_file(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise ArtifactError(f"{path}: not a readable tokenizer: {error}; {REMAKE}") from error


def read_tokenizer_of(model: str | Path) -> Tokenizer:
    """Read the tokenizer in the folder of a model; see `read_tokenizer`."""
    return read_tokenizer(Path(model) / "tokenizer.json")


def read_documents(path: str | Path, tokenizer: Tokenizer) -> list[Int64[ndarray, " _"]]:
    """Read a text file in which blank lines separate documents; return their token ids.

    Lines of one document stay joined by a line end. No token is added to any document.

    Raises:
        ArtifactError: if the file is not there, is not UTF-8 or has no text.
    """
    try:
        # utf-8-sig: some editors put a byte order mark in front
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: no such file; expected a text file") from error
    except OSError as error:
        raise ArtifactError(f"{path}: not a readable text file: {error}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: is not UTF-8 text; save it as UTF-8 ({error})") from error
    documents = [part for part in BLANK_LINES.split(text.strip()) if part]
    if not documents:
        raise ArtifactError(f"{path}: has no text; expected documents with blank lines between")
    vocabulary = Vocabulary(tokenizer)
    return [np.array(vocabulary.ids(document), dtype=np.int64) for document in documents]


def write_documents(path: str | Path, documents: Sequence[str]) -> None:
    """Write a text file with a blank line between documents, as `read_documents` reads it."""
    with atomic_path(path) as scratch:
        scratch.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
