"""The workflow on a hub with the reported layout: what it says, leaves out and fetches."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from circuitlapse.records import read_records
from tests.conftest import save_random_model
from tests.fake_hub import FakeHub
from tests.workflow.conftest import Workflow

REPO = "EleutherAI/pythia-70m"
SAFE, TORCH = "model.safetensors", "pytorch_model.bin"
LAYOUT = {
    0: {SAFE: b"final"},
    512: {SAFE: b"final", TORCH: b"512"},
    1000: {"model-1-of-2.safetensors": b"shared", "model-2-of-2.safetensors": b"own"},
    2000: {"config.json": b"{}"},
    3000: {"model-1-of-2.safetensors": b"shared", "model-2-of-2.safetensors": b"other"},
    143000: {SAFE: b"final"},
}
WEIGHTS = ("*.safetensors", "*.bin")
"""Tokenizers and texts are checked at the same time as the audit."""
AUDITED = "results/audit/checkpoints.json"
LINE = (
    "pythia-70m: the hub serves the weights of step 143000 at step 0; some weights of step 3000 at "
    "step 1000 (marked suspect); no weights at step 2000; weights of their own only in another "
    "format at step 512; of 6 steps, 2 left out; try EleutherAI/pythia-70m-deduped"
)


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    served = FakeHub()
    for step, files in LAYOUT.items():
        served.add(REPO, f"step{step}", files)
    served.add(REPO, "main", LAYOUT[143000])
    served.add(f"{REPO}-deduped", "main", {})
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield served
    served.close()


def configured(workflow: Workflow, **checkpoints: str) -> str:
    written = {"suite": "pythia", "steps": list(LAYOUT), "checkpoints": checkpoints}
    written |= {"models": [{"name": "pythia-70m", "hub": {"repo": REPO}}]}
    written |= {"tasks": [{"name": "ioi"}], "heads": {"dataset": "lab/text"}}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(written))
    return "study.yaml"


def test_nothing_is_downloaded_before_the_audit_and_the_next_start_leaves_steps_out(workflow, hub):
    config = configured(workflow)
    assert workflow.jobs(config=config)["fetch_step"] == len(LAYOUT)
    assert hub.requests == []
    first = "results/models/pythia-70m/step0"
    said = workflow.run(first, config=config, ok=False)
    assert LINE in said
    assert "No weights were downloaded. Run the same command again" in said
    assert [one for name in WEIGHTS for one in hub.asked(name)] == []
    planned = workflow.jobs(config=config)
    assert planned["fetch_step"] == planned["discover_circuit"] == len(LAYOUT) - 2
    said = workflow.run(AUDITED, config=config)
    assert said.count(LINE) == 1
    found = read_records(workflow.folder / AUDITED)
    assert {one["step"]: one["status"] for one in found} == {
        **{0: "duplicate", 512: "ok", 1000: "suspect"},
        **{2000: "no_weights", 3000: "ok", 143000: "ok"},
    }
    assert found[1]["tokens"] == 512 * 1024 * 2048
    assert "audit_hub" not in workflow.jobs(config=config)


def test_refuse_stops_at_once_and_keep_fetches_everything(workflow, hub):
    config = configured(workflow, duplicates="keep")
    said = workflow.run(AUDITED, config=config)
    assert "2 analysed and marked" in said
    assert workflow.jobs(config=config)["fetch_step"] == len(LAYOUT)
    said = workflow.run("--dry-run", config=configured(workflow, duplicates="refuse"), ok=False)
    assert "checkpoints.duplicates is refuse" in said
    assert "the weights of step 143000 at step 0" in said


def test_names_with_tokens_are_asked_of_the_hub_once_and_before_anything_is_downloaded(
    workflow, hub, shared_data, tmp_path
):
    """A step that no name fits is an error that names the nearest."""
    repo = "allenai/olmo"
    shape = {"vocab_size": 50304, "hidden_size": 16, "num_hidden_layers": 1}
    folder = save_random_model(tmp_path / "published", **shape)
    files = {name: (folder / name).read_bytes() for name in ("config.json", SAFE)}
    files["tokenizer.json"] = (shared_data / "pythia_tokenizer.json").read_bytes()
    for step, tokens in ((0, 0), (300, 1), (10000, 21)):
        hub.add(repo, f"step{step}-tokens{tokens}B", files)
    pattern = "step{step}-tokens{tokens}B"
    of_hub = {"repo": repo, "revision": pattern, "tokens_per_step": 2097152}
    written = {"suite": "olmo", "steps": [0, 300]}
    written |= {"checkpoints": {"keep": True, "duplicates": "keep"}}
    (workflow.folder / "text.txt").write_text("\n\n".join(["The cat sat on the mat."] * 4))
    heads = {"text": "text.txt", "n_documents": 1, "n_mean": 1, "n_positions": 4}
    written |= {"models": [{"name": "olmo", "hub": of_hub}], "heads": heads}
    written |= {"tasks": [{"name": "ioi"}]}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(written | {"steps": [0, 5000]}))
    made = "results/models/olmo/step"
    said = workflow.run(f"{made}0", config="study.yaml", ok=False)
    assert f"{repo}: '{pattern}' fits no revision on 127.0.0.1:{hub.port} at step 5000 (" in said
    assert "(nearest: 0, 300, 10000)" in said
    assert [one for name in WEIGHTS for one in hub.asked(name)] == []
    hub.requests.clear()
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(written))
    workflow.run(f"{made}0", f"{made}300", config="study.yaml")
    assert [request.path for request in hub.asked(f"*/{repo}/refs")] == [f"/api/models/{repo}/refs"]
    assert (workflow.folder / f"{made}300/{SAFE}").read_bytes() == files[SAFE]
    origin = json.loads((workflow.folder / f"{made}300/provenance.json").read_text())["settings"]
    assert origin["revision"] == "step300-tokens1B"
