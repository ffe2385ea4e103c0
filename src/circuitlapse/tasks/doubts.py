"""What may be a mistake in a user's prompts, and is pointed out without refusing them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from circuitlapse.tasks.base import Pair
from circuitlapse.tasks.rules import ends_in_its_answer
from circuitlapse.tasks.vocabulary import Vocabulary

MOST_LINES = 10
"""So many line numbers are spelled out."""


def warn_of_doubts(path: Path, pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> None:
    """Warn once of each kind of doubt.

    Args:
        path: the file of prompts.
        pairs: line -> the pair that starts there; every one keeps the rules.
        vocabulary: of the tokenizer.
    """
    for doubt in (_missing_spaces(pairs, vocabulary), _repeated_answers(pairs, vocabulary)):
        if doubt:
            warnings.warn(f"{path}: {doubt}", stacklevel=2)


def _missing_spaces(pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> str:
    """Name answers that would continue the prompt's last word, though they need not."""
    suspects = [
        (pair.clean, answer)
        for pair in pairs.values()
        for answer in (*pair.correct, *pair.wrong)
        if pair.clean[-1].isalnum()
        and answer[0].isalpha()
        and vocabulary.single_id(f" {answer}") is not None
    ]
    if not suspects:
        return ""
    clean, answer = suspects[0]
    return (
        f"{len(suspects)} answers have no leading space, so they continue the last word, such as "
        f"{clean.split()[-1] + answer!r}; ' {answer}' is a token too"
    )


def _repeated_answers(pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> str:
    """Name rows whose answer repeats the last token, which is right only if that is the task."""
    lines = [line for line, pair in pairs.items() if ends_in_its_answer(pair, vocabulary)]
    if not lines:
        return ""
    listed = ", ".join(map(str, lines[:MOST_LINES]))
    more = f" and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
    return (
        f"clean ends in its own answer, such as {pairs[lines[0]].correct[0]!r}, in line "
        f"{listed}{more}; a prompt mostly stops before its answer"
    )
