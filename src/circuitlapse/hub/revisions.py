"""Which revision of a repository is which training step.

Suites name their revisions by patterns: `step1000` (Pythia), `checkpoint-1000` (Stanford's GPT-2),
`ckpt_007` (Amber), `stage1-step10000-tokens21B` (OLMo-2).
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from circuitlapse.errors import HubError
from circuitlapse.hub.retry import host
from circuitlapse.settings.base import STEP, named

TOKENS = "{tokens}"
"""In the name of a revision: the number of tokens, which the hub knows."""
N_NEAREST = 3
NAMED = 3
"""Steps that a message names; it counts the others."""
_NO_STEP = ("", -1)


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
    before, after = _regex(pattern[: place.start()]), _regex(pattern[place.end() :])
    found: dict[int, list[str]] = defaultdict(list)
    for name in sorted(known):
        fits = re.fullmatch(rf"{before}(\d+){after}", name)
        # a step is written in one way: neither step07 nor ckpt_7 is one of a pattern for the other
        if fits and fits[1] == named(place[0], int(fits[1])):
            found[int(fits[1])].append(name)
    return dict(found)


def _regex(text: str) -> str:
    return re.escape(text).replace(re.escape(TOKENS), r"\d+")


def _nearest(step: int, there: Iterable[int]) -> str:
    near = sorted(there, key=lambda other: (abs(other - step), other))[:N_NEAREST]
    return f"nearest: {', '.join(map(str, sorted(near))) or 'none'}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def unknown_revision(repo: str, revision: str, known: Collection[str]) -> HubError:
    """Return the error for a revision that the hub does not have; it has the `known` ones."""
    return HubError(f"{repo}: no revision {revision!r} on {host()}; {nearest(revision, known)}")


def matching_revision(repo: str, revision: str, known: Collection[str]) -> str:
    """Return the one of the known revisions that a name with {tokens} stands for.

    Args:
        repo: of the revisions.
        revision: a name; {tokens} in it stands for any whole number.
        known: the names that there are; not looked at if `revision` has no {tokens}.

    Raises:
        HubError: if none of them fits, or several do.
    """
    if TOKENS not in revision:
        return revision
    if not (found := fitting(revision, known)):
        raise unknown_revision(repo, revision, known)
    if len(found) > 1:
        raise HubError(
            f"{repo}: {revision!r} fits {len(found)} revisions ({_listed(found)}), "
            "expected one; list them in hub.revisions"
        )
    return found[0]


def fitting(revision: str, known: Collection[str]) -> list[str]:
    """Return the known names that a name with {tokens} stands for."""
    return sorted(name for name in known if re.fullmatch(_regex(revision), name))


def nearest(wanted: str, known: Collection[str]) -> str:
    """Return "nearest: ..." by training step if `wanted` names one, else by spelling."""
    start, step = _step(wanted)
    steps = {name: _step(name) for name in known}
    # names that start alike, if there are any: no other stage of training
    alike = [name for name in known if steps[name] != _NO_STEP and steps[name][0] == start]
    near = alike or [name for name in known if steps[name] != _NO_STEP]
    if step >= 0 and near:
        near.sort(key=lambda name: (abs(steps[name][1] - step), steps[name][1]))
    else:
        near = difflib.get_close_matches(wanted, known, n=N_NEAREST, cutoff=0.0)
    return f"nearest: {', '.join(near[:N_NEAREST]) or 'none'}"


def _step(name: str) -> tuple[str, int]:
    """Return what stands before the training step in a name, and the step."""
    found = re.match(r"(|.*[-_])(?:step|checkpoint|ckpt|iter)[-_]?(\d+)(?:[-_]|$)", name)
    return (found[1], int(found[2])) if found else _NO_STEP
