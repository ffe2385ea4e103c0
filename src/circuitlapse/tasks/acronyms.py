"""Acronyms (García-Carrasco et al. 2024): what is the third letter of the name's acronym?

GPT-2 small does it. Expect it from about 160 M parameters on; not of the pocket suite, whose text
has no acronyms.
"""

from __future__ import annotations

from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, couples, fill
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import ACRONYM_FRAME, ACRONYM_WORDS
from circuitlapse.types import Metric

MAX_DRAWS = 10_000
"""Names drawn in search of one whose last letter is a token of its own."""


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Draw names of three words; in the corrupted prompt, the third has another first letter.

    Only names are used in whose acronym the last letter is a token of its own, so that the prompt
    ends as running text does. Each pair comes with its twin.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer has no such name.
    """
    if n_prompts is None:
        raise TaskError("acronyms draws its prompts at random; give n_prompts")
    words = [vocabulary.single_words(known) for known in ACRONYM_WORDS]
    if not all(words) or not vocabulary.knows(_prompt(*(known[0] for known in words))):
        raise TaskError("the tokenizer lacks the words of acronyms, or cannot write their letters")

    def draw() -> Pair:
        for _ in range(MAX_DRAWS):
            first, second, *thirds = (
                *(rng.choice(known) for known in words[:2]),
                *(rng.choice(words[2]) for _ in range(2)),
            )
            if _letters_apart(first[0] + second[0], [third[0] for third in thirds], vocabulary):
                right, wrong = thirds
                return Pair(
                    clean=_prompt(first, second, right),
                    corrupted=_prompt(first, second, wrong),
                    correct=(right[0],),
                    wrong=(wrong[0],),
                    template="the",
                )
        raise TaskError("the tokenizer has no acronym whose last letter is a token of its own")

    left_out = sum(map(len, ACRONYM_WORDS)) - sum(map(len, words))
    return Draft(couples(draw, n_prompts), {"words that are not one known token": left_out})


def _prompt(first: str, second: str, third: str) -> str:
    words = {"first": first, "second": second, "third": third}
    return fill(ACRONYM_FRAME, {**words, "letters": first[0] + second[0]})[0]


def _letters_apart(start: str, ends: list[str], vocabulary: Vocabulary) -> bool:
    """Whether the last letters differ, and each is the next token after the others."""
    before = vocabulary.ids(f" ({start}")
    return len(set(ends)) == len(ends) and all(
        vocabulary.ids(f" ({start}{end})")[: len(before) + 1]
        == [*before, vocabulary.single_id(end)]
        for end in ends
    )


BUILDER = Builder(
    make_pairs,
    title="Acronyms (ACR)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=6,
)
