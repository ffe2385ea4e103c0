"""The script `verify_model`, and what later jobs say about what it found."""

import json

import pytest

from circuitlapse.errors import ModelError
from circuitlapse.io.provenance import weights_hash
from circuitlapse.io.table_files import read_provenance
from circuitlapse.models import verify
from tests.unit.scripts.test_cache_and_discover import SHARED


@pytest.fixture
def verified(run_script, pocket, tmp_path):
    def run():
        record = tmp_path / "verified/first.json"
        given = {"model": pocket / "step0"}
        log = run_script("verify_model", inputs=given, output=[record], params={"step": 0})
        return record, log

    return run


def test_the_record_says_how_well_two_implementations_agree_on_which_weights(verified, pocket):
    record, log = verified()
    found = json.loads(record.read_text())
    assert found["judge"].startswith("transformer-lens ")
    assert 0 <= found["difference"] < 1e-5
    assert (found["step"], found["n_prompts"]) == (0, verify.RANDOM_PROMPTS)
    assert found["weights_hash"] == weights_hash(pocket / "step0")
    assert f"{found['judge']} on 4 prompts: logits differ by at most" in log


def test_a_model_that_differs_has_no_record(verified, monkeypatch, tmp_path):
    def differs(folder):
        raise ModelError(f"{folder}: the outputs of layer 1 of our decoder differ")

    monkeypatch.setattr(verify, "verify_model", differs)
    with pytest.raises(SystemExit, match=r"^ModelError: .*step0: the outputs of layer 1"):
        verified()
    assert not (tmp_path / "verified/first.json").exists()


def test_a_result_carries_what_was_found_beside_its_key(verified, run_script, pocket, tmp_path):
    record, _ = verified()
    origins = []
    for given in ({}, {"verified": record}):
        run_script(
            "cache_activations",
            inputs={"model": pocket / "step0", "tasks": [pocket / "mine.parquet"]} | given,
            output={
                "behaviour": [tmp_path / "behaviour.parquet"],
                "by_group": [tmp_path / "by_group.parquet"],
            },
            params=SHARED,
        )
        origins.append(read_provenance(tmp_path / "behaviour.parquet"))
    without, found = origins
    notes = {name: value for name, value in found.items() if name.startswith("verified_")}
    assert set(notes) == {f"verified_{n}" for n in ("judge", "step", "n_prompts", "difference")}
    assert without | notes == found
