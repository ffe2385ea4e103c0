import dataclasses
import re
from random import Random

import h5py
import numpy as np
import pytest

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import REMAKE, ArtifactError
from circuitlapse.io.circuit_files import is_current, read_circuit, write_circuit
from circuitlapse.models.graph import Graph
from tests.damage import DAMAGES
from tests.records import HOW, NO_RANKINGS, RANKINGS, no_halves, with_held_out
from tests.sealed import reseal

GRAPH = Graph(1, 2)
NO_HALVES = no_halves(sources=len(GRAPH.sources), targets=len(GRAPH.targets))
HALVES = {
    "half_of_prompt": np.array([1, 0], dtype=np.int8),
    "half_seed": 7,
    "half_scores": np.where(GRAPH.exists, [[[0.25]], [[-0.5]]], np.nan).astype(np.float32),
    "half_in_circuit": np.stack([GRAPH.exists, np.zeros_like(GRAPH.exists)]),
    "half_status": ("ok", "no_behaviour"),
}


def record_of(**changes):
    edges = GRAPH.exists.shape
    parts = {
        "model": "m",
        "variant": "seed1",
        "step": 4,
        "tokens": 400,
        "task": "ioi",
        "metric": "logit_diff",
        "method": "eap",
        "ig_steps": 5,
        "sources": GRAPH.sources,
        "targets": GRAPH.targets,
        "scores": np.where(GRAPH.exists, 0.5, np.nan),
        "order": np.zeros(edges, dtype=np.int32),
        "in_circuit": GRAPH.exists.copy(),
        "status": "ok",
        "n_requested": 3,
        "m_model": np.array([1.0, 2.0]),
        "m_model_low": 0.5,
        "m_model_high": 2.5,
        "m_corrupted": np.array([-1.0, 0.0]),
        "m_circuit": np.array([1.0, 1.5]),
        "f_raw_low": 0.7,
        "f_raw_high": 0.9,
        "curve_n_requested": np.array([1, 3]),
        "curve_n_edges": np.array([0, 3]),
        "curve_metric": np.array([[0.0, 0.1], [1.0, 1.5]]),
        **HOW,
        **RANKINGS,
        **NO_HALVES,
    }
    return CircuitRecord(**with_held_out(parts | changes))


NO_CIRCUIT = {
    "status": "no_behaviour",
    "n_requested": None,
    "m_circuit": None,
    "in_circuit": np.zeros_like(GRAPH.exists),
    "curve_n_requested": np.zeros(0, dtype=np.int64),
    "curve_n_edges": np.zeros(0, dtype=np.int64),
    "curve_metric": np.zeros((0, 2)),
    "f_raw_low": float("nan"),
    "f_raw_high": float("nan"),
    **NO_RANKINGS,
}


@pytest.mark.parametrize(
    "changes", [{}, NO_CIRCUIT, HALVES], ids=["circuit", "no_circuit", "halves"]
)
def test_a_record_comes_back_as_it_was(tmp_path, changes):
    record = record_of(**changes)
    write_circuit(tmp_path / "c.h5", record, {"key": "k"})
    back = read_circuit(tmp_path / "c.h5")
    for field in dataclasses.fields(CircuitRecord):
        np.testing.assert_equal(getattr(back, field.name), getattr(record, field.name))


@pytest.mark.parametrize("edit", [{"record_former": 1}, {"record_status": "great"}])
def test_a_circuit_of_another_version_is_refused_with_its_path(tmp_path, edit):
    path = tmp_path / "c.h5"
    write_circuit(path, record_of(), {"key": "k"})
    with h5py.File(path, "a") as file:
        file.attrs.update(edit)
    reseal(path)
    found = f"{re.escape(str(path))}: not a readable circuit of this version.*{REMAKE}"
    with pytest.raises(ArtifactError, match=found):
        read_circuit(path)


def test_only_a_file_with_the_same_provenance_is_current(tmp_path):
    path = tmp_path / "c.h5"
    assert not is_current(path, {"key": "k"})
    write_circuit(path, record_of(), {"key": "k"})
    assert is_current(path, {"key": "k"})
    assert not is_current(path, {"key": "other"})


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_circuit_is_not_current_and_the_log_says_so_once(tmp_path, damage, caplog):
    path = tmp_path / "c.h5"
    for seed in range(10):
        write_circuit(path, record_of(), {"key": "k"})
        DAMAGES[damage](path, Random(seed))
        caplog.clear()
        assert not is_current(path, {"key": "k"})
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == (damage != "remove")
        assert all(one.startswith(f"{path}: ") and one.endswith("; made again") for one in said)
