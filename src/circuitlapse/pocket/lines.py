"""Lines of text for the corpus: single sentences, and passages in which people give repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from string import Formatter

from circuitlapse.pocket.grammar import LISTS, LONGEST_RUN, MEN, RULES, SHARES, WOMEN

LONGEST_EVENT = 40
"""Most years from start to end; without a limit, a late year would often be right as the end."""


def make_lines(kind: str, n_lines: int, *, seed: int | str) -> list[str]:
    """Return lines of one of `LINES`, without line ends; the same seed gives the same ones."""
    rng, make = Random(f"{kind} {seed}"), LINES[kind]
    return [make(rng) for _ in range(n_lines)]


def _sentence(rng: Random) -> str:
    """One sentence of the grammar."""
    kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    return _Line(rng).expand(kind)


def _exchange(rng: Random) -> str:
    """Two people meet; then one gives something to the other, two to four times."""
    line = _Line(rng)
    gifts = [_gift(line, rng) for _ in range(rng.randint(2, 4))]
    return " ".join([line.expand("meeting"), *gifts])


def _couples(rng: Random) -> str:
    """Two or three couples meet; then each gives, in any order and direction.

    Who is given something cannot be found by subtracting the giver from all names.
    """
    lines: list[_Line] = []
    n_couples = rng.choice((2, 2, 3))
    while len(lines) < n_couples:
        new = _Line(rng)
        if all(new.names.isdisjoint(line.names) for line in lines):
            lines.append(new)
    givers = rng.sample(lines, n_couples) + rng.choices(lines, k=rng.randint(0, 2))
    meetings = [line.expand("meeting") for line in lines]
    return " ".join([*meetings, *(_gift(line, rng) for line in givers)])


def _gift(line: _Line, rng: Random) -> str:
    """One person of the line gives something to the other."""
    if rng.random() < 0.5:
        line.swap()
    return line.expand("gift")


LINES: Mapping[str, Callable[[Random], str]] = {
    "sentences": _sentence,
    "exchanges": _exchange,
    "couples": _couples,
}
"""Every kind of line, by its name in `training.phases`."""


class _Line:
    """A line, with the choices that hold throughout it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._numbers = {"subject": rng.randrange(2), "other": rng.randrange(2)}
        self._bound = _bind(rng)

    @property
    def names(self) -> set[str]:
        """The two people."""
        return {self._bound["s"], self._bound["io"]}

    def swap(self) -> None:
        """Let the other person give."""
        self._bound |= {"s": self._bound["io"], "io": self._bound["s"]}

    def expand(self, rule: str, *, role: str = "") -> str:
        """Return the text of a random alternative of `rule`, in the number of `role`."""
        chosen = self._rng.choice(RULES[rule])
        text = chosen if isinstance(chosen, str) else chosen[self._numbers[role]]
        return "".join(
            literal + (self._fill(gap, gap_role or role) if gap else "")
            for literal, gap, gap_role in _parse(text)
        )

    def _fill(self, gap: str, role: str) -> str:
        return self._bound.get(gap) or self.expand(gap, role=role)


def _bind(rng: Random) -> dict[str, str]:
    """Return the gaps that have one value per line."""
    s, io = rng.sample((*WOMEN, *MEN), 2)
    first, second = rng.sample((s, io), 2)
    start = rng.randint(1, 98)
    return {
        "s": s,
        "io": io,
        "first": first,
        "second": second,
        "she": "she" if s in WOMEN else "he",
        "century": str(rng.randint(11, 17)),
        "start": f"{start:02d}",
        "end": f"{rng.randint(start + 1, min(start + LONGEST_EVENT, 99)):02d}",
        **_bind_order(rng),
    }


def _bind_order(rng: Random) -> dict[str, str]:
    """Return a run of neighbours in a list, and an item with the next one.

    A list is chosen in proportion to its pairs of neighbours.
    """
    items = rng.choices(LISTS, weights=[len(items) - 1 for items in LISTS])[0]
    length = rng.randint(3, min(LONGEST_RUN, len(items)))
    start, at = rng.randrange(len(items) - length + 1), rng.randrange(len(items) - 1)
    run = ", ".join(items[start : start + length])
    return {"run": run, "item": items[at], "next": items[at + 1]}


@cache
def _parse(text: str) -> tuple[tuple[str, str, str], ...]:
    """Split a text into (literal, gap after it or "", role of that gap or "")."""
    return tuple((lit, gap or "", role or "") for lit, gap, role, _ in Formatter().parse(text))
