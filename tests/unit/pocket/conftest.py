"""A tokenizer and some text, made once."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from circuitlapse.pocket.corpus import make_pocket_tokenizer
from circuitlapse.pocket.lines import make_lines


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_pocket_tokenizer()


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return make_lines("sentences", 10_000, seed=3)
