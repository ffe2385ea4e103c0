"""Two tokenizers: the real one, and word-level ones that know only what they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

CONFIG = Path(__file__).parents[3] / "config" / "config.yaml"
DEFAULT = tuple(task["name"] for task in yaml.safe_load(CONFIG.read_text())["tasks"])
"""The tasks that the pocket suite learns and analyses; others are on request."""

SMALL_TEXTS = (
    "Mary Sarah Emily Jennifer John James Robert",
    "Then, and went had a lot of fun to at the market school. gave book kiss",
    "So is such a good cook, isn't she he a really nice person",
    "The war famine siege lasted from the year to the year",
    "The doctor doctors teacher teachers book books near behind that likes like knows know is are",
    " 11 12 13 14 15 16 17",
    "".join(f"{suffix:02d}" for suffix in range(100)),
)
"""Too little for every template, enough for every builder."""


@pytest.fixture(scope="session")
def pythia(shared_data: Path) -> Tokenizer:
    return Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., Tokenizer]:
    """Makes a tokenizer of the words in some texts; a space belongs to the word after it."""

    def make(*texts: str, special: tuple[str, ...] = ("<bos>", "[UNK]")) -> Tokenizer:
        pieces = r" ?[A-Za-z]+|'[a-z]+| ?[0-9]{2}|[^A-Za-z0-9\s]"
        cut = pre_tokenizers.Split(Regex(pieces), behavior="isolated")
        words = {piece for text in texts for piece, _ in cut.pre_tokenize_str(text)}
        words |= {f" {word}" for word in words if word[0].isalpha()}
        known = [*special, *sorted(words)]
        vocabulary = {word: index for index, word in enumerate(known)}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = cut
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
        return tokenizer

    return make


@pytest.fixture(scope="session")
def small(make_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    return make_tokenizer(*SMALL_TEXTS)
