"""The tables about checkpoints, from records of the hub and from planted weights."""

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.models.contents import WeightFile
from circuitlapse.models.fingerprint import Fingerprint
from circuitlapse.schemas import AUDIT, CHECKPOINTS
from circuitlapse.tables.checkpoints import audit_rows, checkpoint_tables

STEPS = (0, 1, 2, 3, 4, 5)
DIRECTION = np.random.default_rng(0).normal(size=(2, 3, 256))
"""Two ends of a path of training, for three matrices."""


def record(step, status="ok", files=("a",), **changes):
    """Return the record of a checkpoint with one file per hash."""
    found = {"model": "m", "variant": "v", "step": step, "tokens": 10 * step, "status": status}
    found |= {"same_as": "", "instead_of": "", "shared": []}
    named = [{"name": f"{n}.safetensors", "hash": h, "n_bytes": 8} for n, h in enumerate(files)]
    return found | {"files": named} | changes


def trained(step, at=None, model="m"):
    """Return the fingerprint of a model on the way between the two ends, `at` of it passed."""
    share = (step if at is None else at) / STEPS[-1]
    samples = (1 - share) * DIRECTION[0] + share * DIRECTION[1]
    where = {"model": model, "variant": "v", "step": step, "tokens": 10 * step}
    files = (WeightFile("model.safetensors", f"{model} {step}", 8),)
    names, norms = ("a", "b", "c"), np.linalg.norm(samples, axis=1)
    return Fingerprint(where, files, names, ("16x16",) * 3, norms, samples)


def tables(found, hub=(), *, models=("m", "n"), duplicates="skip"):
    return checkpoint_tables(found, list(hub), models=models, duplicates=duplicates)


def statuses(audit):
    return dict(zip(audit["step"], audit["status"], strict=True))


def test_there_is_a_row_per_file_and_one_for_no_file():
    records = [record(1, "no_weights", ()), record(2, files=("a", "b"))]
    rows = audit_rows(records, duplicates="skip")
    AUDIT.check(rows, where="test")
    assert rows["file"].tolist() == ["", "0.safetensors", "1.safetensors"]
    assert rows["bytes"].tolist() == [0, 8, 8]
    assert rows["tokens"].tolist() == [10, 20, 20]


def test_the_policy_says_what_is_left_out():
    known = {1: "no_weights", 2: "duplicate", 3: "suspect", 4: "ok"}
    records = [record(step, status) for step, status in known.items()]
    for policy, expected in (("skip", [1, 2]), ("keep", [])):
        rows = audit_rows(records, duplicates=policy)
        assert rows.loc[rows["left_out"], "step"].tolist() == expected


def test_the_shared_files_of_a_suspect_are_marked():
    one = record(1, "suspect", ("a", "b"), same_as="step 9", shared=["1.safetensors"])
    rows = audit_rows([one], duplicates="skip")
    assert rows["shared"].tolist() == [False, True]
    assert set(rows["same_as"]) == {"step 9"}


def test_a_model_that_is_trained_step_by_step_is_ok():
    audit, checkpoints = tables([trained(step) for step in reversed(STEPS)])
    AUDIT.check(audit, where="test")
    CHECKPOINTS.check(checkpoints, where="test")
    assert statuses(audit) == dict.fromkeys(STEPS, "ok")
    assert audit["step"].tolist() == list(STEPS)
    first, last = checkpoints.iloc[0], checkpoints.iloc[-1]
    assert np.isnan([first.cos_previous, last.cos_next, last.cos_last]).all()
    a, b = DIRECTION[:, 0]
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert first.cos_last == pytest.approx(expected)
    by_step = checkpoints.groupby("step")["cos_last"].median()
    assert by_step.dropna().is_monotonic_increasing


def test_the_end_of_training_in_the_place_of_an_early_step_is_a_duplicate():
    """Whatever its file is called and hashed."""
    found = [trained(step, at=5 if step == 1 else None) for step in STEPS]
    audit, checkpoints = tables(found)
    assert statuses(audit) == dict.fromkeys(STEPS, "ok") | {1: "duplicate"}
    assert audit.loc[audit["step"] == 1, "same_as"].tolist() == ["step 5"]
    assert audit.loc[audit["left_out"], "step"].tolist() == [1]
    assert set(checkpoints.loc[checkpoints["step"] == 1, "status"]) == {"duplicate"}


def test_a_step_closer_to_the_last_than_to_its_neighbours_is_suspect():
    found = [trained(step, at=4.9 if step == 1 else None) for step in STEPS]
    assert statuses(tables(found).audit) == dict.fromkeys(STEPS, "ok") | {1: "suspect"}


def test_what_the_hub_says_stays_and_its_files_are_listed():
    hub = [[record(0, "duplicate", same_as="step 5"), *(record(step) for step in STEPS[1:])]]
    audit, checkpoints = tables([trained(step) for step in STEPS[1:]], hub)
    assert statuses(audit) == dict.fromkeys(STEPS, "ok") | {0: "duplicate"}
    assert set(audit["file"]) == {"0.safetensors"}
    assert set(checkpoints["step"]) == set(STEPS[1:])


def test_refuse_names_what_was_found_after_loading():
    found = [trained(step, at=5 if step == 1 else None) for step in STEPS]
    with pytest.raises(ArtifactError, match=r"weights of a later step: m at step 1$"):
        tables(found, duplicates="refuse")


def test_models_may_start_from_the_same_weights_but_not_go_on_with_them():
    found = [trained(step, model=model) for model in "mn" for step in (0, 3)]
    audit = tables([*found, trained(5), trained(5, at=4.8, model="n")]).audit
    by_model = {model: statuses(rows) for model, rows in audit.groupby("model")}
    assert by_model["m"] == by_model["n"] == {0: "ok", 3: "suspect", 5: "ok"}


def test_without_checkpoints_there_are_no_rows():
    audit, checkpoints = tables([])
    assert len(audit) == len(checkpoints) == 0
