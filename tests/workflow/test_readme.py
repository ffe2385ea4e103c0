"""What the README says can be done."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from circuitlapse.config import load_config
from circuitlapse.plan.requests import REQUESTS
from circuitlapse.pocket.corpus import make_pocket_tokenizer
from circuitlapse.tasks.builtin import build_task
from circuitlapse.types import Ablation, Method, Metric
from tests.clone import Planted

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
WORKFLOW = (ROOT / "docs/workflow.md").read_text()
CONFIG_PAGE = (ROOT / "config/README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, ROOT / "benchmarks/README.md"]
CONFIG = ROOT / "config/config.yaml"


def run_examples(text: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the Python examples of a page, one after the other, on the results of the smoke run."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    model = f"results-smoke/models/{smoke['models'][0]['name']}/step{smoke['steps'][-1]}"
    code = re.sub(r"results/models/[^\"]+", model, code)
    code = re.sub(r"results/(t|corpus|explorer)", r"results-smoke/\1", code).replace("100)", "10)")
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_python_example_runs(finished):
    done = run_examples(README, finished.folder)
    assert re.fullmatch(r"\d+ of \d+ edges: -?\d+\.\d\d\n", done.stdout), done.stderr


def test_the_examples_of_the_library_run(copied):
    done = run_examples((ROOT / "docs/library.md").read_text(), copied.folder)
    assert done.returncode == 0, done.stderr
    assert re.match(r"EdgeScores\(\d+ edges, largest \|score\| [^\n]+\)\nCircuit\(", done.stdout)
    assert (copied.folder / "ioi.json").exists()


def test_the_example_of_the_tables_runs(finished):
    done = run_examples((ROOT / "docs/tables.md").read_text(), finished.folder)
    assert done.returncode == 0, done.stderr


def test_the_example_of_the_explorer_runs(finished):
    done = run_examples((ROOT / "docs/explorer.md").read_text(), finished.folder)
    assert done.returncode == 0, done.stderr
    assert "no_behaviour" in done.stdout


def test_the_examples_of_extending_run(finished, tmp_path):
    """In a copy of the library, with every file and entry of the page in its place."""
    home = tmp_path / "circuitlapse"
    shutil.copytree(ROOT / "src/circuitlapse", home)
    page = (ROOT / "docs/extending.md").read_text()
    blocks = [
        textwrap.dedent(block) for block in re.findall(r" +```python\n(.*?)```", page, re.DOTALL)
    ]
    for block in blocks:
        where, code = block.split("\n", 1)
        if entry := re.fullmatch(r"# in (\w+) of (\S+)", where):
            name, path = entry.groups()
            old = (home / path).read_text()
            (start,) = re.findall(rf"^(?:class )?{name}\b.*[{{:]\n", old, re.MULTILINE)
            docstring = re.match(r' +""".*"""\n\n', old.partition(start)[2])
            start += docstring[0] if docstring else ""
            new = old.replace(start, start + code)
            new = new.replace("tasks import (", "tasks import (name_copy, ")
            (home / path).write_text(new)
        elif where == "# in schemas/__init__.py, above SCHEMAS":
            schemas = home / "schemas/__init__.py"
            schemas.write_text(schemas.read_text().replace("SCHEMAS: ", f"{code}\nSCHEMAS: "))
        else:
            (home / where.removeprefix("# ")).write_text(code)
    assert len(blocks) == 12
    done = subprocess.run(
        [sys.executable, "-c", EXTENDED],
        cwd=finished.folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


EXTENDED = """
import numpy as np

import circuitlapse as cl
from circuitlapse.figures.registry import FIGURES
from circuitlapse.io.table_files import read_table
from circuitlapse.io.task_files import read_task
from circuitlapse.pocket.corpus import make_pocket_tokenizer
from circuitlapse.schemas import SCHEMAS
from circuitlapse.tables.registry import JOBS
from circuitlapse.tasks.builtin import build_task

def table(name):
    return read_table(f"results-smoke/tables/{name}.parquet", SCHEMAS[name])

order = {"models": ["pocket-tiny"], "tasks": ["ioi", "sva"]}
ports = JOBS["ports"].run(circuit_edges=table("circuit_edges"), **order)["ports"]
assert ports["n_edges"].sum() == len(table("circuit_edges")) > 0

draw = FIGURES["accuracy"].function()
shown = {"labels": {"pocket-tiny": "tiny"}, "tasks": ["ioi", "sva"], "min_step": 1}
drawn = draw(behaviour=table("behaviour"), **shown)
assert [len(axes.lines) for axes in drawn.axes] == [1, 1]

task = build_task("name_copy", make_pocket_tokenizer(), builder="name_copy", n_prompts=20, seed=0)
assert len(task) == 20

model = cl.load_model("results-smoke/models/pocket-tiny/step400")
pairs = cl.PromptPairs.from_task(read_task("results-smoke/tasks/pocket/ioi.parquet"))
scores = cl.score_heads(model, scores=["first_token"], pairs=pairs)
assert scores["value"].between(0, 1).all()

