"""Files that other services read: addresses, authors, versions, and what their machines run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = {path.stem: path.read_text() for path in ROOT.glob(".github/workflows/*.yml")}


def test_the_citation_agrees_with_the_package():
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["authors"] == PROJECT["authors"] == [{"name": "The Circuitlapse developers"}]
    assert CITATION["repository-code"] == PROJECT["urls"]["Repository"]
    assert CITATION["url"] == PROJECT["urls"]["Documentation"]


def test_every_address_of_the_repository_is_the_same():
    home = PROJECT["urls"]["Repository"]
    named = [url for name, url in PROJECT["urls"].items() if name != "Documentation"]
    assert [url for url in named if not url.startswith(home)] == []
    assert f"deploy-workflow {home} " in (ROOT / "docs/workflow.md").read_text()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs_what_the_makefile_knows(name):
    """Every job runs on a machine or calls another workflow; every `make` target exists."""
    jobs = yaml.safe_load(WORKFLOWS[name])["jobs"].values()
    assert all(("runs-on" in job) != ("uses" in job) for job in jobs)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"run: make (\w+)", WORKFLOWS[name]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_tests_there_are_those_that_decide_here():
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "run: make test\n" in WORKFLOWS["test"]
    release = yaml.safe_load(WORKFLOWS["release"])
    assert release["jobs"]["test"]["uses"] == "./.github/workflows/test.yml"
    assert "test" in release["jobs"]["publish"]["needs"]
