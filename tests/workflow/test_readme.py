"""What the README says can be done."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from circuitlapse.config import load_config
from circuitlapse.suite.corpus import make_suite_tokenizer
from circuitlapse.tasks import build_task

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONFIG = ROOT / "config/config.yaml"


def test_the_python_example_runs(finished):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = re.sub(r"results/models/[^\"]+", "results-smoke/models/pocket-tiny/step300", code)
    code = code.replace("results/tasks", "results-smoke/tasks").replace("scores, 100", "scores, 10")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=finished.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.fullmatch(r"\d+ of 42 edges: -?\d+\.\d\d\n", done.stdout), done.stderr


def test_the_model_of_the_python_example_is_one_that_the_demo_makes():
    config = yaml.safe_load(CONFIG.read_text())
    name, step = re.search(r"results/models/([^/]+)/step(\d+)", README).groups()
    assert name in {model["name"] for model in config["models"]}
    assert int(step) == config["steps"][-1]


@pytest.mark.parametrize("word", sorted(set(re.findall(r"^make (\w+)|`make (\w+)", README, re.M))))
def test_every_make_target_exists(word):
    target = next(filter(None, word))
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_rule_of_the_tables_exists():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    named = re.findall(r"^\|[^|]*\|?[^|]*\| `((?:plot|make|train|cache|discover|aggregate)_\w+)`|"
                       r"^\| `(\w+_\w+)` \|", README, re.MULTILINE)  # fmt: skip
    names = {name for pair in named for name in pair if name}
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts <= names
    assert all(f"rule {name}:" in rules for name in scripts)


def test_every_example_prompt_is_one_of_the_demo():
    """So the tokenizer of the pocket suite knows it, and the models are asked it."""
    examples = dict(re.findall(r"^\| `(\w+)` \| ([A-Z][^|]*[^| ]) \|.*\|.*\|.*\|$", README, re.M))
    tokenizer = make_suite_tokenizer()
    config = load_config(yaml.safe_load(CONFIG.read_text()), [CONFIG])
    assert examples.keys() == {task.name for task in config.tasks}
    for task in config.tasks:
        how = task.model_dump(include={"builder", "n_prompts", "seed", "prepend_bos"})
        built = build_task(task.name, tokenizer, options=task.options, **how)
        assert examples[task.name] in set(built.frame["clean"])


def test_no_line_is_too_long_to_read_in_a_terminal():
    assert [line for line in README.splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_to_a_file_leads_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()


def test_the_example_of_an_own_task_is_accepted(workflow):
    (csv,) = re.findall(r"```csv\n(.*?)```", README, re.DOTALL)
    text = "".join(line.strip() + "\n" for line in csv.splitlines())
    (workflow.folder / "my_task.csv").write_text(text)
    task = {"name": "my_task", "file": "my_task.csv", "metric": "logit_diff"}
    config = workflow.write_config("mine.yaml", tasks=[task])
    workflow.run("results-smoke/tasks/pocket/my_task.parquet", config=config)
    assert (workflow.folder / "results-smoke/tasks/pocket/my_task.parquet").exists()
