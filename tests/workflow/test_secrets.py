"""A run that says all it can, on a hub with a password, a token and signed addresses."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tests.conftest import save_random_model
from tests.fake_hub import FAULTS, FakeHub, Fault

REPO = "lab/tiny"
USER, PASSWORD, TOKEN = "lab", "open+sesame/9", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
SECRETS = {
    "password": PASSWORD,
    "password in an address": quote(PASSWORD, safe=""),
    "token": TOKEN,
    "user and password": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode().rstrip("="),
    "signed query": "signature=secret",
}
SHAPE = {"vocab_size": 50304, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 64}


@pytest.fixture
def hub(monkeypatch, tmp_path, shared_data) -> Iterator[FakeHub]:
    served = FakeHub()
    for step in (0, 10):
        folder = save_random_model(
            tmp_path / f"published{step}", initializer_range=0.3 + step, **SHAPE
        )
        shutil.copy(shared_data / "pythia_tokenizer.json", folder / "tokenizer.json")
        served.add(REPO, f"step{step}", folder)
    served.token = TOKEN
    served.faults = [Fault(f"/storage/{REPO}/*", stop_at=2_000_000)]
    served.faults += [FAULTS["busy"]("/api/*"), FAULTS["html"](f"/storage/{REPO}/*")]
    access = f"{USER}:{quote(PASSWORD, safe='')}@"
    monkeypatch.setenv("HF_ENDPOINT", served.address.replace("//", f"//{access}"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_DEBUG", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield served
    served.close()


def files_below(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_no_file_and_no_line_of_a_run_shows_a_secret(workflow, hub):
    """The first start fails at a login page; the second one goes on."""
    written = {"suite": "tiny", "steps": [0, 10], "tasks": [{"name": "sva", "n_prompts": 20}]}
    (workflow.folder / "text.txt").write_text("\n\n".join(["The cat sat on the mat."] * 8))
    heads = {"text": "text.txt", "n_documents": 2, "n_mean": 4, "n_positions": 4}
    of_hub = {"repo": REPO, "tokens_per_step": 1000}
    written |= {"models": [{"name": "tiny", "hub": of_hub}], "heads": heads}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(written))
    table = "results/tables/behaviour.csv"
    said = workflow.run(table, config="study.yaml", ok=False)
    assert "HTML page" in said
    said += workflow.run(table, config="study.yaml")
    assert "curl" in said  # what HF_DEBUG adds
    assert (workflow.folder / table).is_file()
    files = files_below(workflow.folder) | {"terminal": said.encode()}
    assert any(name.startswith(".snakemake/log/") for name in files)
    shown = {
        (kind, name)
        for name, content in files.items()
        for kind, secret in SECRETS.items()
        if secret.lower().encode() in content.lower()
    }
    assert shown == set()
