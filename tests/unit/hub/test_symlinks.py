import shutil

import pytest
from huggingface_hub import constants, snapshot_download

from circuitlapse import load_model
from circuitlapse.errors import HubError
from circuitlapse.hub import fetch_snapshot, link_snapshot
from circuitlapse.io.provenance import weights_hash
from tests.unit.hub.conftest import REPO


def test_a_local_folder_is_linked_and_not_changed(published, tmp_path):
    source = shutil.copytree(published, tmp_path / "lab" / "step1000")
    for path in source.iterdir():
        path.chmod(0o640)
    link_snapshot(source, tmp_path / "a")
    links = [path for path in (tmp_path / "a").iterdir() if path.name != "provenance.json"]
    assert all(path.is_symlink() and path.readlink().is_absolute() for path in links)
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in source.iterdir())
    assert weights_hash(tmp_path / "a") == weights_hash(published)
    load_model(tmp_path / "a")


def test_links_to_a_relative_folder_work_from_anywhere(published, tmp_path, monkeypatch):
    monkeypatch.chdir(published.parent)
    link_snapshot("step1000", tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert weights_hash(tmp_path / "a") == weights_hash(published)


def test_a_missing_folder_is_named_with_its_siblings(tmp_path):
    for step in (0, 512, 1000):
        (tmp_path / "lab" / f"step{step}").mkdir(parents=True)
    with pytest.raises(HubError, match=r"lab/step900: no such folder; nearest: step1000, step"):
        link_snapshot(tmp_path / "lab" / "step900", tmp_path / "a")


def test_a_folder_that_lacks_weights_is_refused(published, tmp_path):
    source = shutil.copytree(published, tmp_path / "lab")
    (source / "model.safetensors").unlink()
    with pytest.raises(HubError, match=r"lab: no model.safetensors and no .*; expected a folder"):
        link_snapshot(source, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_an_empty_cache_is_refused_with_the_command_that_fills_it(no_hub, tmp_path):
    with pytest.raises(HubError) as error:
        fetch_snapshot(REPO, "step1000", tmp_path / "a")
    message = str(error.value)
    assert message.startswith(f"{REPO} at step1000 in the hub cache {no_hub}: not found, and HF_H")
    assert f"hf download {REPO} --revision step1000 --include '*.json' --inc" in message


def test_a_cache_with_another_step_only_is_refused(hub, published, tmp_path, monkeypatch):
    hub.add(REPO, "step2000", published)
    snapshot_download(REPO, revision="step2000")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"at step1000 in the hub cache .*: not found"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")


def test_a_cache_that_was_filled_in_part_is_refused(hub, tmp_path, monkeypatch):
    snapshot_download(REPO, revision="step1000", allow_patterns="*.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"no model.safetensors and no .*; fill the cache on a"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")


@pytest.mark.parametrize("offline", [False, True])
def test_a_broken_file_in_the_cache_is_refused(hub, tmp_path, monkeypatch, offline):
    cached = snapshot_download(REPO, revision="step1000")
    with open(f"{cached}/model.safetensors", "r+b") as stream:  # noqa: PTH123
        stream.seek(5_000_000)
        stream.write(b"broken")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(HubError, match=r"model.safetensors: expected SHA-256 .*; delete it and"):
        fetch_snapshot(REPO, "step1000", tmp_path / "a")
    assert not (tmp_path / "a").exists()
