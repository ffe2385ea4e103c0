"""Gaps of the grammar whose words are neighbours in an ordered list."""

from __future__ import annotations

from random import Random

from circuitlapse.tasks.words import ORDERED_LISTS

LONGEST_RUN = 8
"""Items in one sentence; the longest list has 26."""

_TAUGHT = ("number_words", "ordinals", "weekdays", "months", "capital_letters")
_CENTURIES = tuple(str(century) for century in range(11, 18))

LISTS = (*(ORDERED_LISTS[name] for name in _TAUGHT), _CENTURIES)
"""Every ordered list of which the tokenizer of the suite knows two neighbours.

Its only numbers that are one token after a space are 11 to 17, with which years begin.
"""


def bind_order(rng: Random) -> dict[str, str]:
    """Return a run of neighbours, and an item with the next one; long lists come more often."""
    items = rng.choices(LISTS, weights=[len(items) - 1 for items in LISTS])[0]
    length = rng.randint(3, min(LONGEST_RUN, len(items)))
    start, at = rng.randrange(len(items) - length + 1), rng.randrange(len(items) - 1)
    run = ", ".join(items[start : start + length])
    return {"run": run, "item": items[at], "next": items[at + 1]}
