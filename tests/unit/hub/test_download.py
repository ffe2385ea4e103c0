"""Downloads from a hub that misbehaves: they end, stay small, and never give a wrong file."""

import time

import pytest

from circuitlapse.errors import HubError
from circuitlapse.hub import RetryPolicy, fetch_snapshot
from circuitlapse.io.provenance import weights_hash
from tests.fake_hub import ALWAYS, FAULTS, NO_LENGTH, Fault
from tests.unit.hub.conftest import REPO

QUICK = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.02)
STORED = "/storage/*model.safetensors"
REFUSED = {
    "longer": "expected 6,4.* bytes, found an answer of 1,000,000,000",
    "wrong length": "expected 6,4.* bytes, found an answer of 7",
    "shorter": "expected 6,4.* bytes, found an answer of 5",
    "shorter without a length": "cannot be reached .*ended after 5 bytes",
    "html": "found an HTML page; does a proxy ask for a login",
    "bomb": "found a compressed answer",
    "endless error": "HTTP 503",
    "redirect loop": "more than 5 redirects",
    "the same again": "cannot be reached",
    "asks for years": "HTTP 429",
}


def fetch(folder, retry=QUICK):
    fetch_snapshot(REPO, "step1000", folder, retry=retry)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_wrong_answer_is_an_error_and_leaves_no_folder(hub, tmp_path, fault):
    made = FAULTS[fault](STORED)
    hub.faults = [made, *[FAULTS["busy"](STORED)] * 3] if fault == "endless error" else [made]
    with pytest.raises(HubError, match=REFUSED[fault]):
        fetch(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert len(hub.asked(STORED)) <= 7


@pytest.mark.parametrize("fault", ["endless", "endless redirect"])
def test_a_server_that_never_ends_is_left_at_the_announced_size(hub, published, tmp_path, fault):
    where = STORED if fault == "endless" else "*/resolve/*model.safetensors"
    hub.faults = [FAULTS[fault](where)]
    size = (published / "model.safetensors").stat().st_size
    if fault == "endless":
        fetch(tmp_path / "a")
        assert weights_hash(tmp_path / "a") == weights_hash(published)
    else:
        with pytest.raises(HubError):
            fetch(tmp_path / "a")
    assert hub.sent < 4 * size + 2**24  # and what the buffers of two sockets take


def test_bytes_that_were_received_before_are_no_progress(hub, tmp_path):
    """The server sends the first 2 MB, then 1 byte, then 2 MB again, and so on."""
    again, one = FAULTS["the same again"](STORED), Fault(STORED, stop_at=1, no_ranges=True)
    hub.faults = [fault for _ in range(20) for fault in (Fault(**{**vars(again), "times": 1}), one)]
    with pytest.raises(HubError, match="cannot be reached"):
        fetch(tmp_path / "a", RetryPolicy(attempts=2, first_wait_s=0.0, longest_wait_s=0.0))
    assert len(hub.asked(STORED)) == 3


def test_a_hub_without_ranges_sends_the_whole_file_again(hub, published, tmp_path):
    hub.faults = [Fault(STORED, stop_at=2_000_000), Fault(STORED, no_ranges=True)]
    fetch(tmp_path / "a")
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_another_range_than_asked_for_is_refused(hub, tmp_path):
    hub.faults = [Fault(STORED, stop_at=2_000_000), FAULTS["wrong range"](STORED)]
    with pytest.raises(HubError, match="expected the bytes from 2,000,000"):
        fetch(tmp_path / "a")


def test_a_server_that_is_too_slow_ends_in_an_error(hub, tmp_path):
    hub.faults = [FAULTS["slow"](STORED)]
    retry = RetryPolicy(2, 0.0, 0.0, slowest_kb_s=50.0, window_s=0.4)
    started = time.monotonic()
    with pytest.raises(HubError, match=r"expected at least 50 kB/s \(checkpoints.slowest_kb_s"):
        fetch(tmp_path / "a", retry)
    assert 0.8 <= time.monotonic() - started < 10


def test_a_file_that_is_not_done_at_its_deadline_ends_in_an_error(hub, tmp_path):
    hub.faults = [FAULTS["slow"](STORED)]
    with pytest.raises(HubError, match=r"not complete after .* \(checkpoints.longest_hours\)"):
        fetch(tmp_path / "a", RetryPolicy(longest_hours=0.5 / 3600))


def test_the_limits_come_from_the_configuration():
    retry = RetryPolicy.configured({"checkpoints": {"slowest_kb_s": 7, "longest_hours": 3}})
    assert (retry.slowest_kb_s, retry.longest_hours) == (7.0, 3.0)
    assert RetryPolicy.configured({}) == RetryPolicy()


@pytest.mark.parametrize(("gb", "mb_s"), [(10, 20), (10, 1)])
def test_large_files_have_enough_time(gb, mb_s):
    retry = RetryPolicy()
    assert 1000 * mb_s > retry.slowest_kb_s
    assert gb * 1000 / mb_s < retry.longest_hours * 3600


def test_the_token_does_not_follow_a_redirect_to_another_host(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    other = f"http://localhost:{hub.port}/elsewhere"
    hub.faults = [Fault("/api/*", status=302, headers={"Location": other})]
    with pytest.raises(HubError):
        fetch(tmp_path / "a")
    assert [one.authorized for one in hub.asked("/elsewhere")] == [False]
    assert hub.asked("/api/*")[0].authorized


def test_faults_of_every_name_are_known_to_the_hub():
    made = [fault("/a") for fault in FAULTS.values()]
    assert all(one.path == "/a" for one in made)
    assert max(one.times for one in made) == ALWAYS
    assert NO_LENGTH["Content-Length"] == ""
