"""Check the user's own files before the first job; a process of its own reads them.

Tasks from files and the text for heads are checked with the tokenizer of the suite, so a mistake
shows before models are trained or fetched. No rule does this: models would need its output as
`ancient`, and Snakemake then overlooks other changes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from circuitlapse.plan.workflow import Plan

CHECK = "circuitlapse.pocket.check_files"
"""The module that reads the files; it loads pandas and `tokenizers`, which this process does not.
"""
COSTLY = {"train_suite", "fetch_step"}
"""Rules whose jobs take long, so a mistake must show before them."""
TAKE_TOKENIZER = "take_tokenizer"
"""The rule that brings the tokenizer of published models."""


def own_files(plan: Plan, rules: Collection[str]) -> dict[str, Any]:
    """Return what `CHECK` is to read, as JSON holds it; empty if there is nothing to check.

    That is so if no model is made, if the user has no file, and for published models whose
    tokenizer is not here yet.

    Args:
        plan: of the run.
        rules: names of the rules whose jobs will run.
    """
    config = plan.config
    tasks = [
        task.model_dump(include={"name", "metric", "n_prompts", "seed", "prepend_bos"}, mode="json")
        | {"file": str(task.file)}
        for task in config.tasks
        if task.file
    ]
    if COSTLY.isdisjoint(rules) or not (tasks or config.heads.text):
        return {}
    tokenizer = plan.paths.tokenizer.format(suite=config.suite) if plan.published else None
    if tokenizer and (TAKE_TOKENIZER in rules or not Path(tokenizer).is_file()):
        return {}
    needs = config.heads.model_dump(include={"n_mean", "n_documents", "n_positions"})
    text = {"path": config.heads.text, **needs} if config.heads.text else None
    return {"tokenizer": tokenizer, "tasks": tasks, "text": text}


def problem_of_files(plan: Plan, rules: Collection[str]) -> str:
    """Return what is wrong with the user's files, or ""; see `own_files` for the arguments."""
    if not (asked := own_files(plan, rules)):
        return ""
    command = (*shlex.split(sys.executable), "-m", CHECK)
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, check=False
        )
    except OSError as error:
        return f"the files of the configuration cannot be checked: {error}"
    if done.returncode == 0:
        return ""
    last = done.stderr.strip().rpartition("\n")[2]
    return done.stdout.strip() or f"the files of the configuration cannot be checked: {last}"
