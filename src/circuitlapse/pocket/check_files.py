"""Read the user's own files as jobs will: tasks from files, and the text for heads.

`plan.own_files` runs this as a process of its own, before the first job of a run:

python -m circuitlapse.pocket.check_files

It reads a JSON object from standard input: `tokenizer`, the path of a tokenizer, or null for that
of the pocket suite, which needs no corpus; `tasks`, a list of arguments of `build_custom_task`;
and `text`, null or the path and needs of a text for heads. It prints what is wrong, and fails then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from circuitlapse.errors import CircuitlapseError
from circuitlapse.io.corpus_files import read_documents, read_tokenizer, refuse_short_text
from circuitlapse.pocket.corpus import make_pocket_tokenizer
from circuitlapse.redaction import redact
from circuitlapse.tasks.custom import build_custom_task


def main() -> None:
    """Do what the module docstring says."""
    if found := problems(json.load(sys.stdin)):
        print(redact("\n".join(found)))
        sys.exit(1)


def problems(asked: Mapping[str, Any]) -> list[str]:
    """Return a sentence per file that cannot be used.

    Args:
        asked: the object that the module docstring describes.
    """
    try:
        path = asked["tokenizer"]
        tokenizer = make_pocket_tokenizer() if path is None else read_tokenizer(path)
    except CircuitlapseError as error:
        return [str(error)]
    checks: list[Callable[[], object]] = [
        partial(build_custom_task, tokenizer=tokenizer, **task) for task in asked["tasks"]
    ]
    if text := asked["text"]:
        checks.append(partial(_check_text, tokenizer=tokenizer, **text))
    return [problem for check in checks if (problem := _problem(check))]


def _check_text(path: str, tokenizer: Tokenizer, **needs: int) -> None:
    refuse_short_text(path, read_documents(path, tokenizer), **needs)


def _problem(check: Callable[[], object]) -> str:
    try:
        check()
    except CircuitlapseError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
