import hashlib
import json
import shutil
import subprocess
import sys
from random import Random

import numpy as np
import pytest

from circuitlapse.errors import REMAKE, ArtifactError, UnknownNameError
from circuitlapse.io.provenance import (
    HOME,
    PROVENANCE,
    STAGES,
    checked_hash,
    code_hash,
    code_of,
    file_hash,
    hash_of,
    notes_on,
    provenance,
    read_record,
    weights_hash,
    write_provenance,
)
from tests.damage import DAMAGES

INPUTS = {"weights": "a", "task": "b"}


def test_a_file_is_hashed_as_sha256sum_does(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert file_hash(tmp_path / "model.safetensors") == expected


def test_a_deployed_script_is_its_address_which_names_the_version():
    address = "https://raw.githubusercontent.com/circuitlapse/circuitlapse/v{}/scripts/plot.py"
    keys = [
        provenance(INPUTS, {}, stage="circuits", script=address.format(version))["key"]
        for version in ("0.1.0", "0.1.0", "0.2.0")
    ]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors"])
def test_a_model_is_its_weights_and_its_configuration(tmp_path, changed):
    for name in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / name).write_text("old")
    before = weights_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("new")
    assert weights_hash(tmp_path) == before
    (tmp_path / changed).write_text("new")
    assert weights_hash(tmp_path) != before


def test_a_model_in_shards_is_all_of_them(tmp_path):
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "1.safetensors", "2.safetensors"):
        (tmp_path / name).write_text("old")
    seen = {weights_hash(tmp_path)}
    for name in ("1.safetensors", "2.safetensors"):
        (tmp_path / name).write_text("new")
        seen.add(weights_hash(tmp_path))
    assert len(seen) == 3


def test_the_order_of_keys_does_not_matter_and_any_value_does():
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 1.5})


def test_the_key_changes_with_inputs_and_settings_and_with_nothing_else():
    key = provenance(INPUTS, {"ig_steps": 30}, stage="circuits")["key"]
    assert provenance(INPUTS, {"ig_steps": 30}, stage="circuits")["key"] == key
    assert provenance(INPUTS | {"task": "c"}, {"ig_steps": 30}, stage="circuits")["key"] != key
    assert provenance(INPUTS, {"ig_steps": 31}, stage="circuits")["key"] != key
    assert provenance(INPUTS, {"ig_steps": 30}, stage="heads")["key"] != key


def test_the_key_changes_with_the_script_that_ran_the_stage(tmp_path):
    script = tmp_path / "discover_circuit.py"
    keys = set()
    for text in ("old", "new"):
        script.write_text(text)
        keys.add(provenance(INPUTS, {}, stage="circuits", script=script)["key"])
    assert len(keys | {provenance(INPUTS, {}, stage="circuits")["key"]}) == 3


def test_provenance_names_code_libraries_and_settings():
    record = provenance(INPUTS, {"seed": 3}, stage="heads")
    assert record["weights_hash"] == "a"
    assert record["settings"] == '{"seed": 3}'
    assert {"circuitlapse", "code_hash", "torch", "safetensors"} <= set(record)