edges = {
    method: cl.attribute_edges(model, pairs, metric="logit_diff", method=method)
    for method in ("eap", "corrupted", "clean_corrupted")
}
mean = (edges["eap"].values + edges["corrupted"].values) / 2
assert np.allclose(mean, edges["clean_corrupted"].values, atol=1e-6, equal_nan=True)
"""


@pytest.mark.parametrize("kind", [Method, Ablation, Metric])
def test_every_method_ablation_and_metric_is_in_the_pages(kind):
    pages = README + (ROOT / "docs/library.md").read_text()
    assert [name for name in kind if f"`{name}`" not in pages] == []


def test_the_model_of_the_python_example_is_one_that_the_demo_makes():
    config = yaml.safe_load(CONFIG.read_text())
    name, step = re.search(r"results/models/([^/]+)/step(\d+)", README).groups()
    assert name in {model["name"] for model in config["models"]}
    assert int(step) == config["steps"][-1]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize(
    "target",
    sorted(
        {
            name
            for page in PAGES
            for name in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.M)
        }
    ),
)
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def csv_of(page: str) -> str:
    """Return the only example of a CSV file in a page."""
    (csv,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    return csv


def rows_of(page: str) -> list[list[str]]:
    """Return the cells of every table row that starts with a name in backticks."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_rule_and_target_is_documented(workflow):
    """And every rule of the page exists; rules without `_` are targets that make nothing."""
    Planted(workflow.folder / "clone").write("graphs/pocket-tiny/sva/faithful/raw/400.json", {})
    beside = ("--config", "compare={published: clone}")
    configs = {"config/smoke.yaml": beside, "config/pythia.yaml": ()}
    listed = "".join(
        workflow.run("--list-rules", *more, config=config) for config, more in configs.items()
    )
    listed = re.sub(r"^(aggregate|plot)_published_.*$", r"\1_published_…", listed, flags=re.M)
    listed = listed.replace("read_published_pocket-tiny", "read_published_{model}")
    rules = set(re.findall(r"^[\w{}…]+$", listed, re.MULTILINE)) - {"all"}
    made = {name for name in rules if "_" in name}
    assert {cells[0].strip("`") for cells in rows_of(WORKFLOW)} == made
    assert [name for name in rules - made if f"`{name}`" not in WORKFLOW] == []


@pytest.mark.parametrize("page", ["docs/cluster.md", "workflow/profiles/slurm/config.yaml"])
def test_every_rule_that_asks_for_a_gpu_is_named_where_its_partition_is_set(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"^#? +(\w+): \{slurm_partition: gpu", text, re.MULTILINE)
    assert sorted(named) == sorted(REQUESTS)


def test_every_example_prompt_is_one_of_the_demo():
    """So the tokenizer of the pocket suite knows it, and the models are asked it."""
    examples = dict(re.findall(r"^\| `(\w+)` \| ([A-Z][^|]*[^| ]) \|.*\|.*\|.*\|$", README, re.M))
    tokenizer = make_pocket_tokenizer()
    config = load_config(yaml.safe_load(CONFIG.read_text()), [CONFIG])
    assert examples.keys() >= {task.name for task in config.tasks}
    for task in config.tasks:
        how = task.model_dump(include={"builder", "n_prompts", "seed", "prepend_bos"})
        built = build_task(task.name, tokenizer, options=task.options, **how)
        assert examples[task.name] in set(built.frame["clean"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_is_too_long_to_read_in_a_terminal(page):
    assert [line for line in page.read_text().splitlines() if len(line) > 120] == []


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "config/README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_leads_somewhere(page):
    """Also to a heading, on this page or another one."""
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert links
    for link in links:
        if not link.startswith("https://"):
            path, _, heading = link.partition("#")
            assert (page.parent / path).exists(), link
            assert not heading or heading in headings_of(page.parent / path if path else page), link


def headings_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_can_be_reached_from_the_readme(page):
    assert f"](docs/{page.name}" in README


def test_the_configuration_of_the_readme_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header, *rows = csv_of(CONFIG_PAGE).splitlines()
    Path("my_task.csv").write_text("\n".join([header, *rows * 5]))
    (changes,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    config = yaml.safe_load(CONFIG.read_text()) | yaml.safe_load(changes)
    assert [task.name for task in load_config(config, [CONFIG]).tasks] == ["ioi", "my_task"]


def test_the_example_of_an_own_task_is_accepted(workflow):
    header, *rows = (line.strip() for line in csv_of(CONFIG_PAGE).splitlines() if line.strip())
    names = (
        ("Mary", "John"),
        ("Anna", "James"),
        ("Sarah", "David"),
        ("Laura", "Robert"),
        ("Susan", "Daniel"),
    )
    more = [row.replace("Mary", she).replace("John", he) for she, he in names for row in rows]
    (workflow.folder / "my_task.csv").write_text("\n".join([header, *more]) + "\n")
    task = {"name": "my_task", "file": "my_task.csv", "metric": "logit_diff"}
    config = workflow.write_config("mine.yaml", tasks=[task])
    workflow.run("results-smoke/tasks/pocket/my_task.parquet", config=config)
    assert (workflow.folder / "results-smoke/tasks/pocket/my_task.parquet").exists()


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_code_in_a_list_belongs_to_its_item_on_the_site_too(page):
    """Python-Markdown asks for four spaces, GitHub is content with three."""
    indents = re.findall(r"^( +)```", page.read_text(), re.MULTILINE)
    assert [len(indent) for indent in indents if len(indent) % 4] == []
