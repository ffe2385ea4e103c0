"""The corpus on disk, as token ids, and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from numpy import ndarray
from tokenizers import Tokenizer

from circuitlapse.errors import REMAKE, ArtifactError


def read_tokens(path: str | Path) -> UInt16[ndarray, " token"]:
    """Read the token ids of a corpus.

    Raises:
        ArtifactError: if the file is broken.
    """
    try:
        tokens: ndarray = np.load(path)
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable NumPy file: {error}; {REMAKE}") from error
    return tokens


def read_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer of the `tokenizers` library.

    Raises:
        ArtifactError: if the file is broken.
    """
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise ArtifactError(f"{path}: not a readable tokenizer: {error}; {REMAKE}") from error
