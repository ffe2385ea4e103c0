import json
import math
import shutil
from pathlib import Path

import pytest

from circuitlapse.io.provenance import file_hash
from circuitlapse.io.task_files import read_task
from circuitlapse.pocket import training

TRAIN = {"layers": 2, "heads": 2, "d_model": 16, "seed": 1, "data_seed": 1}
PHASE = {"steps": 1, "batch_size": 4, "sequence_length": 16, "warmup_steps": 0}
WHERE = {"model": "m", "variant": "seed1", "tokens": 0}
STEPS = (0, 1, 2)
RECIPE = {"phases": [PHASE, PHASE], "save_steps": [0, 1, 2], "threads": 1}


def train(run_script, pocket, folder, **changes):
    return run_script(
        "train_suite",
        inputs={"tokens": pocket / "train.npz", "tokenizer": pocket / "tokenizer.json"},
        output={
            "models": [folder / f"step{step}" for step in STEPS],
            "weights": [folder / f"weights/step{step}.h5" for step in STEPS],
        },
        params={
            "train": TRAIN | changes,
            "recipe": RECIPE,
            "unfinished": folder / "training",
            "where": [WHERE | {"step": step} for step in STEPS],
        },
    )


def files_below(folder):
    """Name -> bytes of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def count(monkeypatch):
    """Count the steps that are computed, and stop a run by hand after `count.most`."""
    compute = training._set_gradients

    class Count:
        steps, most = 0, 99

        def __call__(self, *given):
            if self.steps == self.most:
                raise KeyboardInterrupt
            self.steps += 1
            return compute(*given)

    found = Count()
    monkeypatch.setattr(training, "_set_gradients", found)
    return found


@pytest.fixture
def stopped(run_script, pocket, tmp_path, count):
    """A folder in which training was stopped after its first step, and the undisturbed files."""
    train(run_script, pocket, tmp_path / "whole")
    count.steps, count.most = 0, 1
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(run_script, pocket, tmp_path / "stopped")
    count.steps, count.most = 0, 99
    for step in STEPS:  # as Snakemake does with the output of a job that failed
        assert not (tmp_path / "stopped" / f"step{step}").exists()
    return tmp_path / "stopped", files_below(tmp_path / "whole")


def test_training_again_gives_the_same_files_byte_for_byte(run_script, pocket, tmp_path):
    made = []
    for name in ("one", "again"):
        log = train(run_script, pocket, tmp_path / name)
        made.append(files_below(tmp_path / name))
    assert made[0] == made[1]
    assert not [name for name in made[0] if name.startswith("training")]
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


def test_stopped_training_goes_on_from_its_last_saved_step(run_script, pocket, stopped, count):
    folder, whole = stopped
    log = train(run_script, pocket, folder)
    assert "going on after step 1" in log
    assert count.steps == 1
    assert files_below(folder) == whole


@pytest.mark.parametrize("changed", ["state1/state.pt", "state1", "step0/model.safetensors"])
@pytest.mark.parametrize("how", ["bit", "absent", "folder", "link"])
def test_a_training_whose_state_is_damaged_starts_anew(
    run_script, pocket, stopped, count, changed, how
):
    folder, whole = stopped
    path = folder / "training" / changed
    content = path.read_bytes() if path.is_file() else b""
    (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    if how == "bit":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if content else b"junk")
    elif how == "folder":
        (path / "inside").mkdir(parents=True)
    elif how == "link":
        path.symlink_to("nowhere")
    train(run_script, pocket, folder)
    assert count.steps == 2
    assert files_below(folder) == whole


def test_a_training_that_fails_after_its_last_step_is_not_lost(
    run_script, pocket, tmp_path, count, monkeypatch
):
    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("circuitlapse.io.weight_files.keep_fingerprint", full)
        with pytest.raises(SystemExit):
            train(run_script, pocket, tmp_path)
    count.steps = 0
    train(run_script, pocket, tmp_path)
    assert count.steps == 0
    assert not (tmp_path / "training").exists()


def test_a_training_of_another_model_starts_anew(run_script, pocket, stopped, count):
    folder, whole = stopped
    train(run_script, pocket, folder, seed=2)
    assert count.steps == 2
    assert files_below(folder)["step1/model.safetensors"] != whole["step1/model.safetensors"]


def test_training_that_diverges_leaves_no_model(run_script, pocket, tmp_path, monkeypatch):
    losses = iter([(1.0, 1.0), (math.nan, 1.0)])
    monkeypatch.setattr(training, "_set_gradients", lambda *_: next(losses))
    with pytest.raises(SystemExit, match="ModelError: training diverged at step 2"):
        train(run_script, pocket, tmp_path)
    assert not list(tmp_path.glob("step*"))
