"""What is checked before the first job, and when nothing is."""

import json
import sys

import pytest

from circuitlapse.plan.own_files import own_files, problem_of_files
from circuitlapse.plan.workflow import Plan
from tests.unit.plan.conftest import config_of

TRAINS, FETCHES = {"train_suite", "make_task"}, {"fetch_step", "make_task"}


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task with a file, and a text; the working directory has both."""
    monkeypatch.chdir(tmp_path)
    rows = ["clean,corrupted,correct,wrong", *["Mary is,John is, she, he"] * 10]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    (tmp_path / "text.txt").write_text("John is here.")
    return {"name": "mine", "file": "mine.csv", "metric": "logit_diff"}


def plan_of(root, name="smoke", **changes):
    return Plan(config_of(root, name, **changes))


def test_without_a_file_of_the_user_nothing_is_checked_and_no_process_starts(root, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert problem_of_files(plan_of(root), TRAINS) == ""


def test_nothing_is_checked_unless_models_are_made(root, task):
    plan = plan_of(root, tasks=[task])
    assert own_files(plan, {"make_task", "plot_circuits"}) == {}
    assert own_files(plan, TRAINS)["tasks"] == [
        {**task, "n_prompts": None, "seed": plan.config.seed, "prepend_bos": False}
    ]
    assert own_files(plan, TRAINS)["text"] is None


def test_a_text_is_checked_with_what_the_scores_need(root, task):
    plan = plan_of(root, heads={"text": "text.txt", "n_mean": 30})
    found = own_files(plan, TRAINS)
    assert found["tasks"] == []
    assert found["text"] == {
        "path": "text.txt", "n_mean": 30, "n_documents": 17, "n_positions": 61
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_published_models_are_checked_once_their_tokenizer_is_here(root, task, tmp_path):
    plan = plan_of(root, "pythia-quick", tasks=[task])
    assert own_files(plan, FETCHES) == {}
    tokenizer = tmp_path / plan.paths.tokenizer.format(suite=plan.config.suite)
    tokenizer.parent.mkdir(parents=True)
    tokenizer.touch()
    assert own_files(plan, FETCHES)["tokenizer"] == str(tokenizer.relative_to(tmp_path))
    assert own_files(plan, {*FETCHES, "take_tokenizer"}) == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 0", ""),
        ("echo task mine: bad; exit 1", "task mine: bad"),
        ("echo Killed >&2; exit 9", "the files of the configuration cannot be checked: Killed"),
    ],
)
def test_what_the_process_says_is_the_problem(root, task, tmp_path, monkeypatch, body, said):
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\ncat > asked.json\n{body}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    plan = plan_of(root, tasks=[task])
    assert problem_of_files(plan, TRAINS) == said
    assert json.loads((tmp_path / "asked.json").read_text()) == own_files(plan, TRAINS)
