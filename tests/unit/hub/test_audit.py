"""The audit of a hub on this machine, with the layouts that were reported of the real one."""

import pytest
from huggingface_hub import constants, snapshot_download

from circuitlapse.errors import HubError
from circuitlapse.hub.audit import (
    Asked,
    Listings,
    alternative,
    audit,
    found_revision,
    known_audit,
    records_of,
    write_json,
)
from circuitlapse.hub.retry import RetryPolicy

REPO = "lab/model"
RETRY = RetryPolicy(attempts=2, first_wait_s=0.01)
SAFE, TORCH = "model.safetensors", "pytorch_model.bin"
LAYOUT = {
    "step0": {SAFE: b"final"},
    "step1": {"model-1-of-2.safetensors": b"final 1", "model-2-of-2.safetensors": b"one"},
    "step2": {SAFE: b"final", TORCH: b"two"},
    "step3": {"config.json": b"{}"},
    "step4": {"model-1-of-2.safetensors": b"final 1", "model-2-of-2.safetensors": b"four"},
    "step9": {SAFE: b"final"},
    "main": {SAFE: b"final"},
}
"""A step with the final file, a shared shard, a `.bin` of its own, and no weights."""
EXPECTED = {0: "duplicate", 1: "suspect", 2: "ok", 3: "no_weights", 4: "ok", 9: "ok"}


@pytest.fixture
def lab(hub):
    """The hub with the reported layout."""
    for revision, files in LAYOUT.items():
        hub.add(REPO, revision, files)
    hub.requests.clear()
    return hub


def asked(*steps, repo=REPO, pattern="step{step}"):
    return [Asked("m", step, repo, pattern.replace("{step}", str(step)), pattern) for step in steps]


def files(folder):
    return folder / "hub.json", folder / "listings.json"


def statuses(found):
    return {one.asked.step: str(one.verdict.status) for one in found}


def test_every_reported_fault_is_found_without_downloading_a_weight(lab, tmp_path):
    found = audit(asked(*EXPECTED), Listings.at(tmp_path / "listings.json"), RETRY)
    assert statuses(found) == EXPECTED
    assert lab.asked("*/resolve/*") == lab.asked("/storage/*") == []
    by_step = {one.asked.step: one.verdict for one in found}
    assert by_step[0].same_as == "step 9"
    assert by_step[1].shared == ("model-1-of-2.safetensors",)
    assert by_step[2].instead_of == SAFE
    assert found[0].commit == lab.commit(REPO, "step0")


def test_it_takes_one_request_per_revision_and_then_one_per_repository(lab, tmp_path):
    listings = tmp_path / "listings.json"
    first = audit(asked(*EXPECTED), Listings.at(listings), RETRY)
    revisions = lab.asked(f"/api/models/{REPO}/revision/*")
    assert sorted(request.path.rpartition("/")[2] for request in revisions) == sorted(LAYOUT)
    assert len(lab.requests) == len(LAYOUT) + 1
    lab.requests.clear()
    assert audit(asked(*EXPECTED), Listings.at(listings), RETRY) == first
    assert [request.path for request in lab.requests] == [f"/api/models/{REPO}/refs"]


def test_a_step_with_the_file_of_main_is_a_duplicate_where_the_last_step_is_not_analysed(
    lab, tmp_path
):
    found = audit(asked(0, 4), Listings.at(tmp_path / "listings.json"), RETRY)
    assert statuses(found) == {0: "duplicate", 4: "ok"}
    assert found[0].verdict.same_as == "main"


def test_an_unknown_revision_names_the_nearest_before_anything_is_listed(lab, tmp_path):
    with pytest.raises(
        HubError, match=r"^lab/model: 'step\{step\}' fits no .* at step 5 \(nearest: 2, 3, 4\)$"
    ):
        audit(asked(0, 5), Listings.at(tmp_path / "listings.json"), RETRY)
    listed = [Asked("m", 0, REPO, "step0"), Asked("m", 5, REPO, "step5")]
    with pytest.raises(HubError, match=r"no revision 'step5' .*nearest: step4, step3, step2"):
        audit(listed, Listings.at(tmp_path / "listings.json"), RETRY)
    assert len(lab.requests) == 2


def test_the_number_of_tokens_in_a_name_is_found(lab, tmp_path):
    for step, content in ((1, b"a"), (2, b"z"), (3, b"z")):
        lab.add("lab/olmo", f"stage1-step{step}-tokens{4 * step}B", {SAFE: content})
    lab.add("lab/olmo", "main", {SAFE: b"z"})
    pattern = "stage1-step{step}-tokens{tokens}B"
    wanted = asked(1, 2, repo="lab/olmo", pattern=pattern)
    found = audit(wanted, Listings.at(tmp_path / "listings.json"), RETRY)
    assert [one.revision for one in found] == ["stage1-step1-tokens4B", "stage1-step2-tokens8B"]
    assert statuses(found) == {1: "ok", 2: "duplicate"}
    write_json(tmp_path / "found.json", records_of(found, RETRY))
    assert found_revision(tmp_path / "found.json", "m", 2) == "stage1-step2-tokens8B"
    assert found_revision(tmp_path / "found.json", "m", 3) is None
    assert found_revision(tmp_path / "none.json", "m", 2) is None


def test_offline_the_cache_is_audited(lab, tmp_path, monkeypatch):
    for step in (0, 4, 9):
        lab.repos[REPO][f"step{step}"]["config.json"] = b"{}"
        snapshot_download(REPO, revision=f"step{step}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lab.requests.clear()
    found = audit(asked(0, 4, 9), Listings.at(tmp_path / "listings.json"), RETRY)
    assert statuses(found) == {0: "duplicate", 4: "ok", 9: "ok"}
    assert lab.requests == []


def test_a_ready_alternative_is_one_that_exists(lab):
    assert alternative(REPO, RETRY) == ""
    lab.add("lab/model-deduped", "main", {})
    assert alternative(REPO, RETRY) == "lab/model-deduped"
    assert alternative("lab/model-deduped", RETRY) == ""


def test_the_record_says_everything_in_plain_values(lab, tmp_path):
    lab.add("lab/model-deduped", "main", {})
    two, nine, zero = known_audit(asked(2, 9, 0), *files(tmp_path), retry=RETRY)
    assert (two["status"], two["instead_of"], two["same_as"]) == ("ok", SAFE, "step 9")
    assert [file["name"] for file in two["files"]] == [TORCH]
    assert two["commit"] == lab.commit(REPO, "step2")
    assert (nine["status"], zero["status"]) == ("ok", "duplicate")
    assert zero["alternative"] == "lab/model-deduped"


def test_what_is_known_is_not_asked_again_unless_told(lab, tmp_path):
    first = known_audit(asked(0, 4, 9), *files(tmp_path), retry=RETRY)
    lab.requests.clear()
    assert known_audit(asked(9, 4), *files(tmp_path), retry=RETRY) == [first[2], first[1]]
    assert lab.requests == []
    lab.add(REPO, "step0", {SAFE: b"mended"})
    lab.commit = lambda repo, name: ("a" if name == "step0" else "b") * 40
    again = known_audit(asked(0, 9), *files(tmp_path), again=True, retry=RETRY)
    assert [one["status"] for one in again] == ["ok", "ok"]
