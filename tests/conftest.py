"""What tests share: where the reference answers lie, and small models to run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before anything of the package is imported: every annotated shape is checked in every test.
install_import_hook("circuitlapse", "beartype.beartype")

# Small models are fastest on one thread, and the tests may share the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Oracle:
    """A small model with what an independent implementation says about it."""

    folder: Path
    model: Any
    pairs: Any
    answers: Any
    fixture: dict[str, Any]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def cannot_test(message: str) -> NoReturn:
    """Skip the test, but let it fail in CI, which must have everything."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def beside(path: str, what: str) -> Path:
    """Return a path in the folder that lies beside the project."""
    found = Path(os.environ.get("CIRCUITLAPSE_SHARED", ROOT.parent / "shared")) / path
    if not found.exists():
        cannot_test(f"no {what} at {found}; set CIRCUITLAPSE_SHARED")
    return found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference answers."""
    return beside("data", "reference answers")


@pytest.fixture(scope="session")
def oracle(shared_data: Path) -> Oracle:
    """The reference implementation's answers on a random two-layer GPT-NeoX."""
    import numpy as np
    import torch

    from circuitlapse import PromptPairs, load_decoder

    folder = shared_data / "eap_oracle"
    answers = np.load(folder / "oracle.npz")
    clean, corrupted = (torch.tensor(answers[side]) for side in ("clean", "corrupted"))
    end = torch.full((len(clean),), clean.shape[1] - 1)
    correct, wrong = ([[int(token)] for token in answers["answers"][:, i]] for i in (0, 1))
    pairs = PromptPairs(clean, corrupted, end, correct, wrong)
    fixture = json.loads((folder / "fixture.json").read_text())
    return Oracle(folder, load_decoder(folder), pairs, answers, fixture)


def bridge_of(decoder: Any) -> Any:
    """Return the same model in TransformerLens, whose forward pass is none of ours.

    It is read from the folder of the decoder, and kept for the next call.
    """
    return _bridge(decoder.cfg.model_name, str(decoder.cfg.dtype).removeprefix("torch."))


@lru_cache(maxsize=8)
def _bridge(folder: str, dtype: str) -> Any:
    from circuitlapse import load_model

    return load_model(folder, dtype=dtype)


def save_random_model(folder: Path, **changes: Any) -> Path:
    """Save a GPT-NeoX with random weights, laid out like a hub snapshot."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    torch.manual_seed(0)
    GPTNeoXForCausalLM(GPTNeoXConfig(**(shape | changes))).save_pretrained(folder)
    return folder


def save_random_gpt2(folder: Path, **changes: Any) -> Path:
    """Save a GPT-2 with random weights, of the same size."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50,
        n_positions=64,
        n_embd=32,
        n_layer=3,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        **changes,
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def save_random(kind: str, folder: Path) -> Path:
    """Save a random model of a kind that the engine covers."""
    if kind == "gpt2":
        return save_random_gpt2(folder)
    return save_random_model(folder, use_parallel_residual=kind == "parallel")


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-NeoX with three layers of two heads."""
    return save_random_model(tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="session")
def random_model(random_folder: Path) -> Any:
    from circuitlapse import load_decoder

    return load_decoder(random_folder)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a variant of `tests.families`, once; nobody changes it."""
    from tests import families

    home, there = tmp_path_factory.mktemp("families"), {}

    def folder(name: str, *, spelling: str = "new") -> Path:
        if (name, spelling) not in there:
            path = home / f"{name}-{spelling}"
            there[name, spelling] = families.save(name, path, spelling=spelling)
        return there[name, spelling]

    return folder


@pytest.fixture(scope="session")
def random_pairs() -> Any:
    """Nine pairs of five to eight tokens that differ in the third; several answers each."""
    import torch

    from circuitlapse import PromptPairs

    draw = torch.Generator().manual_seed(1)
    lengths = [5, 8, 6, 7, 8, 5, 6, 8, 7]
    clean = [torch.randint(0, 50, (n,), generator=draw).tolist() for n in lengths]
    corrupted = [[*row[:2], (row[2] + 7) % 50, *row[3:]] for row in clean]
    correct, wrong = [[1, 2, 3]] * 9, [[4, 5]] * 9
    return PromptPairs.from_lists(clean, corrupted, correct=correct, wrong=wrong)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium: the one of the system, or else that of Playwright.

    One for all tests of a process: Playwright refuses a second one.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # a container has no user namespaces for the sandbox; the pages are ours
        found = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield found
        found.close()
