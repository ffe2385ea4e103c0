"""Which revision of a repository is which training step.

Suites name their revisions by patterns: `step1000` (Pythia), `checkpoint-1000` (Stanford's GPT-2),
`ckpt_007` (Amber), `stage1-step10000-tokens21B` (OLMo-2).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from circuitlapse.errors import HubError
from circuitlapse.hub.retry import N_NEAREST, TOKENS, host
from circuitlapse.settings.base import STEP, named

NAMED = 3
"""Steps that a message names; it counts the others."""


def resolve(
    repo: str, pattern: str, steps: Iterable[int], known: Collection[str]
) -> dict[int, str]:
    """Return the revision of every step.

    Args:
        repo: of the revisions.
        pattern: their names, with {step} or {step:03} in place of the step; {tokens} stands for
            any whole number.
        steps: the steps that are wanted.
        known: the names of all revisions; empty if they are unknown, which is enough for a
            pattern without {tokens}.

    Raises:
        HubError: if the pattern fits no revision at one of the steps, or several. It names the
            repository, the pattern, these steps and the nearest ones that exist.
    """
    steps = list(steps)
    if not known and TOKENS not in pattern:
        return {step: named(pattern, step) for step in steps}
    there = by_step(pattern, known)
    missing = [step for step in steps if step not in there]
    if missing:
        near = _listed([f"{step} ({_nearest(step, there)})" for step in missing])
        raise HubError(f"{repo}: {pattern!r} fits no revision on {host()} at step {near}")
    for step in steps:
        if len(names := there[step]) > 1:
            raise HubError(
                f"{repo}: {pattern!r} fits {len(names)} revisions on {host()} at step {step} "
                f"({_listed(names)}), expected one; list them in hub.revisions"
            )
    return {step: there[step][0] for step in steps}


def by_step(pattern: str, known: Iterable[str]) -> Mapping[int, Sequence[str]]:
    """Return the names that fit a pattern, by step; normally one each."""
    place = STEP.search(pattern)
    if place is None:
        return {}
    before, after = (
        re.escape(part).replace(re.escape(TOKENS), r"\d+")
        for part in (pattern[: place.start()], pattern[place.end() :])
    )
    found: dict[int, list[str]] = defaultdict(list)
    for name in sorted(known):
        fits = re.fullmatch(rf"{before}(\d+){after}", name)
        # a step is written in one way: neither step07 nor ckpt_7 is one of a pattern for the other
        if fits and fits[1] == named(place[0], int(fits[1])):
            found[int(fits[1])].append(name)
    return dict(found)


def _nearest(step: int, there: Iterable[int]) -> str:
    near = sorted(there, key=lambda other: (abs(other - step), other))[:N_NEAREST]
    return f"nearest: {', '.join(map(str, sorted(near))) or 'none'}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
