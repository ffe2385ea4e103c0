"""Power cuts at every moment of a writer: what is found later is whole, the old or nothing."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.faults.tracing import outcomes, traced

WRITE = """
import os, sys
import numpy as np, pandas as pd
from safetensors.numpy import save_file
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.hdf5 import Dataset, write_hdf5
from circuitlapse.io.table_files import write_table

if sys.argv[2] == "without":
    os.fsync = lambda descriptor: None
for name in ("fresh", "replaced"):
    place = sys.argv[1] + "/" + name
    write_hdf5(place + "/a.h5", {"x": Dataset(np.ones(9), ("prompt",))}, {"key": "k"})
    frame = pd.DataFrame({"a": np.arange(9)})
    write_table(place + "/a.parquet", frame, provenance={}, csv=place + "/a.csv")
    with atomic_path(place + "/step1") as scratch:
        scratch.mkdir()
        save_file({"x": np.ones(9)}, scratch / "model.safetensors")
        (scratch / "config.json").write_text("{}")
"""
FILES = ("a.h5", "a.parquet", "a.csv")
OLD = ("", "/a.h5", "/a.parquet", "/a.csv", "/step1", "/step1/model.safetensors")


@pytest.fixture(scope="module", params=["with", "without"])
def traces(request, tmp_path_factory):
    """Whether the writers sync, and what they did: in an empty folder, and in one with files."""
    scratch = tmp_path_factory.mktemp("traces")
    root = scratch / "root"
    for path in OLD[1:]:
        file = root / f"replaced{path}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if path == "/step1":
            file.mkdir()
        else:
            file.write_text("old")
    (root / "fresh").mkdir()
    command = [sys.executable, "-c", textwrap.dedent(WRITE), str(root), request.param]
    return request.param == "with", root, traced(command, root, scratch)


@pytest.mark.parametrize("name", [*FILES, "step1"])
@pytest.mark.parametrize("place", ["fresh", "replaced"])
def test_a_power_cut_leaves_a_file_or_folder_whole_or_absent(traces, place, name):
    """Without syncs, the same check finds halves, and new files that are lost later."""
    syncs, root, calls = traces
    old = [f"{root}/{place}{path}" for path in (OLD if place == "replaced" else OLD[:1])]
    found, end = outcomes(calls, old, f"{root}/{place}/{name}")
    before = {"none"} if place == "fresh" else {"old", "none"} if name == "step1" else {"old"}
    if syncs:
        assert found == {*before, "new"}
        assert end == {"new"}
    else:
        assert "half" in found
        assert end != {"new"}


def test_every_file_is_synced_then_named_then_its_folder_is_synced(traces):
    syncs, root, calls = traces
    if not syncs:
        assert not [call for call in calls if call.kind == "sync"]
        return
    for name in FILES:
        target = f"{root}/fresh/{name}"
        (named,) = [at for at, call in enumerate(calls) if call.to == target]
        scratch = calls[named].path
        of_file = [at for at, call in enumerate(calls) if call.path == scratch]
        kinds = [calls[at].kind for at in of_file]
        assert kinds[-2:] == ["sync", "rename"]
        after = [call.path for call in calls[named + 1 :] if call.kind == "sync"]
        assert after[0] == f"{root}/fresh"
