import json
import math

import pytest

from circuitlapse.io.provenance import file_hash
from circuitlapse.io.task_files import read_task
from circuitlapse.pocket import training

TRAIN = {"layers": 2, "heads": 2, "d_model": 16, "seed": 1, "data_seed": 1}
PHASE = {"steps": 1, "batch_size": 4, "sequence_length": 16, "warmup_steps": 0}
WHERE = {"model": "m", "variant": "seed1", "tokens": 0}
RECIPE = {"phases": [PHASE, PHASE], "save_steps": [0, 2], "threads": 1}


def train(run_script, pocket, folder):
    return run_script(
        "train_suite",
        inputs={"tokens": pocket / "train.npz", "tokenizer": pocket / "tokenizer.json"},
        output={
            "models": [folder / "step0", folder / "step2"],
            "weights": [folder / "weights/step0.h5", folder / "weights/step2.h5"],
        },
        params={"train": TRAIN, "recipe": RECIPE, "where": [WHERE | {"step": s} for s in (0, 2)]},
    )


def test_training_again_gives_the_same_files_byte_for_byte(run_script, pocket, tmp_path):
    made = []
    for name in ("one", "again"):
        log = train(run_script, pocket, tmp_path / name)
        files = (path for path in sorted((tmp_path / name).rglob("*")) if path.is_file())
        made.append({str(f.relative_to(tmp_path / name)): f.read_bytes() for f in files})
    assert made[0] == made[1]
    assert {"step0/model.safetensors", "step2/provenance.json"} <= set(made[0])
    assert "steps: 3/3" in log
    assert "nats per token" in log


def test_each_folder_says_what_made_the_model(run_script, pocket, tmp_path):
    train(run_script, pocket, tmp_path)
    origin = json.loads((tmp_path / "step2" / "provenance.json").read_text())
    assert origin["settings"] == {"train": TRAIN, "recipe": RECIPE, "step": 2}
    assert origin["corpus_hash"] == file_hash(pocket / "train.npz")
    assert origin["tokenizer_hash"] == read_task(pocket / "mine.parquet").tokenizer_hash
    assert {"torch", "transformers", "code_hash"} <= set(origin)


def test_training_that_diverges_leaves_no_folder_of_the_step(
    run_script, pocket, tmp_path, monkeypatch
):
    losses = iter([(1.0, 1.0), (math.nan, 1.0)])
    monkeypatch.setattr(training, "_set_gradients", lambda *_: next(losses))
    with pytest.raises(SystemExit, match="ModelError: training diverged at step 2"):
        train(run_script, pocket, tmp_path)
    assert [path.name for path in tmp_path.glob("step*")] == ["step0"]
