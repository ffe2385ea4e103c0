"""The two scripts that share a model: `cache_activations`, then `discover_circuit`."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.provenance import provenance, weights_hash, write_provenance
from circuitlapse.io.table_files import read_provenance, read_table
from circuitlapse.io.task_files import read_task, write_task
from circuitlapse.schemas import BEHAVIOUR, BEHAVIOUR_BY_GROUP

WHERE = {"model": "tiny", "variant": "seed1", "step": 0, "tokens": 0}
COMPUTE = {"device": "cpu", "dtype": "float32", "batch_size": 3, "memory_mb": None, "threads": 1}
SHARED = {
    "where": WHERE,
    "compute": COMPUTE,
    "bootstrap": {"samples": 100, "level": 0.95, "seed": 7},
}
CIRCUITS = {
    "method": "eap",
    "ig_steps": 3,
    "ig_rule": "left",
    "selection": "greedy",
    "threshold": 0.8,
    "max_fraction": 0.5,
    "grid_ratio": 2.0,
    "refine_points": 0,
    "random_circuits": 1,
    "noise_floor": True,
}


@pytest.fixture
def cache(run_script, pocket, tmp_path):
    def run(*, model=pocket / "step0", **changes):
        run_script(
            "cache_activations",
            inputs={"model": model, "tasks": [pocket / "mine.parquet"]},
            output={
                "activations": [tmp_path / "a.h5"],
                "behaviour": [tmp_path / "b.parquet"],
                "by_group": [tmp_path / "g.parquet"],
            },
            params=SHARED | {"stored_dtype": "float32"} | changes,
        )

    return run


@pytest.fixture
def discover(run_script, pocket, tmp_path):
    def run(*, model=pocket / "step0", **changes):
        return run_script(
            "discover_circuit",
            inputs={
                "model": model,
                "tasks": [pocket / "mine.parquet"],
                "activations": [tmp_path / "a.h5"],
            },
            output=[tmp_path / "c.h5"],
            params=SHARED | {"circuits": CIRCUITS, "stored_dtype": "float32"} | changes,
        )

    return run


def test_activations_say_which_model_step_task_and_number_format_made_them(cache, pocket, tmp_path):
    cache(stored_dtype="float16")
    with h5py.File(tmp_path / "a.h5") as file:
        origin = dict(file.attrs)
    assert origin["weights_hash"] == weights_hash(pocket / "step0")
    assert origin["task_hash"] == read_task(pocket / "mine.parquet").content_hash
    settings = json.loads(origin["settings"])
    assert settings["where"] == WHERE
    assert settings["compute"]["dtype"] == "float32"
    assert (settings["stored_dtype"], settings["seed"]) == ("float16", 0)


def test_behaviour_says_which_prompts_it_was_measured_on(cache, pocket, tmp_path):
    cache()
    assert read_table(tmp_path / "b.parquet", BEHAVIOUR)["task"].tolist() == ["mine"]
    origin = read_provenance(tmp_path / "b.parquet")
    assert origin["task_hash"] == read_task(pocket / "mine.parquet").content_hash
    assert json.loads(origin["settings"])["where"] == WHERE


def test_the_mean_over_groups_is_the_behaviour(cache, tmp_path):
    cache()
    (whole,) = read_table(tmp_path / "b.parquet", BEHAVIOUR).itertuples()
    groups = read_table(tmp_path / "g.parquet", BEHAVIOUR_BY_GROUP)
    assert len(groups) == whole.n
    assert np.average(groups["value"], weights=groups["n_prompts"]) == pytest.approx(whole.value)
    assert (groups["step"] == whole.step).all()


def test_a_model_without_circuits_gets_the_same_behaviour_and_no_other_file(
    cache, run_script, pocket, tmp_path
):
    cache()
    run_script(
        "cache_activations",
        inputs={"model": pocket / "step0", "tasks": [pocket / "mine.parquet"]},
        output={
            "behaviour": [tmp_path / "alone/b.parquet"],
            "by_group": [tmp_path / "alone/g.parquet"],
        },
        params=SHARED,
    )
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {"b.parquet", "g.parquet"}
    cached, alone = (tmp_path / name for name in ("b.parquet", "alone/b.parquet"))
    pd.testing.assert_frame_equal(read_table(alone, BEHAVIOUR), read_table(cached, BEHAVIOUR))
    hashes = ("weights_hash", "task_hash")
    assert [read_provenance(alone)[name] for name in hashes] == [
        read_provenance(cached)[name] for name in hashes
    ]


def test_one_job_for_all_tasks_and_one_job_per_task_write_the_same_bytes(
    run_script, pocket, tmp_path
):
    tasks = [pocket / "mine.parquet", tmp_path / "other.parquet"]
    mine = read_task(tasks[0])
    fewer = mine.frame.iloc[::-1].reset_index(drop=True)
    write_task(tasks[1], replace(mine, name="other", frame=fewer), {})

    def run(folder, *numbers):
        files = {
            kind: [tmp_path / folder / f"{kind}{number}" for number in numbers]
            for kind in ("activations", "behaviour", "by_group", "circuit")
        }
        given = {"model": pocket / "step0", "tasks": [tasks[number] for number in numbers]}
        params = SHARED | {"stored_dtype": "float32"}
        output = {kind: files[kind] for kind in ("activations", "behaviour", "by_group")}
        run_script("cache_activations", inputs=given, output=output, params=params)
        given["activations"] = files["activations"]
        params |= {"circuits": CIRCUITS}
        run_script("discover_circuit", inputs=given, output=files["circuit"], params=params)

    run("all", 0, 1)
    run("one", 0)
    run("one", 1)
    every, one = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("all", "one")
    )
    assert len(every) == 2 * 4
    assert every == one


def test_a_model_with_another_tokenizer_is_refused_before_it_is_loaded(cache, pocket, tmp_path):
    folder = tmp_path / "step0"
    folder.mkdir()
    tokenizer = json.loads((pocket / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words[" Mary"], words[" John"] = words[" John"], words[" Mary"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(SystemExit, match=r"step0/tokenizer.json: the tokenizer differs from th"):
        cache(model=folder)
    assert not (tmp_path / "b.parquet").exists()


def test_results_of_a_published_model_say_where_it_was_and_hold_for_it_anywhere(
    cache, discover, pocket, tmp_path
):
    copy = shutil.copytree(pocket / "step0", tmp_path / "step0")
    origin = {"repo": "EleutherAI/pythia-70m", "revision": "step0", "commit": "c0ffee"}
    write_provenance(copy / "provenance.json", provenance({}, origin, stage="fetching"))
    cache(model=copy)
    discover(model=copy)
    expected = {f"model_{name}": value for name, value in origin.items()}
    assert expected.items() <= read_provenance(tmp_path / "b.parquet").items()
    for name in ("a.h5", "c.h5"):
        with h5py.File(tmp_path / name) as file:
            assert expected.items() <= dict(file.attrs).items()
    assert "circuit kept" in discover()


def test_a_circuit_that_is_still_valid_is_kept(cache, discover, tmp_path):
    cache()
    assert "circuit kept" not in discover()
    before = (tmp_path / "c.h5").stat().st_mtime_ns
    assert "mine: same weights, prompts, settings and code: circuit kept" in discover()
    assert (tmp_path / "c.h5").stat().st_mtime_ns == before
    assert read_circuit(tmp_path / "c.h5").model == "tiny"


@pytest.mark.parametrize(
    "change",
    [{"stored_dtype": "float16"}, {"circuits": CIRCUITS | {"ig_steps": 4}}],
    ids=["number format on disk", "setting"],
)
def test_a_circuit_is_found_anew_when_what_it_was_made_from_changes(cache, discover, change):
    cache()
    discover()
    assert "circuit kept" not in discover(**change)
