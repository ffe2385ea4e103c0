from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from circuitlapse.errors import HubError, ModelError
from circuitlapse.hub import RetryPolicy, fetch_snapshot
from circuitlapse.hub.loading import model_folder
from circuitlapse.hub.retry import is_transient, retry_after_s
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO

ONCE = RetryPolicy(attempts=1)


def failed(status, **headers):
    request = httpx2.Request("GET", "http://127.0.0.1/")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=named, request=request)
    return HfHubHTTPError("no", response=response)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (failed(503, Retry_After="7"), 7.0),
        (failed(429, RateLimit='"api";r=0;t=55'), 55.0),
        (failed(429, RateLimit='"api";r=3;t=55'), None),
        (failed(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
        (failed(503, Retry_After="soon"), None),
        (failed(503, Retry_After="-5"), None),
        (failed(503, Retry_After="1.5"), None),
        (failed(503, Retry_After="nan"), None),
        (failed(503, Retry_After="inf"), None),
        (failed(503, Retry_After="1e3"), None),
        (failed(503, Retry_After="\u00b2".encode()), None),
        (failed(503, Retry_After="9" * 5000), float("inf")),
        (failed(429, RateLimit=f'"api";r=0;t={"9" * 5000}'), None),
        (failed(503, Retry_After="Wed, 99 Oct 2015 07:28:00 GMT"), None),
        (failed(503, Retry_After="Wed, 21 Oct 2015 07:28:00 -9999"), None),
        (failed(503, Retry_After="21 Oct 2015"), None),
        (failed(503), None),
        (httpx2.ReadError("lost"), None),
    ],
)
def test_the_hub_can_ask_for_a_wait_in_three_ways(error, seconds):
    assert retry_after_s(error) == seconds


def test_a_date_in_the_future_is_a_wait():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after_s(failed(503, Retry_After=date)) <= 90


@pytest.mark.parametrize("error", [httpx2.ReadError(""), httpx2.ConnectTimeout(""), failed(502)])
def test_transient_errors_are_retried(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error", [failed(404), failed(429, Retry_After="901"), httpx2.ProxyError(""), OSError()]
)
def test_lasting_errors_are_not_retried(error):
    assert not is_transient(error)


def test_waits_double_up_to_the_longest(monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def fail():
        raise httpx2.ReadError("lost")

    with pytest.raises(httpx2.ReadError):
        RetryPolicy(attempts=6, first_wait_s=1.0, longest_wait_s=5.0).retrying("a")(fail)
    least = [1.0, 2.0, 4.0, 5.0, 5.0]
    assert all(low <= wait <= low + 1 for low, wait in zip(least, waits, strict=True))


def message_of(repo, revision, folder):
    with pytest.raises(HubError) as error:
        fetch_snapshot(repo, revision, folder, retry=ONCE)
    assert list(folder.parent.glob("*")) == []
    return str(error.value)


def test_a_revision_that_does_not_exist_is_named_with_the_nearest(hub, tmp_path):
    for step in ("step0", "step512", "step2000", "step143000", "main"):
        hub.add(REPO, step, {})
    message = message_of(REPO, "step1001", tmp_path / "a")
    near = "nearest: step1000, step512, step2000"
    assert message == f"{REPO}: no revision 'step1001' on 127.0.0.1:{hub.port}; {near}"


def test_a_model_that_does_not_exist_is_named(hub, tmp_path):
    message = message_of("EleutherAI/pythia-70n", "step1000", tmp_path / "a")
    assert "has no public model EleutherAI/pythia-70n; check the name" in message


def test_an_invalid_name_of_a_model_is_refused(hub, tmp_path):
    message = message_of("a/b/c", "step1000", tmp_path / "a")
    assert message == "invalid name of a hub model: expected OWNER/NAME, found 'a/b/c'"


@pytest.mark.parametrize("repo", ["https://lab:sesame@hub/lab/model", "https://sesame@hub/a"])
def test_an_address_with_a_secret_is_refused_without_repeating_it(hub, tmp_path, repo):
    message = message_of(repo, "step1000", tmp_path / "a")
    assert message.startswith(
        "invalid name of a hub model: expected OWNER/NAME, found 'https://hub"
    )
    assert hub.requests == []
    with pytest.raises(ModelError, match="expected a folder laid out") as error:
        model_folder(repo)
    assert "sesame" not in message + str(error.value)


def test_a_gated_model_says_what_to_do(hub, tmp_path):
    hub.gated = True
    message = message_of(REPO, "step1000", tmp_path / "a")
    assert message.startswith(f"{REPO} at step1000: gated on 127.0.0.1:")
    assert message.endswith("(HF_TOKEN, or `hf auth login`)")


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_says_what_to_do(hub, tmp_path, status):
    hub.faults = [Fault("/api/*", status=status)]
    message = message_of(REPO, "step1000", tmp_path / "a")
    assert f"denies access (HTTP {status} " in message
    assert "HF_TOKEN" in message


def test_an_answer_that_is_not_json_is_refused(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=200)]
    message = message_of(REPO, "step1000", tmp_path / "a")
    assert "is not that of a hub (JSONDecodeError); check HF_ENDPOINT" in message


def test_a_hub_that_cannot_be_reached_is_named(hub, tmp_path):
    hub.close()
    message = message_of(REPO, "step1000", tmp_path / "a")
    assert "cannot be reached (ConnectError" in message
    assert "HF_HUB_OFFLINE=1" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(hub, published, tmp_path, name):
    names = {"config.json", "tokenizer.json", "model.safetensors"} - {name}
    hub.add(REPO, "step1", {other: (published / other).read_bytes() for other in names})
    assert f"{REPO} at step1: no {name}" in message_of(REPO, "step1", tmp_path / "a")


@pytest.mark.parametrize("end", ["api", "no revision", "gated", "storage", "down"])
def test_no_secret_appears_in_messages_and_logs(hub, tmp_path, monkeypatch, caplog, capfd, end):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    address = hub.address.replace("//", "//lab:sesame@")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    url = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + url)
    hub.gated = end == "gated"
    if end == "down":
        hub.close()
    where = {"api": "/api/*", "storage": "/storage/*"}.get(end, "nothing")
    hub.faults = [Fault(where, status=503, headers={"X-Error-Message": "sesame"})] * 2
    revision = "step1" if end == "no revision" else "step1000"
    with caplog.at_level("DEBUG", logger="circuitlapse"), pytest.raises(HubError) as error:
        fetch_snapshot(REPO, revision, tmp_path / "a", retry=RetryPolicy(2, 0.0, 0.0))
    assert "127.0.0.1" in str(error.value)
    assert error.value.__suppress_context__
    said = [str(error.value), caplog.text, *capfd.readouterr()]
    assert not any("sesame" in text or "signature" in text for text in said)


def test_numbers_that_the_command_line_leaves_as_text_are_limits_too():
    policy = RetryPolicy.configured({"checkpoints": {"slowest_kb_s": "10", "keep": "yes"}})
    assert policy.slowest_kb_s == 10
    assert policy.longest_hours == RetryPolicy.configured({}).longest_hours
