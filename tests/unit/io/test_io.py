"""Whatever a file holds, a reader returns what it declares or raises our own error with its name.

`damage` changes bytes, `hostile` well-formed files whose digests fit.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
import torch

from circuitlapse.errors import CircuitlapseError
from circuitlapse.io.activation_files import read_activations, write_activations
from circuitlapse.io.circuit_files import read_circuit, write_circuit
from circuitlapse.io.clone import read_baselines, read_curve
from circuitlapse.io.corpus_files import read_corpus, read_documents, read_tokenizer
from circuitlapse.io.eap_ig import read_eap_ig
from circuitlapse.io.provenance import (
    DIGEST,
    PROVENANCE,
    hash_of,
    notes_on,
    write_provenance,
)
from circuitlapse.io.table_files import read_provenance, read_table, write_table
from circuitlapse.io.task_files import read_task
from circuitlapse.io.weight_files import keep_fingerprint, read_fingerprint
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import load_decoder
from circuitlapse.records import read_records, records_text
from circuitlapse.schemas import BEHAVIOUR
from tests import hostile
from tests.damage import DAMAGES, clear
from tests.records import record_of
from tests.unit.io.test_eap_ig import CURRENT

LIMIT_S = 2.0
MOST = 40
"""At most so many changes of a file are tried, drawn at random: all 3000 take minutes."""
ORIGIN = {"key": "k", "weights_hash": "w", "task_hash": "t"}
GRAPH = Graph(1, 2)


@dataclass(frozen=True)
class Reader:
    """How a file is read.

    Attributes:
        name: of the file.
        read: reads the file at a path.
        kind: of its changes: "hdf5", "parquet", "json" or "".
    """

    name: str
    read: Callable[[Path], object]
    kind: str = ""


def _activations(path: Path) -> object:
    inputs = {"weights": "w", "task": "t"}
    return read_activations(path, device="cpu", dtype=torch.float32, inputs=inputs)


def _documents(path: Path) -> object:
    return read_documents(path, read_tokenizer(path.with_name("tokenizer.json")))


READERS = {
    "circuit": Reader("circuit.h5", read_circuit, "hdf5"),
    "activations": Reader("activations.h5", _activations, "hdf5"),
    "fingerprint": Reader("weights.h5", read_fingerprint, "hdf5"),
    "table": Reader("table.parquet", lambda path: read_table(path, BEHAVIOUR), "parquet"),
    "provenance of a table": Reader("table.parquet", read_provenance, "parquet"),
    "task": Reader("mine.parquet", read_task, "parquet"),
    "corpus": Reader("train.npz", read_corpus),
    "text": Reader("text.txt", _documents),
    "tokenizer": Reader("tokenizer.json", read_tokenizer, "json"),
    "record of a folder": Reader(
        "record/provenance.json", lambda path: notes_on(path.parent), "record"
    ),
    "record of a verification": Reader(
        "verified.json", lambda path: notes_on(path.parent, path), "record"
    ),
    "audit": Reader("audit.json", read_records, "record"),
    "EAP-IG": Reader("eap_ig.json", read_eap_ig, "json"),
    "baselines of a clone": Reader("10.json", lambda path: read_baselines([path]), "json"),
    "curve of a clone": Reader("curve.json", read_curve, "json"),
    "configuration of a model": Reader(
        "step0/config.json", lambda path: load_decoder(path.parent), "json"
    ),
    "tokenizer of a model": Reader(
        "step0/tokenizer.json", lambda path: load_decoder(path.parent), "json"
    ),
    "weights": Reader("step0/model.safetensors", lambda path: load_decoder(path.parent)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory, pocket, random_model, random_pairs):
    """A folder with one good file of every kind."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(pocket, folder, dirs_exist_ok=True)
    record = record_of(GRAPH, ["input->m0", "m0->logits"], n_prompts=3)
    write_circuit(folder / "circuit.h5", record, ORIGIN)
    runs = cache_activations(random_model, random_pairs)
    write_activations(folder / "activations.h5", runs, ORIGIN, dtype="float32")
    keep_fingerprint(folder / "step0", folder / "weights.h5", {"model": "m", "step": 0})
    row = {name: "x" if kind == "str" else 0 for name, kind in BEHAVIOUR.columns.items()}
    frame = BEHAVIOUR.cast(pd.DataFrame([row] * 3))
    write_table(folder / "table.parquet", frame, provenance=ORIGIN)
    np.savez(folder / "train.npz", sentences=np.arange(10, dtype=np.uint16))
    (folder / "text.txt").write_text("So Mary is here\n\nSo John is here")
    origin = {"settings": json.dumps({"repo": "a/b", "commit": "c"}), "code_hash": "x"}
    (folder / "record").mkdir()
    write_provenance(folder / "record" / PROVENANCE, origin, [folder / "text.txt"])
    verified = {"judge": "j", "step": 0, "n_prompts": 2, "difference": 1e-6}
    (folder / "verified.json").write_text(json.dumps(_with_digest(verified)))
    (folder / "audit.json").write_text(records_text([{"model": "m", "step": 1, "files": []}]))
    (folder / "eap_ig.json").write_text(CURRENT)
    (folder / "10.json").write_text(json.dumps({"1": 0.5, "10": 0.75}))
    (folder / "curve.json").write_text(json.dumps({"1": 0.5, "10": 0.75}))
    return folder


def _with_digest(record: dict[str, object]) -> dict[str, object]:
    record = {name: value for name, value in record.items() if name != DIGEST}
    return record | {DIGEST: hash_of(record)}


def changes_of(reader: Reader, path: Path) -> Iterable[tuple[str, hostile.Change]]:
    if reader.kind == "hdf5":
        yield from hostile.hdf5_changes(path)
    elif reader.kind == "parquet":
        yield from hostile.parquet_changes(path)
    elif reader.kind == "record":
        yield from hostile.json_changes(path.read_text(), _with_digest)
    elif reader.kind == "json":
        yield from hostile.json_changes(path.read_text())
    rng = Random(0)
    for name, damage in DAMAGES.items():
        yield name, lambda path, damage=damage: damage(path, rng)
    yield from hostile.raw()


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_only_our_own_errors_leave_a_reader_and_they_name_the_file(reader, files, tmp_path):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    path = tmp_path / reader.name
    reader.read(path)
    good, wrong = path.read_bytes(), []
    changes = list(changes_of(reader, path))
    if len(changes) > MOST:
        changes = Random(0).sample(changes, MOST)
    for what, change in changes:
        clear(path)
        path.write_bytes(good)
        change(path)
        started = time.process_time()
        try:
            reader.read(path)
        except CircuitlapseError as error:
            folder = str(path.parent)
            if path.name not in str(error) and folder not in str(error):
                wrong.append(f"{what}: not named in {error}")
        except BaseException as error:
            wrong.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
        if (took := time.process_time() - started) > LIMIT_S:
            wrong.append(f"{what}: took {took:.1f} s")
    print("COUNT", reader.name, len(changes))
    assert len(changes) > 15
    assert not wrong, f"{len(wrong)} of {len(changes)}:\n" + "\n".join(wrong[:40])
