"""From text to token ids, and the rules that every prompt pair has to keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from circuitlapse.errors import TaskError
from circuitlapse.tasks.base import Draft, Pair, Task, to_frame
from circuitlapse.tasks.vocabulary import Vocabulary
from circuitlapse.types import Metric

MIN_PAIRS = 2
"""A mean with a spread needs two."""


def encode(
    draft: Draft,
    vocabulary: Vocabulary,
    *,
    name: str,
    metric: Metric,
    builder: str,
    n_prompts: int | None,
    seed: int,
    prepend_bos: bool,
    options: Mapping[str, str],
) -> Task:
    """Turn the pairs of a builder into a task; see `Task` for the arguments.

    Raises:
        TaskError: if a pair breaks a rule (a defect of its builder), if there are fewer than
            two pairs, or if the tokenizer has no begin-of-text token to prepend.
    """
    pairs = draft.pairs
    if len(pairs) < MIN_PAIRS:
        raise TaskError(f"{len(pairs)} prompt pairs remain; at least {MIN_PAIRS} are needed")
    for pair in pairs:
        if found := problems(pair, vocabulary):
            raise TaskError(
                f"{builder} made the pair {pair.clean!r}, {pair.corrupted!r}, which breaks a rule: "
                f"{'; '.join(found)}"
            )
    start = [vocabulary.bos_id] if prepend_bos else []
    rows = [_row(pair, vocabulary, start=start) for pair in pairs]
    short = 0 if n_prompts is None else n_prompts - len(pairs)
    dropped = {**draft.dropped, "prompts that were asked for but do not exist": short}
    return Task(
        name=name,
        metric=metric,
        builder=builder,
        prepend_bos=prepend_bos,
        seed=seed,
        options=options,
        tokenizer_hash=vocabulary.hash,
        dropped={reason: count for reason, count in dropped.items() if count},
        frame=to_frame([{"prompt_id": index, **row} for index, row in enumerate(rows)]),
    )


def problems(pair: Pair, vocabulary: Vocabulary) -> list[str]:
    """Return every rule that a pair breaks, in words; an empty list for a good pair.

    Both prompts consist of known words, have equally many tokens and differ in `n_changed` of
    them; every answer is one known token; none is both right and wrong; the prompt stops
    before its answer.
    """
    parts = [
        *_prompt_problems("clean", pair.clean, vocabulary),
        *_prompt_problems("corrupted", pair.corrupted, vocabulary),
        *_answer_problems("correct", pair.correct, vocabulary),
        *_answer_problems("wrong", pair.wrong, vocabulary),
    ]
    return parts or [*_alignment_problems(pair, vocabulary), *_overlap_problems(pair, vocabulary)]


def _prompt_problems(side: str, text: str, vocabulary: Vocabulary) -> Iterator[str]:
    if not text.strip() or not vocabulary.ids(text):
        yield f"{side} is empty"
    elif text[-1].isspace():
        yield f"{side} ends in a space, which belongs in front of the answers instead"
    if not vocabulary.knows(text):
        unknown = ", ".join(repr(token) for token in vocabulary.unknown_parts(text))
        yield f"{side} has words that the tokenizer does not know: {unknown}"


def _answer_problems(side: str, answers: tuple[str, ...], vocabulary: Vocabulary) -> Iterator[str]:
    if not answers:
        yield f"{side} has no answer"
    for answer, token_id in zip(answers, vocabulary.single_ids(answers), strict=True):
        if token_id is None:
            yield f"{side} answer {answer!r} {_why_not(answer, vocabulary)}"


def _why_not(answer: str, vocabulary: Vocabulary) -> str:
    parts = vocabulary.tokens(answer)
    other = answer[1:] if answer.startswith(" ") else f" {answer}"
    hint = f"; {other!r} is one token" if vocabulary.single_id(other) is not None else ""
    if len(parts) == 1:
        return f"is a special or unknown token, not a word of the tokenizer{hint}"
    shown = f" ({'|'.join(parts)})" if parts else ""
    return f"is {len(parts)} tokens{shown}, but must be exactly one{hint}"


def _alignment_problems(pair: Pair, vocabulary: Vocabulary) -> Iterator[str]:
    clean, corrupted = vocabulary.ids(pair.clean), vocabulary.ids(pair.corrupted)
    if len(clean) != len(corrupted):
        shown = ("|".join(vocabulary.tokens(text)) for text in (pair.clean, pair.corrupted))
        yield (
            f"clean has {len(clean)} tokens and corrupted {len(corrupted)}, but they must be "
            f"equally long ({' and '.join(shown)})"
        )
        return
    n_changed = sum(a != b for a, b in zip(clean, corrupted, strict=True))
    if n_changed == 0:
        yield "clean and corrupted are the same"
    elif pair.n_changed not in (None, n_changed):
        yield f"clean and corrupted differ in {n_changed} tokens, expected {pair.n_changed}"


def _overlap_problems(pair: Pair, vocabulary: Vocabulary) -> Iterator[str]:
    correct, wrong = vocabulary.single_ids(pair.correct), vocabulary.single_ids(pair.wrong)
    if both := set(correct) & set(wrong):
        shared = (repr(a) for a, i in zip(pair.correct, correct, strict=True) if i in both)
        yield f"{', '.join(shared)} is among the correct and the wrong answers"
    for side, ids in (("correct", correct), ("wrong", wrong)):
        if len(set(ids)) < len(ids):
            yield f"{side} names an answer twice"
    if correct == (vocabulary.ids(pair.clean)[-1],):
        yield f"clean ends in its own answer {pair.correct[0]!r}; it must stop before"


def _row(pair: Pair, vocabulary: Vocabulary, *, start: list[int]) -> dict[str, Any]:
    clean = [*start, *vocabulary.ids(pair.clean)]
    positions = {
        f"pos_{role}": len(start) + vocabulary.position(pair.clean, span)
        for role, span in pair.spans.items()
    }
    return {
        "template": pair.template,
        "clean": pair.clean,
        "corrupted": pair.corrupted,
        "clean_tokens": clean,
        "corrupted_tokens": [*start, *vocabulary.ids(pair.corrupted)],
        "end": len(clean) - 1,
        "correct": vocabulary.single_ids(pair.correct),
        "wrong": vocabulary.single_ids(pair.wrong),
        **positions,
    }
