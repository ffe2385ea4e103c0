"""A tokenizer and a small corpus, made once."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from circuitlapse.pocket.corpus import make_pocket_tokenizer, make_sentences


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_pocket_tokenizer()


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return make_sentences(10_000, seed=3)
