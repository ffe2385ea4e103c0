import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import datasets
import pytest
import torch
from huggingface_hub import constants, snapshot_download

from circuitlapse import load_model
from circuitlapse.errors import HubError
from circuitlapse.hub import fetch_snapshot, fetch_tokenizer
from circuitlapse.hub.fetch import dataset_texts
from circuitlapse.io.corpus_files import read_documents, write_documents
from circuitlapse.io.provenance import weights_hash
from circuitlapse.pocket.corpus import make_tokenizer
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO

STORED = "/storage/*model.safetensors"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def logits(folder):
    with torch.no_grad():
        return load_model(folder)(torch.arange(12)[None], return_type="logits")


def test_only_the_files_that_a_model_needs_are_fetched(hub, published, tmp_path):
    folder = tmp_path / "step1000"
    fetch_snapshot(REPO, "step1000", folder)
    wanted = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert names_in(folder) == sorted([*wanted, "provenance.json"])
    assert all((folder / name).read_bytes() == (published / name).read_bytes() for name in wanted)
    assert weights_hash(folder) == weights_hash(published)
    assert len(load_model(folder).tokenizer) == 50277
    size = (published / "model.safetensors").stat().st_size
    assert sum(request.served for request in hub.asked("*model.safetensors")) == size
    assert hub.asked("*README.md") == []


def test_the_folder_names_its_commit(hub, tmp_path):
    fetch_snapshot(REPO, "step1000", tmp_path / "a")
    origin = json.loads((tmp_path / "a" / "provenance.json").read_text())
    commit = hub.commit(REPO, "step1000")
    assert origin["settings"] == {"repo": REPO, "revision": "step1000", "commit": commit}


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


FETCH = """
    import sys
    from circuitlapse.hub import fetch_snapshot
    fetch_snapshot(*sys.argv[1:])
"""


def parts_of(folder):
    return list((folder.parent / f".{folder.name}.parts").glob("*"))


def test_a_killed_download_leaves_no_folder_and_the_next_one_goes_on_at_the_byte(
    hub, published, tmp_path
):
    hub.faults = [Fault(STORED, stop_at=2_000_000, hang=True)]
    folder = tmp_path / "made" / "step1000"
    command = [sys.executable, "-c", textwrap.dedent(FETCH), REPO, "step1000", str(folder)]
    where = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, env=os.environ | where)
    assert hub.hanging.wait(60)
    deadline = time.monotonic() + 10
    while sum(map(size_of, parts_of(folder))) < 1_900_000 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = parts_of(folder)
    left = size_of(part)
    assert left >= 1_900_000
    assert not folder.exists()
    hub.requests.clear()
    fetch_snapshot(REPO, "step1000", folder)
    assert [request.range for request in hub.asked(STORED)] == [f"bytes={left}-"]
    assert names_in(folder.parent) == ["step1000"]
    assert weights_hash(folder) == weights_hash(published)


def size_of(path):
    return path.stat().st_size


def broken_off(hub, folder):
    """Let a download end after 2 MB; return the part that it leaves."""
    hub.faults = [Fault(STORED, stop_at=2_000_000), Fault(STORED, status=404)]
    with pytest.raises(HubError):
        fetch_snapshot(REPO, "step1000", folder)
    (part,) = parts_of(folder)
    hub.requests.clear()
    return part


def replace_by_folder(part):
    part.unlink()
    part.mkdir()


def replace_by_link(part):
    part.unlink()
    part.symlink_to("nowhere")


