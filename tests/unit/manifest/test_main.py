from __future__ import annotations

import sys

import pytest

from circuitlapse.manifest.__main__ import main
from circuitlapse.paths import Paths


def test_a_damaged_audit_is_one_message(tmp_path, monkeypatch):
    audit = tmp_path / "results/audit/hub.json"
    audit.parent.mkdir(parents=True)
    audit.write_text("{")
    assert str(audit) == Paths(str(tmp_path / "results")).audit_found
    (tmp_path / "mine.yaml").write_text(f"results: {tmp_path / 'results'}\n")
    given = ["config/pythia.yaml", str(tmp_path / "mine.yaml")]
    monkeypatch.setattr(sys, "argv", ["circuitlapse.manifest", *given])
    with pytest.raises(SystemExit, match=f"ArtifactError: {audit}"):
        main()
