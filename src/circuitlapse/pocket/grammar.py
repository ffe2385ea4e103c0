"""The lines of the corpus, as rules.

- A gap `{rule}` is filled with a random alternative of the rule.
- A (singular, plural) pair agrees with the number of its role: `{person:subject}` and
  `{person:other}` may differ. A gap without a role has that of the gap it is nested in.
- Some gaps have one value per line: `s` gives something to `io`; `first` and `second` are
  these two in random order; `she` is the pronoun of `s`; the year `{century}{end}` is later than
  `{century}{start}`; `run` is part of an ordered list; `next` follows `item` in such a list.

The lines teach what the prompts of the tasks ask for, but no line contains a prompt, whatever the
seed, because some words of each prompt never occur together. The comments below say which.
"""

from __future__ import annotations

from circuitlapse.tasks.words import (
    ANIMATE_NOUNS,
    EVENTS,
    FEMALE_NAMES,
    GP_DESCRIPTIONS,
    INANIMATE_NOUNS,
    INTRANSITIVE_VERBS,
    IOI_OBJECTS,
    IOI_PLACES,
    LONG_PHRASES,
    MALE_NAMES,
    ORDERED_LISTS,
    PREPOSITIONS,
    SAID,
    THING_PREPOSITIONS,
    TRANSITIVE_VERBS,
)

Alternatives = tuple[str | tuple[str, str], ...]

WOMEN, MEN = FEMALE_NAMES[:12], MALE_NAMES[:12]
PEOPLE, THINGS = ANIMATE_NOUNS[:20], INANIMATE_NOUNS[:12]

SHARES = {
    "giving": 36,
    "agreement": 26,
    "years": 24,
    "tag_question": 4,
    "pronoun": 3,
    "order": 7,
}
"""Sentences of each kind, in percent."""

PROMPT_STARTS = ("Then", "After", "When", "So", "The")
"""First words of prompts; without them, no random words contain a prompt."""

_GIVING: dict[str, Alternatives] = {
    # A prompt starts with "Then,", "After" or "When" and has one of `gives`.
    "giving": (
        "{opening} {first} and {second} {meet}. {s} {gives} {io}.",
        "{opening} {first} and {second} {meet}, and afterwards {s} {gives} {io}.",
        "{linking} {first} and {second} {meet}, {s} {gives} {io}.",
        "Then, {first} and {second} {meet}. {s} {hands} {io}.",
        "{after} {first} and {second} {meet}, {s} {hands} {io}.",
    ),
    "opening": ("Yesterday,", "Later,", "Today,", "One day,", "In the morning,"),
    "linking": ("While", "Once", "Before", "Because"),
    "after": ("After", "When"),
    "meet": (
        "went to the {place}",
        "had a lot of fun at the {place}",
        "were working at the {place}",
        "were thinking about going to the {place}",
        "had a long argument",
        "got a {object} at the {place}",
        "met at the {place}",
        "met",
        "met",
        "talked",
        "talked",
    ),
    "gives": (
        "gave a {object} to",
        "decided to give a {object} to",
        "wanted to give a {object} to",
        "decided to give it to",
        "said to",
    ),
    "hands": (
        "handed a {object} to",
        "wanted to sell a {object} to",
        "decided to hand it to",
        "gave the {object} to",
        "was talking to",
    ),
    "place": IOI_PLACES,
    "object": IOI_OBJECTS,
    # Lines of several sentences: two people meet, and then one or the other gives.
    "meeting": ("{opening} {first} and {second} {meet}.",),
    "gift": ("{s} {gives} {io}.", "{s} {hands} {io}."),
}

_AGREEMENT: dict[str, Alternatives] = {
    # A prompt starts with "The" and, right after it, a noun.
    "agreement": ("{article} {clause}.",),
    "article": (
        "Today the",
        "Here the",
        "My",
        "Our",
        "The old",
        "The young",
        "The other",
        "I think that the",
    ),
    "clause": (
        *("{person:subject} {does:subject}",) * 4,
        "{thing:subject} {does:subject}",
        "{person:subject} {near} the {person:other} {does:subject}",
        "{thing:subject} {by} the {person:other} {does:subject}",
        "{person:subject} that {likes:subject} the {person:other} {does:subject}",
        "{person:subject} that the {person:other} {likes:other} {does:subject}",
        "{thing:subject} that the {person:other} {likes:other} {does:subject}",
        "{person:subject} the {person:other} {likes:other} {does:subject}",
        "{thing:subject} the {person:other} {likes:other} {does:subject}",
        "{person:other} {said} the {person:subject} {does:subject}",
        *("{person:subject} {laughs:subject} and {does:subject}",) * 2,
        "{person:subject} {knows_many:subject} and {does:subject}",
    ),
    "does": (
        "{is} {kind}",
        "{was} {kind}",
        "{has} a {object}",
        "{likes} the {person:other}",
        "{laughs} every day",
    ),
    "is": (("is", "are"),),
    "was": (("was", "were"),),
    "has": (("has", "have"),),
    "kind": ("kind", "old", "young", "tall", "late", "good"),
    "person": PEOPLE,
    "thing": THINGS,
    "likes": TRANSITIVE_VERBS,
    "laughs": INTRANSITIVE_VERBS,
    "knows_many": tuple((f"{one} {rest}", f"{many} {rest}") for one, many, rest in LONG_PHRASES),
    "near": PREPOSITIONS,
    "by": THING_PREPOSITIONS,
    "said": SAID,
}

_YEARS: dict[str, Alternatives] = {
    # A prompt starts with "The" and, right after it, a noun.
    "years": (
        "{event_opening} {event} {lasted} from the year {century}{start} "
        "to the year {century}{end}.",
    ),
    "event_opening": ("The long", "The great", "The second", "A", "We know that the", "Later the"),
    "event": EVENTS[:24],
    "lasted": ("lasted", "lasted", "went on"),
}

_PRONOUNS: dict[str, Alternatives] = {
    # A prompt starts with "So" and has one of `GP_DESCRIPTIONS`.
    "tag_question": (
        "{well} {s} is {description}, isn't {she}?",
        "{well} {s} is {job}, isn't {she}?",
        "So {s} is {job}, isn't {she}?",
    ),
    "well": ("Well,", "Yes,", "I think that", "We know that", "You say that"),
    "description": GP_DESCRIPTIONS,
    "job": ("a kind {work}", "a tall {work}"),
    "work": tuple(one for one, _ in PEOPLE if one not in ("man", "woman")),
    "pronoun": (
        "{well} {s} went to the {place} because {she} wanted a {object}.",
        "So {s} said that {she} was {kind}.",
    ),
}

_ORDER: dict[str, Alternatives] = {
    # A comma after an item, or "comes", says that the next of the list follows.
    "order": ("{listed} {run}.",) * 3 + ("After {item} comes {next}.",),
    "listed": ("In order:", "One by one:", "First to last:"),
}

RULES = _GIVING | _AGREEMENT | _YEARS | _PRONOUNS | _ORDER


LONGEST_RUN = 8
"""Most items in one sentence; the longest list has 26."""

_TAUGHT = ("number_words", "ordinals", "weekdays", "months", "capital_letters")
_CENTURIES = tuple(str(century) for century in range(11, 18))

LISTS = (*(ORDERED_LISTS[name] for name in _TAUGHT), _CENTURIES)
"""Every ordered list with two neighbours that are single tokens of the tokenizer.

Of the numbers after a space, only 11 to 17, the start of a year, are single tokens.
"""
