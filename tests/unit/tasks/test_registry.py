from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tokenizers import Tokenizer

from circuitlapse.exchange.head_sets import head_sets
from circuitlapse.heads.naming import Naming
from circuitlapse.schemas import HEADS, ROLES
from circuitlapse.settings import suite as settings
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import HeadSet, Metric, RoleRule
from tests.unit.tables.test_circuits import make_record
from tests.unit.tasks.conftest import DEFAULT


@pytest.mark.parametrize("builder", BUILDERS)
def test_logit_difference_is_for_one_answer_and_probability_difference_for_many(
    pythia: Tokenizer, builder: str
) -> None:
    frame = build_task("mine", pythia, builder=builder, n_prompts=20, seed=0).frame
    single = (frame["correct"].map(len) == 1) & (frame["wrong"].map(len) == 1)
    assert single.nunique() == 1
    expected = Metric.LOGIT_DIFF if single.all() else Metric.PROB_DIFF
    assert BUILDERS[builder].metric == expected


def test_each_builder_is_a_value_of_the_key_builder() -> None:
    kinds = get_args(settings.Task.model_fields["builder"].annotation)
    assert [name for kind in kinds for name in get_args(kind)] == list(BUILDERS)


def test_each_option_of_a_builder_is_a_key_of_a_task_with_the_same_values() -> None:
    for builder in BUILDERS.values():
        for option, values in builder.options.items():
            kinds = get_args(settings.Task.model_fields[option].annotation)
            assert tuple(value for kind in kinds for value in get_args(kind)) == values


def test_the_readme_has_a_row_for_each_task_of_the_default_and_names_the_others(root: Path) -> None:
    page = (root / "README.md").read_text().partition("| task | clean prompt")[2]
    table, _, rest = page.partition("\n\n")
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == DEFAULT
    others = [name for name in BUILDERS if name not in DEFAULT]
    assert re.findall(r"`(\w+)`", rest.partition("\n\n")[0]) == others


def test_the_page_of_methods_says_of_each_further_task_which_models_do_it(root: Path) -> None:
    page = (root / "docs" / "methods.md").read_text().partition("| further task |")[2]
    rows = [line.split("|") for line in page.partition("\n\n")[0].splitlines()[2:]]
    assert [cells[1].strip(" `") for cells in rows] == list(BUILDERS)[len(DEFAULT) :]
    assert all(re.search(r"\d [MB]\b", cells[-2]) for cells in rows)


@pytest.mark.parametrize("builder", BUILDERS)
def test_titles_end_in_an_abbreviation(builder: str) -> None:
    assert re.search(r" \([A-Z]+\)$", BUILDERS[builder].title)


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_typical_length_is_that_of_the_longest_of_100_prompts_in_pythias_tokens(
    pythia: Tokenizer, builder: str
) -> None:
    task = build_task("mine", pythia, builder=builder, n_prompts=100, seed=0)
    assert task.frame["clean_tokens"].map(len).max() == BUILDERS[builder].prompt_tokens


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_sets_of_heads_of_a_task_are_those_that_steps_exchange(builder: str) -> None:
    naming = Naming(RoleRule.CONTROLLED, (100,))
    nothing = {"roles": ROLES.empty(), "scores": HEADS.empty(), "naming": naming}
    found = head_sets(make_record(task=builder), builder=builder, **nothing)
    assert tuple(found) == (HeadSet.CIRCUIT, *BUILDERS[builder].head_sets)


def test_reading_the_registry_loads_no_numerical_library() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'tokenizers'}"
    code = f"import sys, circuitlapse.tasks.registry; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
