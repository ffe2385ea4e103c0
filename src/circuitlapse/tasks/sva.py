"""Subject-verb agreement: does the next verb agree with its subject in number?

Sentence beginnings in the manner of Marvin & Linzen 2018, all verbs as answers as in Newman et
al. 2021. A gap `{role:kind}` takes a word of that kind. Subject and verb have the number that
the pair is about; attractor and embedded verb share one that stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product, zip_longest
from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, fill, gaps
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import (
    ANIMATE_NOUNS,
    INANIMATE_NOUNS,
    INTRANSITIVE_VERBS,
    LONG_PHRASES,
    PREPOSITIONS,
    SAID,
    THING_PREPOSITIONS,
    TRANSITIVE_VERBS,
    VERB_PAIRS,
)
from circuitlapse.types import Metric

TEMPLATES = {
    "simple": "The {subject:animate}",
    "preposition_animate": "The {subject:animate} {joint:between_people} the {attractor:animate}",
    "preposition_inanimate": "The {subject:inanimate} {joint:to_person} the {attractor:animate}",
    "subject_relative": "The {subject:animate} that {verb:transitive} the {attractor:animate}",
    "object_relative_across_animate": (
        "The {subject:animate} that the {attractor:animate} {embedded_verb:transitive}"
    ),
    "object_relative_across_inanimate": (
        "The {subject:inanimate} that the {attractor:animate} {embedded_verb:transitive}"
    ),
    "object_relative_within_animate": "The {attractor:animate} that the {subject:animate}",
    "object_relative_within_inanimate": "The {attractor:inanimate} that the {subject:animate}",
    "bare_relative_across_animate": (
        "The {subject:animate} the {attractor:animate} {embedded_verb:transitive}"
    ),
    "bare_relative_across_inanimate": (
        "The {subject:inanimate} the {attractor:animate} {embedded_verb:transitive}"
    ),
    "bare_relative_within_animate": "The {attractor:animate} the {subject:animate}",
    "bare_relative_within_inanimate": "The {attractor:inanimate} the {subject:animate}",
    "sentential_complement": "The {attractor:animate} {joint:said} the {subject:animate}",
    "coordination_short": "The {subject:animate} {verb:intransitive} and",
    "coordination_long": "The {subject:animate} {verb:long_phrase} and",
}
"""Names: `across`, the verb comes after a clause inside; `within`, inside that clause. `bare`
relative clauses have no "that"."""

Word = str | tuple[str, str]
"""A word that agrees in number is a (singular, plural) pair; any other is the same in both."""

KINDS: Mapping[str, Sequence[Word]] = {
    "animate": ANIMATE_NOUNS,
    "inanimate": INANIMATE_NOUNS,
    "transitive": TRANSITIVE_VERBS,
    "intransitive": INTRANSITIVE_VERBS,
    "long_phrase": [(f"{third} {rest}", f"{base} {rest}") for third, base, rest in LONG_PHRASES],
    "between_people": PREPOSITIONS,
    "to_person": THING_PREPOSITIONS,
    "said": SAID,
}
AGREEING = ("subject", "verb")
EMBEDDED = ("attractor", "embedded_verb")


@dataclass(frozen=True)
class Choice:
    """A template with a word for each gap, in order, open only in the number of its subject."""

    template: str
    words: tuple[Word, ...]
    attractor_number: int

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the words."""
        return tuple(gaps(TEMPLATES[self.template]))

    def render(self, number: int) -> tuple[str, dict[str, tuple[int, int]]]:
        """Return text and spans with a singular (0) or plural (1) subject."""
        numbers = dict.fromkeys(AGREEING, number) | dict.fromkeys(EMBEDDED, self.attractor_number)
        words = {
            role: word if isinstance(word, str) else word[numbers[role]]
            for role, word in zip(self.roles, self.words, strict=True)
        }
        return fill(TEMPLATES[self.template], words)


