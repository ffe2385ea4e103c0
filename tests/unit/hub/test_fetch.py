import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from huggingface_hub import constants, snapshot_download

from circuitlapse import load_model
from circuitlapse.errors import HubError
from circuitlapse.hub import Patience, fetch_snapshot, fetch_tokenizer
from circuitlapse.io.provenance import weights_hash
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO

QUICK = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.02)
STORED = "/storage/*model.safetensors"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def logits(folder):
    with torch.no_grad():
        return load_model(folder)(torch.arange(12)[None], return_type="logits")


def size_of(published):
    return (published / "model.safetensors").stat().st_size


def test_a_revision_is_fetched_with_what_a_model_needs_and_nothing_else(hub, published, tmp_path):
    folder = tmp_path / "step1000"
    fetch_snapshot(REPO, "step1000", folder)
    wanted = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert names_in(folder) == sorted([*wanted, "provenance.json"])
    assert all((folder / name).read_bytes() == (published / name).read_bytes() for name in wanted)
    assert weights_hash(folder) == weights_hash(published)
    assert len(load_model(folder).tokenizer) == 50277
    assert sum(request.served for request in hub.asked("*model.safetensors")) == size_of(published)
    assert hub.asked("*README.md") == []


def test_the_folder_names_the_commit_that_it_is(hub, tmp_path):
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    origin = json.loads((tmp_path / "a" / "provenance.json").read_text())
    commit = hub.commit(REPO, "step1000")
    assert origin["settings"] == {"repo": REPO, "revision": "step1000", "commit": commit}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_lost_connection_is_taken_up_where_it_broke(hub, published, tmp_path, reset):
    size = size_of(published)
    hub.faults = [Fault(STORED, stop_at=size // 2, reset=reset)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=Patience(attempts=1))
    first, second = hub.asked(STORED)
    assert [first.range, second.range] == [None, f"bytes={size // 2}-"]
    assert first.served + second.served == size
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_hub_that_is_busy_half_way_does_not_cost_what_was_there(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=10), Fault(STORED, status=503)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert [request.range for request in hub.asked(STORED)] == [None, "bytes=10-", "bytes=10-"]
    assert sum(request.served for request in hub.asked(STORED)) == size_of(published)


def test_a_connection_may_break_more_often_than_attempts_while_bytes_come(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=1_200_000) for _ in range(4)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=Patience(attempts=1))
    assert sum(request.served for request in hub.asked(STORED)) == size_of(published)
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_file_that_comes_drop_by_drop_is_given_up_on(hub, tmp_path):
    hub.faults = [Fault(STORED, stop_at=10) for _ in range(4)]
    with pytest.raises(HubError, match="cannot be reached"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert [request.range for request in hub.asked(STORED)] == [None, "bytes=10-", "bytes=20-"]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("where", ["/api/*", "*/resolve/*model.safetensors", STORED])
def test_a_busy_hub_is_asked_again(hub, published, tmp_path, where, caplog):
    hub.faults = [Fault(where, status=429, headers={"Retry-After": "0"}), Fault(where, status=503)]
    with caplog.at_level("INFO", logger="circuitlapse"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert weights_hash(tmp_path / "a") == weights_hash(published)
    again = [record.message for record in caplog.records if "again in" in record.message]
    assert ["HTTP 429" in again[0], "HTTP 503" in again[1]] == [True, True]


def test_a_hub_that_stays_busy_is_given_up_on(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=503) for _ in range(4)]
    with pytest.raises(HubError, match=r"pythia-tiny at step1000: .* \(HTTP 503 Service Unav"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert len(hub.asked("/api/*")) == 3
    assert list(tmp_path.glob("*")) == []


def test_the_hub_says_how_long_to_wait(hub, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    told = {"Retry-After": "7"}
    hub.faults = [Fault("/api/*", status=429, headers=told), Fault("/api/*", status=503)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=Patience(3, 0.5, 0.5))
    assert waits[0] == 7.0
    assert 0.5 <= waits[1] <= 1.0


def test_a_hub_that_asks_to_wait_for_hours_is_not_waited_for(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=429, headers={"Retry-After": "7200"})]
    with pytest.raises(HubError, match=r"HTTP 429 .*, to be asked again after 7200\)"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert len(hub.asked("/api/*")) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("model.safetensors", "SHA-256"), ("config.json", "Git blob id")]
)
def test_a_file_with_another_hash_is_refused_and_nothing_is_left(
    hub, published, tmp_path, name, kind
):
    other = bytearray((published / name).read_bytes())
    other[-3] ^= 1
    where = "/storage/*" if name == "model.safetensors" else "*/resolve/*"
    hub.faults = [Fault(f"{where}{name}", other=bytes(other))]
    with pytest.raises(HubError, match=f"^{name} of .* at step1000, as 127.*: {kind} is ") as error:
        fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    if kind == "SHA-256":
        assert hashlib.sha256(other).hexdigest() in str(error.value)
    assert list(tmp_path.glob("*")) == []
    fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_an_answer_that_is_short_and_says_so_is_refused(hub, published, tmp_path):
    hub.faults = [Fault(STORED, other=b"short")]
    with pytest.raises(HubError, match="SHA-256 is "):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", patience=QUICK)
    assert len(hub.asked(STORED)) == 1


def test_a_full_disk_is_noticed_before_the_download(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(HubError, match=r"no room for config.json; it needs \d+ bytes, and 0 are"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")


def shard(folder, published, suffix):
    """Save the published model in two shards."""
    from transformers import GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM.from_pretrained(published)
    model.save_pretrained(folder, max_shard_size="4MB")
    assert len(list(folder.glob(f"*-of-*{suffix}"))) > 1
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(published / name, folder)
    return folder


def test_sharded_weights_are_fetched_and_load(hub, published, tmp_path):
    hub.add(REPO, "step2000", shard(tmp_path / "made", published, ".safetensors"))
    fetch_snapshot(REPO, "step2000", tmp_path / "a")
    assert "model.safetensors" not in names_in(tmp_path / "a")
    assert torch.equal(logits(tmp_path / "a"), logits(published))
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "made")


def test_a_shard_that_the_hub_lacks_is_named(hub, published, tmp_path):
    made = shard(tmp_path / "made", published, ".safetensors")
    last = max(made.glob("*-of-*"))
    last.unlink()
    hub.add(REPO, "step2000", made)
    with pytest.raises(HubError, match=f"at step2000: no {last.name}; 127.* does not list it"):
        fetch_snapshot(REPO, "step2000", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_an_index_cannot_point_out_of_its_folder(hub, published, tmp_path):
    files = {name: (published / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    index = json.dumps({"weight_map": {"a": "../../a.safetensors"}}).encode()
    hub.add(REPO, "step2000", files | {"model.safetensors.index.json": index})
    with pytest.raises(HubError, match=r"must name files beside the index .*, found '../../a.safe"):
        fetch_snapshot(REPO, "step2000", tmp_path / "a")


def test_what_the_hub_cache_has_is_linked_and_not_fetched(hub, published, tmp_path):
    snapshot_download(REPO, revision="step1000", allow_patterns=["*.json", "*.safetensors"])
    hub.requests.clear()
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert [request.path for request in hub.requests] == [f"/api/models/{REPO}/revision/step1000"]
    assert (tmp_path / "a" / "model.safetensors").is_symlink()
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_the_token_goes_to_the_hub_and_not_to_where_it_stores_files(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    hub.token, hub.gated = "hf_sesame", True
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert all(request.authorized for request in hub.asked("/api/*"))
    assert all(request.authorized for request in hub.asked("*/resolve/*"))
    assert [request.authorized for request in hub.asked(STORED)] == [False]


FETCH = """
    import sys
    from circuitlapse.hub import fetch_snapshot
    fetch_snapshot(*sys.argv[1:])
"""


def test_a_killed_download_leaves_no_folder_and_the_next_one_completes(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=2_000_000, hang=True)]
    folder = tmp_path / "made" / "step1000"
    command = [sys.executable, "-c", textwrap.dedent(FETCH), REPO, "step1000", str(folder)]
    where = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, env=os.environ | where)
    assert hub.hanging.wait(60)
    deadline = time.monotonic() + 10
    while not list(folder.parent.rglob("model.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(folder.parent.rglob("model.safetensors")) != []
    assert not folder.exists()
    fetch_snapshot(REPO, "step1000", folder)
    assert names_in(folder.parent) == ["step1000"]
    assert weights_hash(folder) == weights_hash(published)


def test_the_tokenizer_can_be_fetched_alone(hub, published, tmp_path, monkeypatch):
    fetch_tokenizer(REPO, "step1000", tmp_path / "suite" / "tokenizer.json")
    expected = (published / "tokenizer.json").read_bytes()
    assert (tmp_path / "suite" / "tokenizer.json").read_bytes() == expected
    assert [request.path for request in hub.asked("*/resolve/*")] == [
        f"/{REPO}/resolve/{hub.commit(REPO, 'step1000')}/tokenizer.json"
    ]
    hub.add(REPO, "step2000", {"config.json": b"{}"})
    with pytest.raises(HubError, match=r"pythia-tiny at step2000: no tokenizer\.json; "):
        fetch_tokenizer(REPO, "step2000", tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
    snapshot_download(REPO, revision="step1000", allow_patterns=["*.json"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch_tokenizer(REPO, "step1000", tmp_path / "c.json")
    assert not (tmp_path / "c.json").is_symlink()
    assert (tmp_path / "c.json").read_bytes() == expected


def test_the_cache_that_the_hub_client_fills_is_enough_offline(
    hub, published, tmp_path, monkeypatch
):
    snapshot_download(REPO, revision="step1000", allow_patterns=["*.json", "*.safetensors"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert hub.requests == []
    assert weights_hash(tmp_path / "a") == weights_hash(published)
    assert torch.equal(logits(tmp_path / "a"), logits(published))
    origin = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert origin["settings"]["commit"] == hub.commit(REPO, "step1000")
