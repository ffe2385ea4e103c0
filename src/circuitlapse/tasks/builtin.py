"""A task that comes with Circuitlapse, made for a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from tokenizers import Tokenizer

from circuitlapse.errors import TaskError, UnknownNameError, unknown_name
from circuitlapse.tasks.checks import refuse_defects
from circuitlapse.tasks.encode import Task, encode
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.tasks.vocabulary import Vocabulary


def build_task(
    name: str,
    tokenizer: Tokenizer,
    *,
    builder: str,
    n_prompts: int | None,
    seed: int,
    prepend_bos: bool = False,
    options: Mapping[str, str] | None = None,
) -> Task:
    """Make a task for a tokenizer; the same arguments always give the same task.

    Args:
        name: the user's name for the task.
        tokenizer: decides which of our words can be used.
        builder: one of `BUILDERS`.
        n_prompts: pairs to make; None makes all. If fewer exist, the task has those.
        seed: of all random draws.
        prepend_bos: start each prompt with a begin-of-text token.
        options: settings of the builder, such as {"corruption": "s2_to_random"}.

    Raises:
        UnknownNameError: if the builder, an option or its value is unknown.
        TaskError: if the tokenizer allows fewer than two pairs, or a pair breaks a rule (a
            defect of the builder).
    """
    if builder not in BUILDERS:
        raise UnknownNameError(unknown_name("builder", builder, BUILDERS))
    made_by = BUILDERS[builder]
    settings = _settings(builder, options or {})
    vocabulary = Vocabulary(tokenizer)
    try:
        draft = made_by.make(vocabulary, n_prompts=n_prompts, rng=Random(seed), **settings)
        refuse_defects(builder, draft.pairs, vocabulary)
        return encode(
            draft,
            vocabulary,
            name=name,
            metric=made_by.metric,
            builder=builder,
            n_prompts=n_prompts,
            seed=seed,
            prepend_bos=prepend_bos,
            options=settings,
        )
    except TaskError as error:
        raise TaskError(f"task {name}: {error}") from error


def _settings(builder: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the builder's options with defaults filled in."""
    allowed = BUILDERS[builder].options
    for option, value in options.items():
        if option not in allowed:
            raise UnknownNameError(unknown_name(f"option of {builder}", option, allowed))
        if value not in allowed[option]:
            raise UnknownNameError(unknown_name(option, value, allowed[option]))
    return {option: values[0] for option, values in allowed.items()} | dict(options)
