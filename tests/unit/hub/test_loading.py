import errno
import fcntl
import os

import pytest
import torch
from huggingface_hub import constants, try_to_load_from_cache

import circuitlapse as cl
from circuitlapse.errors import HubError, ModelError
from circuitlapse.hub.loading import model_folder
from circuitlapse.hub.retry import RetryPolicy
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO
from tests.unit.hub.test_layout import as_torch

IDS = torch.arange(12)[None]


def weights_served(hub):
    return sum(request.served for request in hub.asked("/storage/*"))


def same(model, other):
    return all(map(torch.equal, model.weights(), other.weights()))


def offline(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()


def test_a_model_is_loaded_by_name_through_the_cache_of_the_hub(hub, published, monkeypatch):
    """Only what a model needs, once; after that also offline."""
    model = cl.load_model(REPO, revision="step1000")
    expected = cl.load_model(published)(IDS, return_type="logits")
    assert torch.equal(model(IDS, return_type="logits"), expected)
    assert isinstance(try_to_load_from_cache(REPO, "model.safetensors", revision="step1000"), str)
    assert weights_served(hub) == (published / "model.safetensors").stat().st_size
    assert hub.asked("*README.md") == []
    hub.requests.clear()
    assert same(cl.load_decoder(REPO, revision="step1000"), cl.load_decoder(published))
    assert weights_served(hub) == 0
    offline(hub, monkeypatch)
    cl.load_decoder(REPO, revision="step1000")
    assert hub.requests == []


def test_without_a_revision_it_is_the_main_branch(hub, published):
    with pytest.raises(HubError, match=rf"^{REPO}: no revision 'main' on .*; nearest: step1000"):
        cl.load_decoder(REPO)
    hub.add(REPO, "main", published)
    cl.load_decoder(REPO)


def test_a_model_that_the_cache_lacks_is_refused_offline(hub, monkeypatch):
    offline(hub, monkeypatch)
    with pytest.raises(HubError, match=rf"hf download {REPO} --revision step1000 --include '\*\.j"):
        cl.load_decoder(REPO, revision="step1000")
    assert hub.requests == []


def test_what_was_deleted_from_the_cache_is_fetched_again(hub):
    link = model_folder(REPO, "step1000") / "model.safetensors"
    link.resolve().unlink()
    cl.load_decoder(REPO, revision="step1000")


@pytest.mark.parametrize("shards", [1, 3])
def test_pickled_weights_are_fetched_only_where_there_are_no_others(
    hub, published, tmp_path, shards
):
    """They are converted without running code in them."""
    pickled = as_torch(tmp_path / "made", published, shards=shards)
    hub.add(REPO, "step1", pickled)
    both = {
        path.name: path.read_bytes() for source in (pickled, published) for path in source.iterdir()
    }
    hub.add(REPO, "step2", both)
    for revision in ("step1", "step2"):
        assert same(cl.load_decoder(REPO, revision=revision), cl.load_decoder(published))
        assert not list(model_folder(REPO, revision).glob("*.bin"))
    assert len(hub.asked(f"/storage/{REPO}/{hub.commit(REPO, 'step1')}/*.bin")) == shards
    assert hub.asked(f"/storage/{REPO}/{hub.commit(REPO, 'step2')}/*.bin") == []


def test_a_file_that_is_not_what_the_hub_lists_is_refused(hub, published):
    size = (published / "model.safetensors").stat().st_size
    hub.faults = [Fault("/storage/*", other=b"x" * size)]
    with pytest.raises(HubError, match=r"model.safetensors.*: expected SHA-256 "):
        cl.load_decoder(REPO, revision="step1000")


def test_a_hub_that_fails_once_is_asked_again(hub):
    hub.faults = [Fault("/api/models/*/tree/*", status=503), Fault("/storage/*", stop_at=1000)]
    quick = RetryPolicy(attempts=4, first_wait_s=0.01)
    assert (model_folder(REPO, "step1000", retry=quick) / "model.safetensors").exists()


def test_a_cache_on_a_file_system_without_locks_is_named(hub, monkeypatch):
    """Its library locks files, and on NFS that can be impossible."""

    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(HubError) as error:
        cl.load_decoder(REPO, revision="step1000")
    assert str(error.value) == (
        f"{REPO} at step1000: OSError: [Errno 37] No locks available; set HF_HOME to a folder on a "
        "local disk, because files in the hub cache are locked"
    )


def test_what_is_neither_a_folder_nor_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong in ("pythia-70m", "results/models/step1", str(tmp_path / "no")):
        with pytest.raises(ModelError) as error:
            cl.load_model(wrong)
        assert str(error.value) == (
            f"{wrong}: expected a folder laid out like a hub snapshot (a relative path starts in "
            f"{tmp_path}), or OWNER/NAME, a model on a hub; found neither"
        )


def test_a_folder_has_no_revisions(published):
    with pytest.raises(ModelError, match=r"a folder has no revision 'step1000'; leave it out, or"):
        cl.load_decoder(published, revision="step1000")


def test_an_unknown_model_is_named_and_may_have_been_a_folder(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        HubError, match=r"has no public model models/step0; check the name.* access"
    ):
        cl.load_decoder("models/step0", revision="step0")
    with pytest.raises(HubError, match=rf"; a folder models/step0 is not in {tmp_path} either$"):
        cl.load_decoder("models/step0")
