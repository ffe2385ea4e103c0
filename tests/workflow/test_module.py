"""The workflow in other workflows, and what the Snakemake workflow catalogue asks of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.workflow.conftest import ROOT, Workflow, new_workflow

DEPLOYED = f"""
configfile: "config/config.yaml"


module circuitlapse:
    snakefile:
        "{ROOT}/workflow/Snakefile"
    config:
        config


use rule * from circuitlapse
"""
"""What `snakedeploy deploy-workflow` writes, with a local path in place of an address."""


def plan_deployed(folder: Path, *arguments: str) -> str:
    """Dry-run a folder as snakedeploy makes it; return what Snakemake says."""
    new_workflow(folder)
    (folder / "workflow").mkdir()
    (folder / "workflow/Snakefile").write_text(DEPLOYED)
    command = [sys.executable, *arguments, "--dry-run", "--cores", "2"]
    done = subprocess.run(
        [*command, "--configfile", "config/smoke.yaml"], cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_a_deployed_workflow_plans_the_same_jobs(workflow: Workflow, tmp_path):
    said = plan_deployed(tmp_path / "deployed", "-m", "snakemake")
    table = said.partition("Job stats:")[2].split("\n\n")[0]
    jobs = dict(line.split() for line in table.splitlines() if len(line.split()) == 2)
    planned = {name: int(n) for name, n in jobs.items() if n.isdigit() and name != "total"}
    assert planned == workflow.jobs(), said


def test_without_the_package_one_sentence_says_how_to_install_it(tmp_path):
    code = "import sys; sys.modules['circuitlapse'] = None; from snakemake.cli import main; main()"
    said = plan_deployed(tmp_path / "deployed", "-c", code)
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
