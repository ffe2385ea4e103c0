"""A hub that misbehaves: the model is whole, or there is one sentence and no folder."""

from __future__ import annotations

import itertools

import pytest

from circuitlapse.errors import HubError
from circuitlapse.hub import fetch_snapshot
from circuitlapse.hub.retry import RetryPolicy
from tests.fake_hub import Fault
from tests.unit.hub.conftest import REPO, hub, no_hub, published

KIND = "hub faults"
pytestmark = pytest.mark.faults
__all__ = ["hub", "no_hub", "published"]

PATIENT = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, window_s=0.3)
FILES = {
    "listing": "/api/models/*",
    "config": "*/config.json",
    "tokenizer": "*/tokenizer.json",
    "weights": "/storage/*model.safetensors",
}
FAULTS = {
    "stops": {"stop_at": 100},
    "resets": {"stop_at": 50, "reset": True},
    "hangs": {"stop_at": 10, "hang": True},
    "other": {"other": b"other bytes"},
    "nothing": {"other": b""},
    "missing": {"status": 404},
    "forbidden": {"status": 403},
    "busy": {"status": 429, "headers": {"Retry-After": "0"}},
    "broken": {"status": 500},
    "never": {"status": 503, "headers": {"Retry-After": "soon"}},
}


@pytest.mark.parametrize("often", [1, 9])
@pytest.mark.parametrize(("file", "fault"), itertools.product(FILES, FAULTS))
def test_a_model_is_whole_or_absent_and_the_reason_is_said(
    hub, published, tmp_path, monkeypatch, file, fault, often
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 1)
    hub.faults = [Fault(FILES[file], **FAULTS[fault]) for _ in range(often)]
    folder = tmp_path / "models/step1000"
    said = ""
    try:
        fetch_snapshot(REPO, "step1000", folder, retry=PATIENT)
    except HubError as error:
        said = str(error)
    if said:
        assert "\n" not in said
        assert REPO in said
        assert not folder.exists()
    else:
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            assert (folder / name).read_bytes() == (published / name).read_bytes()