@pytest.fixture
def recorded(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(f"{name} " * 20)
    origin = provenance({}, {"repo": "a/b"}, stage="fetching")
    write_provenance(tmp_path / "provenance.json", origin, list(tmp_path.iterdir()))
    return tmp_path


def test_any_changed_bit_of_a_recorded_folder_is_noticed(recorded):
    hash_before, rng = weights_hash(recorded), np.random.default_rng(0)
    for file in sorted(recorded.iterdir()):
        whole = file.read_bytes()
        for place in rng.choice(len(whole), 50, replace=False):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            file.write_bytes(damaged)
            with pytest.raises(ArtifactError, match=rf"{file.name}: .*{REMAKE}"):
                weights_hash(recorded)
        file.write_bytes(whole)
    assert weights_hash(recorded) == hash_before


def test_a_record_of_somebody_else_is_none(recorded):
    (recorded / "provenance.json").write_text('{"files": {"config.json": "theirs"}}')
    assert read_record(recorded) == {}
    assert checked_hash(recorded / "config.json") == file_hash(recorded / "config.json")


def test_a_model_says_where_it_was_published_if_it_was(tmp_path):
    assert notes_on(tmp_path) == {}
    for settings, expected in (
        ({"seed": 3}, {}),
        ({"folder": "/data", "seed": 3}, {"model_folder": "/data"}),
        ({"repo": "a/b", "commit": "c"}, {"model_repo": "a/b", "model_commit": "c"}),
    ):
        write_provenance(tmp_path / "provenance.json", provenance({}, settings, stage="fetching"))
        assert notes_on(tmp_path) == expected


def test_a_result_says_what_the_verification_of_its_model_found(tmp_path):
    found = {"judge": "transformer-lens 4", "step": 0, "n_prompts": 4, "difference": 1e-6}
    record = tmp_path / "first.json"
    write_provenance(record, found | provenance(INPUTS, {}, stage="verification"))
    notes = notes_on(tmp_path, record)
    assert notes == {f"verified_{name}": str(value) for name, value in found.items()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_of_a_verification_is_refused(tmp_path, damage):
    record = tmp_path / "first.json"
    write_provenance(record, {"step": 0} | provenance(INPUTS, {}, stage="verification"))
    DAMAGES[damage](record, Random(0))
    with pytest.raises(ArtifactError, match=r"first\.json: "):
        notes_on(tmp_path, record)


def test_provenance_in_a_file_of_its_own_is_json_with_the_same_bytes_every_time(tmp_path):
    for name, settings in (("a", {"seed": 3, "step": 1}), ("b", {"step": 1, "seed": 3})):
        write_provenance(tmp_path / name, provenance(INPUTS, settings, stage="training"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = json.loads((tmp_path / "a").read_text())
    assert read["settings"] == {"seed": 3, "step": 1}
    assert (read["weights_hash"], read["key"]) == (
        "a",
        provenance(INPUTS, settings, stage="training")["key"],
    )


def test_an_edit_changes_the_keys_of_the_stages_that_run_the_module_and_no_others(tmp_path):
    copy = shutil.copytree(HOME, tmp_path / "circuitlapse")

    def edit(module):
        """Return the stages whose keys change."""
        before = {stage: code_hash(stage, copy) for stage in ("circuits", "heads")}
        with (copy / module).open("a") as stream:
            stream.write("# changed\n")
        code_hash.cache_clear()
        return {stage for stage, digest in before.items() if code_hash(stage, copy) != digest}

    assert edit("figures/style.py") == set()
    assert edit("circuits/discovery/search.py") == {"circuits"}
    assert edit("models/load.py") == {"circuits", "heads"}


@pytest.fixture(scope="module")
def code():
    return {stage: code_of(stage) for stage in STAGES}


MODEL_STAGES = {"activations", "circuits", "heads", "algorithm", "transfer", "swaps"}


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("figures/style.py", set()),
        ("tables/stability.py", {"tables"}),
        ("config/document.py", set()),
        ("settings/analysis.py", set()),  # the values of the settings are in the key
        ("checkpoint.py", MODEL_STAGES),
        ("pocket/training.py", {"training"}),
        ("tasks/ioi.py", {"prompts", "swaps"}),  # also names head sets to swap
        ("circuits/discovery/__init__.py", {"circuits"}),
        ("circuits/attribution/gradients.py", {"circuits"}),
        ("circuits/evaluation/__init__.py", {"circuits", "transfer"}),
        ("heads/cspa.py", {"heads"}),
        ("io/activation_files.py", {"activations", "circuits", "heads", "algorithm"}),
        ("exchange/swaps.py", {"swaps"}),
        ("models/load.py", {*MODEL_STAGES, "verification", "weights"}),
        ("models/activations.py", MODEL_STAGES),
    ],
)
def test_a_module_is_code_of_the_stages_that_run_it(code, module, stages):
    assert (HOME / module).is_file()
    assert {stage for stage, files in code.items() if HOME / module in files} == stages


def test_the_code_of_a_stage_is_found_through_every_kind_of_import(tmp_path):
    files = {
        "pocket/__init__.py": "from .training import train",
        "pocket/training.py": "import circuitlapse.a\nfrom circuitlapse import b",
        "a.py": "def late():\n    from circuitlapse.c import d",
        "b.py": "import json",
        "c/__init__.py": "",
        "c/d.py": "from ..e import name",
        "e.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {str(file.relative_to(tmp_path)) for file in code_of("training", tmp_path)}
    assert found == set(files) - {"unused.py"}


def test_an_unknown_stage_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown stage 'circuit'.*circuits"):
        provenance({}, {}, stage="circuit")


def test_provenance_is_known_without_torch():
    code = "from circuitlapse.io.provenance import provenance; import sys;"
    code += "provenance({}, {}, stage='circuits'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("how", ["folder", "link"])
def test_what_stands_in_the_place_of_a_record_is_refused(tmp_path, how):
    (tmp_path / "weights").write_text("1")
    place = tmp_path / PROVENANCE
    place.mkdir() if how == "folder" else place.symlink_to("nowhere")
    with pytest.raises(ArtifactError, match=f"{PROVENANCE}: expected a file, found a"):
        checked_hash(tmp_path / "weights")
