import pytest
from huggingface_hub import constants

from circuitlapse.errors import HubError
from circuitlapse.hub import Patience, fetch_snapshot
from circuitlapse.hub.retry import nearest_of
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO

ONCE = Patience(attempts=1)


def refused(repo, revision, folder):
    with pytest.raises(HubError) as error:
        fetch_snapshot(repo, revision, folder, patience=ONCE)
    assert list(folder.parent.glob("*")) == []
    return str(error.value)


def test_a_revision_that_does_not_exist_is_named_with_the_nearest(hub, tmp_path):
    for step in ("step0", "step512", "step2000", "step143000", "main"):
        hub.add(REPO, step, {})
    message = refused(REPO, "step1001", tmp_path / "a")
    near = "nearest are step1000, step512, step2000"
    assert message == f"{REPO}: no revision 'step1001' on 127.0.0.1:{hub.port}; {near}"


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("step3", ["main", "step1", "step2", "step16", "step4"], "step2, step4, step1"),
        ("mian", ["main", "step1"], "main, step1"),
        ("step3", ["main"], "main"),
    ],
)
def test_nearest_are_those_of_near_steps_or_else_of_like_names(wanted, known, expected):
    assert nearest_of(wanted, known) == f"nearest are {expected}"


def test_a_model_that_does_not_exist_is_named(hub, tmp_path):
    message = refused("EleutherAI/pythia-70n", "step1000", tmp_path / "a")
    assert "has no model EleutherAI/pythia-70n, or it is private; check the name" in message


def test_what_cannot_be_a_model_is_refused(hub, tmp_path):
    message = refused("a/b/c", "step1000", tmp_path / "a")
    assert message == "'a/b/c' is no name of a hub model; expected OWNER/NAME"


def test_a_gated_model_says_what_to_do(hub, tmp_path):
    hub.gated = True
    message = refused(REPO, "step1000", tmp_path / "a")
    assert message.startswith(f"{REPO} at step1000: gated on 127.0.0.1:")
    assert message.endswith("(HF_TOKEN, or `hf auth login`)")


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access_says_what_to_do(hub, tmp_path, status):
    hub.faults = [Fault("/api/*", status=status)]
    message = refused(REPO, "step1000", tmp_path / "a")
    assert f"refuses access (HTTP {status} " in message
    assert "HF_TOKEN" in message


def test_a_page_that_is_not_the_hub_s_is_refused(hub, tmp_path):
    hub.faults = [Fault("/api/*", status=200)]
    message = refused(REPO, "step1000", tmp_path / "a")
    assert "does not answer like a hub (JSONDecodeError); check HF_ENDPOINT" in message


def test_a_hub_that_is_not_there_is_named(hub, tmp_path):
    hub.close()
    message = refused(REPO, "step1000", tmp_path / "a")
    assert "cannot be reached (ConnectError" in message
    assert "HF_HUB_OFFLINE=1" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_every_model_needs_is_named(hub, published, tmp_path, name):
    names = {"config.json", "tokenizer.json", "model.safetensors"} - {name}
    hub.add(REPO, "step1", {other: (published / other).read_bytes() for other in names})
    assert f"{REPO} at step1: no {name}" in refused(REPO, "step1", tmp_path / "a")


@pytest.mark.parametrize("end", ["api", "no revision", "gated", "storage", "down"])
def test_nothing_secret_is_ever_said(hub, tmp_path, monkeypatch, caplog, capfd, end):
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
        fetch_snapshot(REPO, revision, tmp_path / "a", patience=Patience(2, 0.0, 0.0))
    assert "127.0.0.1" in str(error.value)
    assert error.value.__suppress_context__
    said = [str(error.value), caplog.text, *capfd.readouterr()]
    assert not any("sesame" in text or "signature" in text for text in said)
