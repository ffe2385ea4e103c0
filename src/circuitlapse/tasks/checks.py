"""Checks of prompt pairs: the rules that they must keep, and warnings about likely mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from circuitlapse.errors import ModelError, TaskError
from circuitlapse.tasks.base import Pair
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.prompt_file import prompt_problem, unit_of
from circuitlapse.tasks.vocabulary import Vocabulary


def refuse_defects(builder: str, pairs: Iterable[Pair], vocabulary: Vocabulary) -> None:
    """Check pairs of a built-in task against every rule; no prompt may end in its own answer.

    Raises:
        TaskError: naming the first pair that breaks a rule.
    """
    for pair in pairs:
        found = problems(pair, vocabulary)
        if not found and ends_in_its_answer(pair, vocabulary):
            found = [f"clean ends in its own answer {pair.correct[0]!r}; it must stop before"]
        if found:
            raise TaskError(
                f"{builder} made the pair {pair.clean!r}, {pair.corrupted!r}, which breaks a rule: "
                f"{'; '.join(found)}"
            )


def ends_in_its_answer(pair: Pair, vocabulary: Vocabulary) -> bool:
    """Whether the last token of the clean prompt is its only right answer."""
    return vocabulary.single_ids(pair.correct) == (vocabulary.ids(pair.clean)[-1],)


def problems(pair: Pair, vocabulary: Vocabulary, *, any_end: bool = False) -> list[str]:
    """Describe every rule that a pair breaks; an empty list for a good pair.

    - no prompt ends in a space, unless `any_end` allows it;
    - both prompts consist of known words;
    - they have equally many tokens and differ in `n_changed` of them;
    - both or neither begin with a begin-of-text token;
    - every answer is one known token;
    - no answer is both correct and wrong.
    """
    parts = [
        *_prompt_problems("clean", pair.clean, vocabulary, any_end=any_end),
        *_prompt_problems("corrupted", pair.corrupted, vocabulary, any_end=any_end),
        *_answer_problems("correct", pair.correct, vocabulary),
        *_answer_problems("wrong", pair.wrong, vocabulary),
    ]
    return parts or [*_alignment_problems(pair, vocabulary), *_overlap_problems(pair, vocabulary)]


def _prompt_problems(
    side: str, text: str, vocabulary: Vocabulary, *, any_end: bool
) -> Iterator[str]:
    if problem := prompt_problem(side, text, any_end=any_end):
        yield problem
    elif not vocabulary.ids(text):
        yield f"{side} is empty"
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
    begins = [vocabulary.begins_with_bos(text) for text in (pair.clean, pair.corrupted)]
    if begins[0] != begins[1]:
        one, other = ("clean", "corrupted") if begins[0] else ("corrupted", "clean")
        yield f"{one} has a begin-of-text token and {other} has none; both or neither must have it"
        return
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


MOST_LINES = 10
"""At most this many line numbers stand in a warning."""


def warn_of_likely_mistakes(path: Path, pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> None:
    """Warn once about each kind of likely mistake.

    Args:
        path: the file of prompts.
        pairs: line -> the pair that starts there; each keeps the rules.
        vocabulary: of the tokenizer.
    """
    for mistake in (
        _missing_spaces(pairs, vocabulary),
        _joined_answers(pairs, vocabulary),
        _repeated_answers(pairs, vocabulary, unit=unit_of(path)),
    ):
        if mistake:
            warnings.warn(f"{path}: {mistake}", stacklevel=2)


def _missing_spaces(pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> str:
    """Describe answers without a leading space that a token with one could replace."""
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


def _joined_answers(pairs: Mapping[int, Pair], vocabulary: Vocabulary) -> str:
    """Describe right answers that the tokenizer joins with the prompt in running text.

    A model has not seen them as a token of their own there. Of several, the first is looked at.
    """
    suspects = []
    for pair in pairs.values():
        before, answer = vocabulary.ids(pair.clean), pair.correct[0]
        whole = f"{pair.clean}{answer}"
        if vocabulary.ids(whole) != [*before, vocabulary.single_id(answer)]:
            suspects.append((answer, "|".join(vocabulary.tokens(whole)[len(before) - 1 :])))
    if not suspects:
        return ""
    answer, shown = suspects[0]
    return (
        f"in {len(suspects)} rows, the right answer is not the next token of running text, such as "
        f"{answer!r}: the text ends in {shown!r}"
    )


def _repeated_answers(pairs: Mapping[int, Pair], vocabulary: Vocabulary, *, unit: str) -> str:
    """Describe rows whose answer repeats the last token, as few tasks intend."""
    lines = [line for line, pair in pairs.items() if ends_in_its_answer(pair, vocabulary)]
    if not lines:
        return ""
    listed = ", ".join(map(str, lines[:MOST_LINES]))
    more = f" and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
    return (
        f"clean ends in its own answer, such as {pairs[lines[0]].correct[0]!r}, in {unit} "
        f"{listed}{more}; a prompt usually stops before its answer"
    )


def refuse_other_tokens(task: Task, vocabulary: Vocabulary, *, where: str) -> None:
    """Check that a model's tokenizer gives the prompts of a task the tokens that the task has.

    Other differences, such as the special tokens that a tokenizer adds, are allowed: libraries
    save the same tokenizer in different ways.

    Args:
        task: the prompts and their tokens.
        vocabulary: the tokenizer of the model.
        where: name of its file in the message.

    Raises:
        ModelError: with the first prompt that differs, its tokens and those expected.
    """
    for side in ("clean", "corrupted"):
        columns = zip(task.frame[side], task.frame[f"{side}_tokens"], strict=True)
        for prompt, expected in columns:
            found = vocabulary.prompt_ids(prompt, prepend_bos=task.prepend_bos)
            if found != list(expected):
                raise ModelError(
                    f"{where}: the tokenizer differs from the one that made task {task.name}: "
                    f"{prompt!r} has the tokens {found}, expected {list(expected)}; all models of "
                    "a suite share one tokenizer, so give this model its own configuration, with "
                    "its own suite and results"
                )
