"""The scripts that compare the steps of a model: `transfer_circuits` and `swap_components`."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from circuitlapse import Circuit
from circuitlapse.io.circuit_files import read_circuit, write_circuit
from circuitlapse.io.provenance import provenance
from circuitlapse.io.table_files import read_provenance, read_table, write_table
from circuitlapse.models.graph import Graph
from circuitlapse.schemas import HEADS, ROLES, SWAPS, TRANSFER
from tests.records import NO_RANKINGS
from tests.unit.tables.test_circuits import make_record

COMPUTE = {"device": "cpu", "dtype": "float32", "batch_size": None, "memory_mb": None, "threads": 1}
BOOTSTRAP = {"samples": 100, "level": 0.95, "seed": 7}
STEPS = (0, 4)
WHERE = [{"model": "tiny", "variant": "seed1", "step": step, "tokens": step} for step in STEPS]


@pytest.fixture(scope="module")
def steps(pocket, tmp_path_factory):
    """Two steps of the pocket model; the second is the first with other weights."""
    home = tmp_path_factory.mktemp("steps")
    for step in STEPS:
        shutil.copytree(pocket / "step0", home / f"step{step}")
    weights = load_file(home / "step4/model.safetensors")
    moved = {name: weight.flip(0).contiguous() for name, weight in weights.items()}
    save_file(moved, home / "step4/model.safetensors", {"format": "pt"})
    return home


@pytest.fixture(scope="module")
def circuits(tmp_path_factory):
    """The whole model at step 0, and no circuit at step 4."""
    folder, graph = tmp_path_factory.mktemp("circuits"), Graph(2, 2)
    shape = graph.exists.shape
    edges = {"sources": graph.sources, "targets": graph.targets}
    edges |= {"scores": np.where(graph.exists, 0.1, np.nan), "order": np.zeros(shape, dtype=int)}
    none = {"status": "no_behaviour", "n_requested": None, "m_circuit": None}
    none |= {"in_circuit": Circuit.empty(graph).mask} | NO_RANKINGS
    whole = {"in_circuit": Circuit.full(graph).mask}
    for where, found in zip(WHERE, (whole, none), strict=True):
        record = make_record(**where, task="mine", **edges, **found)
        write_circuit(
            folder / f"step{where['step']}.h5", record, provenance({}, {}, stage="circuits")
        )
    return [folder / f"step{step}.h5" for step in STEPS]


@pytest.fixture
def transfer(run_script, steps, pocket, circuits, tmp_path):
    def run(models=None, seeds=None, **changes):
        given = {
            "models": models or [steps / f"step{step}" for step in STEPS],
            "tasks": [pocket / "mine.parquet"],
            "circuits": circuits,
        }
        return run_script(
            "transfer_circuits",
            inputs=given | ({} if seeds is None else {"seeds": seeds}),
            output=[tmp_path / "tiny.parquet"],
            params={"where": WHERE, "bootstrap": BOOTSTRAP, "compute": COMPUTE}
            | {"parts": str(tmp_path / "tiny"), "random_circuits": 0, "seed": 5}
            | changes,
        )

    return run


def test_controls_are_run_too(transfer, circuits, tmp_path):
    """Circuits of another seed, of which only that of the same step counts, and random ones."""
    seeds = []
    for path, where in zip(circuits, WHERE, strict=True):
        record = replace(read_circuit(path), model="other", variant="seed2", step=where["step"])
        seeds.append(tmp_path / f"other{where['step']}.h5")
        write_circuit(seeds[-1], record, provenance({}, {}, stage="circuits"))
    transfer(seeds=seeds, random_circuits=2)
    table = read_table(tmp_path / "tiny.parquet", TRANSFER)
    found = table.groupby("control")[["circuit_model", "circuit_step", "draw", "step"]].agg(list)
    assert set(found.loc["seed", "circuit_model"]) == {"other"}
    assert found.loc["seed", "circuit_step"] == found.loc["seed", "step"] == [0, 4]
    assert found.loc["random", "draw"] == [0, 1] * 2  # of the one circuit, in both models
    assert set(table["circuit_variant"]) == {"seed1", "seed2"}
    origin = read_provenance(tmp_path / "tiny.parquet")
    assert str(seeds[0]) in str(origin)


def test_every_circuit_is_run_in_the_model_of_every_step(transfer, tmp_path):
    log = transfer()
    table = read_table(tmp_path / "tiny.parquet", TRANSFER)
    assert list(zip(table["step"], table["circuit_step"], strict=True)) == [
        (0, 0), (0, 4), (4, 0), (4, 4),
    ]  # fmt: skip
    whole = table[table["circuit_step"] == 0]
    np.testing.assert_allclose(whole["m_circuit"], whole["m_model"], rtol=1e-4, atol=1e-6)
    assert set(table.loc[table["circuit_step"] == 4, "status"]) == {"no_circuit"}
    assert "step4: 2 rows" in log
    assert not (tmp_path / "tiny").exists()
    assert "task_mine_hash" in read_provenance(tmp_path / "tiny.parquet")


def test_what_an_unfinished_transfer_has_done_is_kept_and_the_rest_is_the_same(
    transfer, steps, tmp_path
):
    transfer()
    expected = (tmp_path / "tiny.parquet").read_bytes()
    with pytest.raises(SystemExit, match="ModelError"):
        transfer(models=[steps / "step0", broken_step(steps, tmp_path)])
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["step0.parquet"]
    log = transfer()
    assert "step0: reused from an unfinished job" in log
    assert "step4: 2 rows" in log
    assert (tmp_path / "tiny.parquet").read_bytes() == expected


def test_a_part_of_other_settings_is_not_taken_over(transfer, steps, tmp_path):
    with pytest.raises(SystemExit, match="ModelError"):
        transfer(models=[steps / "step0", broken_step(steps, tmp_path)])
    assert "kept" not in transfer(bootstrap=BOOTSTRAP | {"seed": 8})


def broken_step(steps, folder):
    shutil.copytree(steps / "step4", folder / "broken")
    (folder / "broken/model.safetensors").write_text("half of")
    return folder / "broken"


@pytest.fixture
def swap(run_script, steps, pocket, circuits, tmp_path):
    def run(pairs=((0, 4),), **inputs):
        log = run_script(
            "swap_components",
            inputs={
                "models": [steps / f"step{step}" for step in STEPS] if pairs else [],
                "tasks": [pocket / "mine.parquet"],
                "circuits": [circuits[STEPS.index(source)] for source, _ in pairs],
                **inputs,
            },
            output=[tmp_path / "swaps.parquet"],
            params={
                "where": WHERE if pairs else [],
                "pairs": list(pairs),
                "random_sets": 2,
                "seed": 1,
                "bootstrap": BOOTSTRAP,
                "role_rule": "controlled",
                "lengths": [4],
                "compute": COMPUTE,
                "parts": str(tmp_path / "swaps"),
            },
        )
        return read_table(tmp_path / "swaps.parquet", SWAPS), log

    return run


def test_the_heads_of_the_circuit_go_from_the_source_to_the_target(swap, tmp_path):
    table, log = swap()
    assert table["head_set"].tolist() == ["circuit", "random_like_circuit"]
    assert set(table["n_heads"]) == {4}
    assert table["status"].tolist() == ["ok", "too_few_heads"]  # all four heads of the model
    assert set(zip(table["source_step"], table["target_step"], strict=True)) == {(0, 4)}
    assert table["swapped"].iloc[0] != table["baseline"].iloc[0]
    assert "step4: 2 rows" in log
    assert not (tmp_path / "swaps").exists()


def test_without_a_circuit_at_the_source_there_are_no_heads_to_lend(swap):
    table, _ = swap(pairs=[(4, 0)])
    assert set(table["status"]) == {"no_heads"}
    assert table["swapped"].isna().all()
    assert table["baseline"].notna().all()


def test_without_pairs_there_is_a_table_without_rows(swap):
    table, _ = swap(pairs=[])
    assert len(table) == 0


def test_tables_about_heads_are_read_where_there_are_any(swap, tmp_path):
    """They say nothing about a task of one's own, but the output is made from them as well."""
    expected, _ = swap()
    write_table(tmp_path / "roles.parquet", ROLES.empty(), provenance={})
    score = {"score": "induction", "layer": 0, "head": 1, "value": 0.5, "n": 1, "status": "ok"}
    score |= {"low": 0.4, "high": 0.6}
    heads = HEADS.cast(pd.DataFrame([WHERE[0] | score]))
    write_table(tmp_path / "heads.parquet", heads, provenance={})
    about = {"roles": [tmp_path / "roles.parquet"], "heads": [tmp_path / "heads.parquet"]}
    table, _ = swap(**about)
    pd.testing.assert_frame_equal(table, expected)
    origin = read_provenance(tmp_path / "swaps.parquet")
    assert {f"{path}_hash" for paths in about.values() for path in paths} <= set(origin)
