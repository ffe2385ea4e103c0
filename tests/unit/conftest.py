"""A corner of a results folder, as small as it can be and made without the workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

NAMES = [("Mary", "John"), ("Anna", "Paul"), ("Ruth", "Mark"), ("Jane", "Adam"), ("Rose", "Karl")]
PAIRS = [(woman, man, " she", " he") for woman, man in NAMES]


@pytest.fixture(scope="session")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its tokenizer, an untrained model `step0` and a task with ten pairs."""
    import numpy as np

    from circuitlapse.io.task_files import write_task
    from circuitlapse.pocket.corpus import encode_lines, make_tokenizer
    from circuitlapse.pocket.training import make_model, save_snapshot
    from circuitlapse.settings.suite import Train
    from circuitlapse.tasks.custom import build_custom_task

    folder = tmp_path_factory.mktemp("pocket")
    lines = [
        f"So {name} is here, isn't{who}?" for a, b, x, y in PAIRS for name, who in ((a, x), (b, y))
    ]
    tokenizer = make_tokenizer((*lines, "\n"))
    tokenizer.save(str(folder / "tokenizer.json"))
    np.savez(folder / "train.npz", sentences=encode_lines(lines * 40, tokenizer))
    model = make_model(Train(layers=2, heads=2, d_model=16), tokenizer)
    save_snapshot(model, tokenizer, folder / "step0")
    rows = [f'"So {a} is here, isn\'t","So {b} is here, isn\'t",{x},{y}' for a, b, x, y in PAIRS]
    rows += [f'"So {b} is here, isn\'t","So {a} is here, isn\'t",{y},{x}' for a, b, x, y in PAIRS]
    (folder / "mine.csv").write_text("\n".join(["clean,corrupted,correct,wrong", *rows]) + "\n")
    task = build_custom_task("mine", tokenizer, file=folder / "mine.csv", metric="logit_diff")
    write_task(folder / "mine.parquet", task, {})
    return folder
