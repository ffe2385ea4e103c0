"""The numbers of a finished `make demo`: the pocket suite learns, and has small faithful circuits.

Not part of the default run; `pytest -m demo` runs it.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.demo

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
MODELS = [model["name"] for model in CONFIG["models"] if "variant_of" not in model]
LARGEST, LAST = MODELS[-1], CONFIG["steps"][-1]


def read(name: str) -> pd.DataFrame:
    path = ROOT / CONFIG["results"] / f"tables/{name}.parquet"
    if not path.exists():
        pytest.fail(f"{path} is not there; run make demo first")
    return pd.read_parquet(path)


@pytest.fixture(scope="module")
def behaviour() -> pd.DataFrame:
    return read("behaviour")


@pytest.fixture(scope="module")
def best() -> pd.DataFrame:
    """The best head of each score and step of the largest model."""
    scores = read("components").query("model == @LARGEST").groupby(["score", "step"])
    return scores["value"].max().unstack()


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    return read("circuit_summary")


@pytest.mark.parametrize(
    ("task", "column", "least"),
    [
        ("ioi", "accuracy", 0.95),
        ("ioi", "value", 3),
        ("gendered_pronoun", "accuracy", 0.95),
        ("gendered_pronoun", "value", 2),
        ("greater_than", "value", 0.4),
        ("sva", "value", 0.6),
    ],
)
def test_the_largest_model_does_every_task_in_the_end(behaviour, task, column, least):
    rows = behaviour.query("model == @LARGEST and step == @LAST and task == @task")
    assert rows[column].item() >= least


def test_no_untrained_model_does_any_task(summary):
    start = summary.query("step == 0 and model in @MODELS")
    assert len(start) == len(MODELS) * len(CONFIG["tasks"])
    assert set(start["status"]) == {"no_behaviour"}


def test_most_tasks_of_the_largest_model_have_a_small_faithful_circuit(summary):
    good = "status == 'ok' and f_raw >= 0.8 and edge_fraction < 0.3"
    assert len(summary.query("model == @LARGEST and step == @LAST").query(good)) >= 3


def test_sizes_differ_in_when_they_learn(behaviour):
    """The first step with an accuracy of 0.9, later for the smallest model, or never, but once."""
    learned = behaviour.query("accuracy >= 0.9").groupby(["task", "model"])["step"].min()
    onsets = learned.unstack(fill_value=LAST + 1).reindex(columns=MODELS, fill_value=LAST + 1)
    assert (onsets.nunique(axis=1) > 1).sum() >= 3, onsets
    assert (onsets[MODELS[0]] >= onsets[LARGEST]).sum() >= 3, onsets


@pytest.mark.parametrize(
    ("score", "at_first", "later"),
    [("succession", 0.25, 0.5), ("copy", 30, 80), ("cspa", 0.05, 0.2), ("prev_token", 0.45, 0.8)],
)
def test_heads_of_the_largest_model_come_to_do_what_they_are_named_for(
    best, score, at_first, later
):
    """Some of them less again, when the text asks for other things."""
    assert best.loc[score, 0] < at_first
    assert best.loc[score].max() > later


def test_the_story_says_what_the_tables_say():
    story = run_path(str(ROOT / "benchmarks/story.py"))
    page = story["PAGE"].read_text(encoding="utf-8")
    assert story["NUMBER"].findall(page)
    assert page == story["with_numbers"](page, story["demo"]())


def test_the_larger_sizes_have_induction_and_previous_token_heads():
    scores = read("components").query("step == @LAST").groupby(["model", "score"])["value"].max()
    for model in MODELS[1:]:
        assert scores[model, "induction"] >= 0.45
        assert scores[model, "prev_token"] >= 0.5
