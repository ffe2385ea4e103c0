from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from circuitlapse.figures.registry import (
    COMPARISONS,
    DIAGRAMS,
    FIGURES,
    OF_AUTHORS,
    figure_of,
    figure_rows,
    rule_rows,
)
from circuitlapse.tables.registry import ALL_TABLES
from circuitlapse.tables.size_correlation import size_correlation_table
from circuitlapse.tables.stability import stability_table
from tests.unit.tables.test_published import ORDER, STEPS, behaviour_of, record, tables_of

ALL = FIGURES | COMPARISONS | DIAGRAMS
OTHER_CAPTIONS = {"workflow", "reproduction"}


@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_drawn_by_a_function_of_its_tables_and_settings(name):
    figure = ALL[name]
    parameters = inspect.signature(figure.function()).parameters.values()
    accepted = {one.name for one in parameters}
    required = {one.name for one in parameters if one.default is one.empty}
    given = {*figure.tables, *figure.settings}
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        assert figure.tables[0] in accepted
    else:
        assert required <= given <= accepted


def test_every_table_of_a_figure_exists():
    assert {table for figure in ALL.values() for table in figure.tables} <= ALL_TABLES.keys()


def test_figures_of_the_paper_that_need_no_head_scores_are_drawn_from_the_authors_results():
    """Scores of heads are in pickles."""
    assert {"behaviour", "circuits", "faithfulness", "stability"} <= OF_AUTHORS.keys()
    assert not {"components", "algorithm", "transfer", "swaps"} & OF_AUTHORS.keys()
    assert figure_of("plot_published_circuits") is figure_of("plot_circuits") is FIGURES["circuits"]
    assert figure_of("plot_agreement") is COMPARISONS["agreement"]


@pytest.fixture(scope="module")
def authors():
    """Tables and settings of published results: two models, means without intervals or floors."""
    records = [
        record(step, model=model, task=task)
        for model in ORDER["models"]
        for task in ORDER["tasks"]
        for step in STEPS
    ]
    found = tables_of(records)
    behaviour, names = behaviour_of(records), dict(zip(ORDER["models"], ("A", "B"), strict=True))
    originals = {"originals": ORDER["models"]}
    stability = stability_table(
        records, circuit_summary=found.circuit_summary, stability={}, **ORDER, **originals
    )
    sizes = size_correlation_table(
        found.circuit_summary, behaviour, tasks=ORDER["tasks"], min_step=1, **originals
    )
    tables = {"behaviour": behaviour, "stability": stability, "size_correlation": sizes}
    settings = {"labels": names, "tasks": ORDER["tasks"], "min_step": 1, "threshold": 0.8}
    settings |= {"variants": {name: [name] for name in names}, "run_labels": names}
    return {**found._asdict(), **tables}, settings


@pytest.mark.parametrize("name", OF_AUTHORS)
def test_every_figure_of_the_authors_can_be_drawn_without_intervals_and_noise_floors(name, authors):
    tables, settings = authors
    figure = OF_AUTHORS[name]
    given = {table: tables[table] for table in figure.tables}
    drawn = figure.function()(**given, **{key: settings[key] for key in figure.settings})
    said = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert not [text for text in said if "n = 1" in text]


def test_every_figure_has_a_caption_and_every_caption_a_figure(root):
    captions = {path.stem for path in (root / "workflow/report").glob("*.rst")}
    assert captions == ALL.keys() | OTHER_CAPTIONS


def test_captions_say_where_the_level_of_their_intervals_is_set(root):
    for path in (root / "workflow/report").glob("*.rst"):
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert not re.search(r"\d %( \w+)? intervals?\b", text), path.name


def test_the_table_of_figures_names_each_once_and_what_shows_the_same_in_one_row():
    rows = re.findall(r"^\| (`[^|]+`) \| [^|]+ \|$", figure_rows(), re.MULTILINE)
    named = []
    for row in rows:
        first, *others = re.findall(r"`(…?\w+)(?:/…)?`", row)
        named += [first, *(other.replace("…", first) for other in others)]
    assert sorted(named) == sorted([*FIGURES, *DIAGRAMS])
    assert "`stability`, `…_edges`, `…_reference`" in rows


def test_the_table_of_rules_has_a_row_per_figure_with_its_tables():
    rows = re.findall(r"^\| `plot_(\w+)` \| `[^|]+` \| (.*) \|$", rule_rows(), re.MULTILINE)
    assert dict(rows) == {
        name: ", ".join(f"`{table}`" for table in figure.tables) for name, figure in ALL.items()
    }


def test_the_snakefile_can_read_the_registry_without_a_plotting_library():
    heavy = "{'matplotlib', 'pandas', 'numpy', 'torch'}"
    code = f"import sys, circuitlapse.figures.registry; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_figures_need_no_torch():
    modules = {figure.draw.partition(":")[0] for figure in ALL.values()}
    code = "; ".join(f"import circuitlapse.figures.{module}" for module in sorted(modules))
    code += "; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
