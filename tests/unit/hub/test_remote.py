import hashlib
import shutil

import pytest
from huggingface_hub import snapshot_download

from circuitlapse.errors import HubError
from circuitlapse.hub import RetryPolicy, fetch_snapshot
from circuitlapse.io.provenance import weights_hash
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO

QUICK = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.02)
STORED = "/storage/*model.safetensors"


def size_of(published):
    return (published / "model.safetensors").stat().st_size


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_download_is_resumed_where_the_connection_broke(hub, published, tmp_path, reset):
    size = size_of(published)
    hub.faults = [Fault(STORED, stop_at=size // 2, reset=reset)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=RetryPolicy(attempts=1))
    first, second = hub.asked(STORED)
    assert [first.range, second.range] == [None, f"bytes={size // 2}-"]
    assert first.served + second.served == size
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_busy_hub_in_the_middle_of_a_file_keeps_what_was_received(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=10), Fault(STORED, status=503)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert [request.range for request in hub.asked(STORED)] == [None, "bytes=10-", "bytes=10-"]
    assert sum(request.served for request in hub.asked(STORED)) == size_of(published)


def test_attempts_that_receive_data_do_not_count(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=1_200_000) for _ in range(4)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=RetryPolicy(attempts=1))
    assert sum(request.served for request in hub.asked(STORED)) == size_of(published)
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_download_that_hardly_advances_fails(hub, tmp_path):
    hub.faults = [Fault(STORED, stop_at=10) for _ in range(4)]
    with pytest.raises(HubError, match="cannot be reached"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert [request.range for request in hub.asked(STORED)] == [None, "bytes=10-", "bytes=20-"]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("where", ["/api/*", "*/resolve/*model.safetensors", STORED])
def test_requests_to_a_busy_hub_are_retried(hub, published, tmp_path, where, caplog):
    hub.faults = [Fault(where, status=429, headers={"Retry-After": "0"}), Fault(where, status=503)]
    with caplog.at_level("INFO", logger="circuitlapse"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert weights_hash(tmp_path / "a") == weights_hash(published)
    again = [record.message for record in caplog.records if "retrying in" in record.message]
    assert ["HTTP 429" in again[0], "HTTP 503" in again[1]] == [True, True]


def test_a_hub_that_stays_busy_is_an_error(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=503) for _ in range(4)]
    with pytest.raises(HubError, match=r"pythia-tiny at step1000: .* \(HTTP 503 Service Unav"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert len(hub.asked("/api/*")) == 3
    assert list(tmp_path.glob("*")) == []


def test_the_wait_that_the_hub_asks_for_is_used(hub, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    told = {"Retry-After": "7"}
    hub.faults = [Fault("/api/*", status=429, headers=told), Fault("/api/*", status=503)]
    fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=RetryPolicy(3, 0.5, 0.5))
    assert waits[0] == 7.0
    assert 0.5 <= waits[1] <= 1.0


def test_a_hub_that_asks_to_wait_for_hours_is_an_error(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=429, headers={"Retry-After": "7200"})]
    with pytest.raises(HubError, match=r"HTTP 429 .*, Retry-After: 7200\)"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert len(hub.asked("/api/*")) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("model.safetensors", "SHA-256"), ("config.json", "Git blob id")]
)
def test_a_file_with_another_hash_is_deleted(hub, published, tmp_path, name, kind):
    other = bytearray((published / name).read_bytes())
    other[-3] ^= 1
    where = "/storage/*" if name == "model.safetensors" else "*/resolve/*"
    hub.faults = [Fault(f"{where}{name}", other=bytes(other))]
    with pytest.raises(
        HubError, match=f"^{name} of .* at step1000, downloaded from 127.*: expected {kind} "
    ) as error:
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    if kind == "SHA-256":
        assert hashlib.sha256(other).hexdigest() in str(error.value)
    assert list(tmp_path.glob("*")) == []
    fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_shorter_file_is_refused(hub, published, tmp_path):
    hub.faults = [Fault(STORED, other=b"short")]
    with pytest.raises(HubError, match=r"expected 6,.* bytes, found an answer of 5"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert len(hub.asked(STORED)) == 1


def test_a_full_disk_is_noticed_before_the_download(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(HubError, match=r"config.json needs \d+ bytes of disk space, found 0$"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")


def test_files_in_the_hub_cache_are_linked_and_not_downloaded(hub, published, tmp_path):
    snapshot_download(REPO, revision="step1000", allow_patterns=["*.json", "*.safetensors"])
    hub.requests.clear()
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert [request.path for request in hub.requests] == [f"/api/models/{REPO}/revision/step1000"]
    assert (tmp_path / "a" / "model.safetensors").is_symlink()
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_the_token_is_sent_to_the_hub_and_not_to_its_storage(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    hub.token, hub.gated = "hf_sesame", True
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert all(request.authorized for request in hub.asked("/api/*"))
    assert all(request.authorized for request in hub.asked("*/resolve/*"))
    assert [request.authorized for request in hub.asked(STORED)] == [False]


@pytest.mark.parametrize("key", ["sha", "siblings", "size", "blobId"])
def test_a_listing_without_commit_files_size_or_hash_is_refused(hub, tmp_path, key):
    hub.omitted = {key}
    with pytest.raises(HubError, match=r"at step1000: the answer of 127.* is not that of a hub"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert len(hub.requests) == 1