DAMAGE = {
    "a flipped bit": lambda part: part.write_bytes(b"?" + part.read_bytes()[1:]),
    "zeros": lambda part: part.write_bytes(bytes(2_000_000)),
    "too long": lambda part: part.write_bytes(bytes(10_000_000)),
    "a folder": replace_by_folder,
    "a link to nothing": replace_by_link,
    "parts is a file": lambda part: (
        (part.rename(part.parents[1] / "a"), part.parent.rmdir()) and part.parent.write_text("a")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_not_used(hub, published, tmp_path, damage):
    folder = tmp_path / "made" / "step1000"
    DAMAGE[damage](broken_off(hub, folder))
    fetch_snapshot(REPO, "step1000", folder)
    assert weights_hash(folder) == weights_hash(published)
    assert folder.parent / ".step1000.parts" not in folder.parent.iterdir()


def test_a_part_of_other_weights_is_not_used(hub, published, tmp_path):
    folder = tmp_path / "step1000"
    broken_off(hub, folder)
    other = {path.name: path.read_bytes() for path in published.iterdir()}
    weights = bytearray(other["model.safetensors"])
    weights[-1] ^= 1
    hub.add(REPO, "step1000", other | {"model.safetensors": bytes(weights)})
    fetch_snapshot(REPO, "step1000", folder)
    assert [request.range for request in hub.asked(STORED)] == [None]
    assert (folder / "model.safetensors").read_bytes() == bytes(weights)
    assert names_in(tmp_path) == ["step1000"]


def test_whole_shards_of_a_failed_download_are_kept(hub, published, tmp_path):
    hub.add(REPO, "step2000", shard(tmp_path / "made", published, ".safetensors"))
    *first, last = sorted(path.name for path in (tmp_path / "made").glob("*-of-*"))
    hub.faults = [Fault(f"/storage/*{last}", status=404)]
    with pytest.raises(HubError):
        fetch_snapshot(REPO, "step2000", tmp_path / "a")
    assert len(parts_of(tmp_path / "a")) >= len(first)
    hub.requests.clear()
    fetch_snapshot(REPO, "step2000", tmp_path / "a")
    asked = [request.path.rpartition("/")[2] for request in hub.asked("/storage/*")]
    assert asked == [last]
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "made")
    assert parts_of(tmp_path / "a") == []


def test_two_processes_do_not_fill_the_same_part(hub, tmp_path):
    part = broken_off(hub, tmp_path / "a")
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(HubError, match="another process downloads it"):
            fetch_snapshot(REPO, "step1000", tmp_path / "a")
    fetch_snapshot(REPO, "step1000", tmp_path / "a")


@pytest.mark.parametrize("offline", [False, True])
def test_a_revision_without_a_tokenizer_gets_that_of_main(
    hub, published, tmp_path, monkeypatch, offline
):
    """Its weights and configuration stay its own."""
    names = ("config.json", "model.safetensors")
    hub.add(REPO, "checkpoint-10", {name: (published / name).read_bytes() for name in names})
    hub.add(REPO, "main", {"tokenizer.json": b"{}", "model.safetensors": b"not this one"})
    if offline:
        for revision in ("checkpoint-10", "main"):
            hub.repos[REPO][revision].setdefault("config.json", b"{}")
            snapshot_download(REPO, revision=revision)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch_snapshot(REPO, "checkpoint-10", tmp_path / "a")
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == b"{}"
    assert weights_hash(tmp_path / "a") == weights_hash(published)
    origin = json.loads((tmp_path / "a" / "provenance.json").read_text())["settings"]
    assert (origin["revision"], origin["tokenizer_revision"]) == ("checkpoint-10", "main")
    fetch_tokenizer(REPO, "checkpoint-10", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == b"{}"


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


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    texts = ["short", "a b c\n\n \nd e f", "g h i j k l", "m n o p q r"]
    lines = [json.dumps({"text": text, "other": 1}) for text in texts]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder


def test_the_first_documents_that_are_long_enough_are_read_back_as_they_were(dataset, tmp_path):
    texts = dataset_texts(str(dataset), n_documents=2, min_letters=8)
    assert texts == ["a b c\nd e f", "g h i j k l"]
    write_documents(tmp_path / "text.txt", texts)
    tokenizer = make_tokenizer([*texts, "\n"])
    documents = read_documents(tmp_path / "text.txt", tokenizer)
    assert [tokenizer.decode(ids.tolist()) for ids in documents] == texts


def test_a_dataset_that_is_not_there_or_not_of_use_is_named(dataset, tmp_path):
    with pytest.raises(HubError, match="found no document with 99 characters"):
        dataset_texts(str(dataset), n_documents=2, min_letters=99)
    with pytest.raises(HubError, match=r"nowhere: cannot be read \(.*heads\.text"):
        dataset_texts(str(tmp_path / "nowhere"), n_documents=2, min_letters=1)
    (dataset / "train.jsonl").write_text(json.dumps({"words": "a b"}))
    with pytest.raises(HubError, match="expected a column text, found no 'text'"):
        dataset_texts(str(dataset), n_documents=2, min_letters=1)


def test_without_a_network_the_way_out_is_named():
    """Whatever the cache holds: the library asks the hub when it streams."""
    code = "from circuitlapse.hub.fetch import dataset_texts as texts\n"
    code += "texts('lab/documents', n_documents=1, min_letters=1)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "HubError: dataset lab/documents: cannot be read (" in done.stderr
    assert "set heads.text to a text file" in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        "401 for https://lab:sesame@127.0.0.1/api/datasets/lab/documents",
        "no file https://127.0.0.1/storage/a.parquet?X-Signature=sesame&Expires=9",
        "not a token: hf_sesame",
        "cannot be read\nAuthorization: Bearer hf_sesame",
    ],
)
def test_nothing_secret_is_ever_said_of_a_dataset(monkeypatch, said):
    def refuse(*_, **__):
        raise OSError(said) from ValueError(said)

    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError) as error:
        dataset_texts("lab/documents", n_documents=1, min_letters=1)
    assert error.value.__suppress_context__
    assert "sesame" not in str(error.value)
    assert "OSError: " in str(error.value)
