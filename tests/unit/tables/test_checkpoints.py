"""The table of the audit, from its records."""

from circuitlapse.schemas import AUDIT
from circuitlapse.tables.checkpoints import audit_rows


def record(step, status="ok", files=("a",), **changes):
    """Return the record of a checkpoint with one file per hash."""
    found = {"model": "m", "variant": "v", "step": step, "tokens": 10 * step, "status": status}
    found |= {"same_as": "", "instead_of": "", "shared": []}
    named = [{"name": f"{n}.safetensors", "hash": h, "n_bytes": 8} for n, h in enumerate(files)]
    return found | {"files": named} | changes


def test_there_is_a_row_per_file_and_one_for_no_file():
    records = [record(1, "no_weights", ()), record(2, files=("a", "b"))]
    rows = audit_rows(records, duplicates="skip")
    AUDIT.check(rows, where="test")
    assert rows["file"].tolist() == ["", "0.safetensors", "1.safetensors"]
    assert rows["bytes"].tolist() == [0, 8, 8]
    assert rows["tokens"].tolist() == [10, 20, 20]


def test_the_policy_says_what_is_left_out():
    statuses = {1: "no_weights", 2: "duplicate", 3: "suspect", 4: "ok"}
    records = [record(step, status) for step, status in statuses.items()]
    for policy, expected in (("skip", [1, 2]), ("keep", [])):
        rows = audit_rows(records, duplicates=policy)
        assert rows.loc[rows["left_out"], "step"].tolist() == expected


def test_the_shared_files_of_a_suspect_are_marked():
    one = record(1, "suspect", ("a", "b"), same_as="step 9", shared=["1.safetensors"])
    rows = audit_rows([one], duplicates="skip")
    assert rows["shared"].tolist() == [False, True]
    assert set(rows["same_as"]) == {"step 9"}


def test_without_records_there_are_no_rows():
    AUDIT.check(audit_rows([], duplicates="skip"), where="test")