def make_pairs(vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random) -> Draft:
    """Draw evenly from all templates; each sentence comes singular and plural, one after another.

    Both directions are always present, so a model that ignores number has a mean probability
    difference of exactly 0. An odd `n_prompts` is rounded down.

    Raises:
        TaskError: if the tokenizer knows no verb in both numbers.
    """
    verbs = vocabulary.single_pairs(VERB_PAIRS)
    if not verbs:
        raise TaskError("the tokenizer has no verb of which both numbers are one token")
    kinds = {kind: [w for w in words if _known(w, vocabulary)] for kind, words in KINDS.items()}
    choices = {name: _choices(name, kinds, vocabulary) for name in TEMPLATES}
    capacities = {name: len(choices[name]) for name in TEMPLATES}
    n_sentences = sum(capacities.values()) if n_prompts is None else n_prompts // 2
    drawn = [
        [Choice(name, words, number) for words, number in rng.sample(choices[name], share)]
        for name, share in deal(capacities, total=n_sentences).items()
    ]
    in_turn = (choice for row in zip_longest(*drawn) for choice in row if choice is not None)
    answers = tuple(tuple(f" {pair[number]}" for pair in verbs) for number in (0, 1))
    pairs = chain.from_iterable(_directions(choice, answers) for choice in in_turn)
    return Draft(tuple(pairs), _dropped(kinds, choices, n_verbs=len(verbs)))


def deal(capacities: Mapping[str, int], *, total: int) -> dict[str, int]:
    """Distribute `total` one at a time in turn; no share exceeds its capacity."""
    shares = dict.fromkeys(capacities, 0)
    left = min(total, sum(capacities.values()))
    while left:
        for name in [name for name, share in shares.items() if share < capacities[name]][:left]:
            shares[name] += 1
            left -= 1
    return shares


def _known(word: Word, vocabulary: Vocabulary) -> bool:
    """Whether a word is known, and the part that changes with number is one token."""
    if isinstance(word, str):
        return vocabulary.knows(f" {word}")
    heads = (form.split()[0] for form in word)
    return len(vocabulary.single_words(heads)) == 2 and all(
        vocabulary.knows(f" {form}") for form in word
    )


def _choices(
    name: str, kinds: Mapping[str, Sequence[Word]], vocabulary: Vocabulary
) -> list[tuple[tuple[Word, ...], int]]:
    """Return the words and the attractor's number of every sentence of a template.

    The list is empty if the tokenizer lacks a word of the template. No noun occurs twice.
    """
    roles = gaps(TEMPLATES[name])
    known = [kinds[kind] for kind in roles.values()]
    example = Choice(name, tuple(words[0] for words in known if words), 0)
    if not all(known) or not vocabulary.knows(example.render(0)[0]):
        return []
    numbers = (0, 1) if roles.keys() & set(EMBEDDED) else (0,)
    return [
        (words, number)
        for words in product(*known)
        if len(set(words)) == len(words)
        for number in numbers
    ]


def _directions(choice: Choice, answers: tuple[tuple[str, ...], ...]) -> Iterator[Pair]:
    """Yield the singular sentence corrupted by the plural one, and the other way round."""
    texts = [choice.render(number) for number in (0, 1)]
    for number, (clean, spans) in enumerate(texts):
        yield Pair(
            clean=clean,
            corrupted=texts[1 - number][0],
            correct=answers[number],
            wrong=answers[1 - number],
            template=choice.template,
            spans={role: span for role, span in spans.items() if role in ("subject", "attractor")},
            n_changed=len(set(choice.roles) & set(AGREEING)),
        )


def _dropped(
    kinds: Mapping[str, Sequence[Word]],
    choices: Mapping[str, Sequence[object]],
    *,
    n_verbs: int,
) -> dict[str, int]:
    words = {
        f"words of kind {kind} that are unknown or not one token": (len(KINDS[kind]) - len(known))
        for kind, known in kinds.items()
    }
    templates = {f"template {name} has unknown words": int(not choices[name]) for name in choices}
    verbs = {"answer verbs that are not one known token in both numbers": len(VERB_PAIRS) - n_verbs}
    return words | verbs | templates


BUILDER = Builder(
    make_pairs,
    title="Subject-verb agreement (SVA)",
    metric=Metric.PROB_DIFF,
    prompt_tokens=11,
)
