"""The words that prompts are made of, common ones first; builders keep what a tokenizer knows."""

from circuitlapse.tasks.words.agreement import (
    ANIMATE_NOUNS,
    INANIMATE_NOUNS,
    INTRANSITIVE_VERBS,
    LONG_PHRASES,
    PREPOSITIONS,
    SAID,
    THING_PREPOSITIONS,
    TRANSITIVE_VERBS,
    VERB_PAIRS,
    third_person,
)
from circuitlapse.tasks.words.events import EVENTS
from circuitlapse.tasks.words.names import FEMALE_NAMES, MALE_NAMES
from circuitlapse.tasks.words.ordered_lists import ORDERED_LISTS
from circuitlapse.tasks.words.sentences import (
    GP_DESCRIPTIONS,
    GP_FRAME,
    GT_FRAME,
    IOI_FRAMES,
    IOI_OBJECTS,
    IOI_PLACES,
)

__all__ = [
    "ANIMATE_NOUNS",
    "EVENTS",
    "FEMALE_NAMES",
    "GP_DESCRIPTIONS",
    "GP_FRAME",
    "GT_FRAME",
    "INANIMATE_NOUNS",
    "INTRANSITIVE_VERBS",
    "IOI_FRAMES",
    "IOI_OBJECTS",
    "IOI_PLACES",
    "LONG_PHRASES",
    "MALE_NAMES",
    "ORDERED_LISTS",
    "PREPOSITIONS",
    "SAID",
    "THING_PREPOSITIONS",
    "TRANSITIVE_VERBS",
    "VERB_PAIRS",
    "third_person",
]
