"""A hub on this machine, and models that it publishes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import save_random_model
from tests.fake_hub import FakeHub

PYTHIA = {"vocab_size": 50304, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 64}
REPO = "EleutherAI/pythia-tiny"


@pytest.fixture(scope="session")
def published(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the vocabulary of Pythia (6 MB), and its tokenizer."""
    folder = save_random_model(tmp_path_factory.mktemp("published") / "step1000", **PYTHIA)
    shutil.copy(shared_data / "pythia_tokenizer.json", folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPTNeoXTokenizerFast"}')
    (folder / "README.md").write_text("nothing that a model needs")
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, no token, an empty hub cache: its path."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def hub(no_hub: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one model at one step, which the client of this process asks."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    served = FakeHub()
    served.add(REPO, "step1000", published)
    url = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", served.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.address + url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield served
    close_session()
    served.close()
