"""Whether a model reads prompts as the tokenizer did that made them."""

from __future__ import annotations

from circuitlapse.errors import ModelError
from circuitlapse.tasks.base import Task
from circuitlapse.tasks.vocabulary import Vocabulary


def refuse_other_tokens(task: Task, vocabulary: Vocabulary, *, where: str) -> None:
    """Refuse a model whose tokenizer has other tokens for the prompts of a task.

    What else tells two tokenizers apart, such as what they add to a text, does no harm here:
    files of the same tokenizer differ in that, when they were saved by different libraries.

    Args:
        task: the prompts and their tokens.
        vocabulary: the tokenizer of the model.
        where: what to call its file in a message.

    Raises:
        ModelError: names the first prompt that differs, its tokens there and those expected.
    """
    start = [vocabulary.bos_id] if task.prepend_bos else []
    for side in ("clean", "corrupted"):
        columns = zip(task.frame[side], task.frame[f"{side}_tokens"], strict=True)
        for prompt, expected in columns:
            found = [*start, *vocabulary.ids(prompt)]
            if found != list(expected):
                raise ModelError(
                    f"{where}: not the tokenizer that the prompts of task {task.name} were made "
                    f"with: {prompt!r} has the tokens {found} there, expected {list(expected)}; "
                    "the models of a suite share the tokenizer of the first one; for another, "
                    "take a configuration of its own, with its own suite and results"
                )
