"""The workflow in other workflows, and what the Snakemake workflow catalogue asks of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Workflow, new_workflow

ADDRESS = "https://github.com/circuitlapse/circuitlapse"
DEPLOYED = """
configfile: "config/config.yaml"


module circuitlapse:
    snakefile:
        github("circuitlapse/circuitlapse", path="workflow/Snakefile", tag="v0")
    config:
        config


use rule * from circuitlapse
"""
"""What `snakedeploy deploy-workflow` writes."""


@dataclass(frozen=True)
class Deployed:
    """A folder as snakedeploy makes it, and an environment in which git finds the address here."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments, "--cores", "2"]
        return subprocess.run(
            [*command, "--configfile", "config/smoke.yaml"],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    """The files of this checkout as tag v0 of a repository, and a folder that uses it."""
    published = tmp_path / "published"
    for name in ("config", "envs", "scripts", "workflow"):
        shutil.copytree(ROOT / name, published / name)
    git = ("git", "-C", str(published), "-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "all"), ("tag", "v0")):
        subprocess.run([*git, *arguments], check=True)
    mine = new_workflow(tmp_path / "mine").folder
    (mine / "workflow").mkdir()
    (mine / "workflow/Snakefile").write_text(DEPLOYED)
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    return Deployed(mine, environment)


def test_a_deployed_workflow_plans_the_same_jobs_and_runs_one(workflow: Workflow, deployed):
    said = deployed.run("-m", "snakemake", "--dry-run")
    table = said.stdout.partition("Job stats:")[2].split("\n\n")[0]
    jobs = dict(line.split() for line in table.splitlines() if len(line.split()) == 2)
    planned = {name: int(n) for name, n in jobs.items() if n.isdigit() and name != "total"}
    assert planned == workflow.jobs(), said.stderr
    # its script knows its own address, and no file of that name
    target = "results-smoke/tasks/pocket/sva.parquet"
    done = deployed.run("-m", "snakemake", target)
    assert done.returncode == 0, done.stderr
    assert (deployed.folder / target).is_file()


def test_without_the_package_one_sentence_says_how_to_install_it(deployed):
    code = "import sys; sys.modules['circuitlapse'] = None; from snakemake.cli import main; main()"
    done = deployed.run("-c", code, "--dry-run")
    said = done.stdout + done.stderr
    sentence = "Snakemake lacks Circuitlapse; add it with `pip install circuitlapse`."
    assert said.count(sentence) == 1, said
    assert "Traceback" not in said


def test_the_catalogue_finds_what_it_asks_for():
    """As its page "Adding workflows" lists it, for the area "Standardized usage"."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert (ROOT / "workflow/Snakefile").is_file()
    assert (ROOT / "config/README.md").is_file()
    assert list((ROOT / "workflow/rules").glob("*.smk"))
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
