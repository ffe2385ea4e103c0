"""Indirect object identification (Wang et al. 2022): who is given something?"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Builder, Draft, Pair, fill, gaps
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.tasks.words import FEMALE_NAMES, IOI_FRAMES, IOI_OBJECTS, IOI_PLACES, MALE_NAMES
from circuitlapse.types import NAME_ROLES, HeadSet, Metric

NAMES = (*FEMALE_NAMES, *MALE_NAMES)
CORRUPTIONS = ("s2_to_io", "s2_to_random")
"""What replaces the second mention of the subject: the other name (default), or a third one."""

TEMPLATES = {
    f"{order}{number}": frame.replace("{first}", first).replace("{second}", second)
    for order, first, second in (("baba", "{s1}", "{io}"), ("abba", "{io}", "{s1}"))
    for number, frame in enumerate(IOI_FRAMES, start=1)
}
"""Each frame with the subject named first (baba) and with the indirect object first (abba)."""


def make_pairs(
    vocabulary: Vocabulary, *, n_prompts: int | None, rng: Random, corruption: str
) -> Draft:
    """Draw template, names, place and object of each prompt independently and uniformly.

    Raises:
        TaskError: if `n_prompts` is None, or the tokenizer has too few of our words.
    """
    if n_prompts is None:
        raise TaskError("ioi draws its prompts at random; give n_prompts")
    words = {
        "name": vocabulary.single_words(NAMES),
        "place": vocabulary.single_words(IOI_PLACES),
        "object": vocabulary.single_words(IOI_OBJECTS),
    }
    if len(words["name"]) < 3:
        raise TaskError(f"ioi needs three names of one token each, found {len(words['name'])}")
    templates = _usable(words, vocabulary)
    dropped = {
        "names that are not one known token": len(NAMES) - len(words["name"]),
        "places that are not one known token": len(IOI_PLACES) - len(words["place"]),
        "objects that are not one known token": len(IOI_OBJECTS) - len(words["object"]),
        "templates with unknown words": len(TEMPLATES) - len(templates),
    }
    pairs = (_draw(templates, words, corruption=corruption, rng=rng) for _ in range(n_prompts))
    return Draft(tuple(pairs), dropped)


def _usable(words: Mapping[str, tuple[str, ...]], vocabulary: Vocabulary) -> list[str]:
    """Return the names of the templates whose words the tokenizer all knows."""
    example = {kind: known[0] for kind, known in words.items() if known}
    example |= dict.fromkeys(NAME_ROLES, example["name"])
    templates = [
        name
        for name, text in TEMPLATES.items()
        if gaps(text).keys() <= example.keys() and vocabulary.knows(fill(text, example)[0])
    ]
    if not templates:
        raise TaskError("the tokenizer does not know all words of any ioi template")
    return templates


def _draw(
    templates: list[str],
    words: Mapping[str, tuple[str, ...]],
    *,
    corruption: str,
    rng: Random,
) -> Pair:
    template = rng.choice(templates)
    io, subject, third = rng.sample(words["name"], 3)
    chosen = {kind: rng.choice(words[kind]) for kind in ("place", "object") if words[kind]}
    chosen |= {"io": io, "s1": subject, "s2": subject}
    clean, spans = fill(TEMPLATES[template], chosen)
    s2 = io if corruption == "s2_to_io" else third
    corrupted, _ = fill(TEMPLATES[template], {**chosen, "s2": s2})
    return Pair(
        clean=clean,
        corrupted=corrupted,
        correct=(f" {io}",),
        wrong=(f" {subject}",),
        template=template,
        spans={role: spans[role] for role in NAME_ROLES},
    )


BUILDER = Builder(
    make_pairs,
    title="Indirect object identification (IOI)",
    metric=Metric.LOGIT_DIFF,
    prompt_tokens=20,
    options={"corruption": CORRUPTIONS},
    head_sets=(
        HeadSet.NAME_MOVERS,
        HeadSet.NAME_MOVERS_CS,
        HeadSet.S2I,
        HeadSet.INDUCTION_DUPLICATE,
    ),
)
