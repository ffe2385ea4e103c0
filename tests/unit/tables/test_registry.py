from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections import namedtuple

import pytest

from circuitlapse.paths import Paths
from circuitlapse.schemas import SCHEMAS
from circuitlapse.tables.registry import ALL_TABLES, AUTHORS, COMPARISONS, JOBS, Job, job_of

ALL = list(
    {job.make: job for jobs in (JOBS, AUTHORS, COMPARISONS) for job in jobs.values()}.values()
)


@pytest.mark.parametrize("job", ALL, ids=lambda job: job.make)
def test_a_function_takes_what_its_entry_names_and_nothing_else(job):
    inspect.signature(job.function()).bind(
        **dict.fromkeys((*job.files, *job.inputs, *job.settings))
    )


@pytest.mark.parametrize("job", [job for job in ALL if len(job.tables) > 1])
def test_tables_that_are_made_together_come_under_their_names(job):
    function = job.function()
    made = getattr(sys.modules[function.__module__], function.__annotations__["return"])
    assert made._fields == tuple(job.tables)


def test_tables_are_told_apart_by_name_and_not_by_position(monkeypatch):
    made = namedtuple("Made", ["second", "first"])("2", "1")
    job = Job("", "module:function", {"first": "", "second": ""})
    monkeypatch.setattr(Job, "function", lambda _: lambda **given: made)
    assert list(job.run().items()) == [("first", "1"), ("second", "2")]


def test_every_table_has_a_schema_and_is_made_by_one_job():
    assert set(ALL_TABLES) <= set(SCHEMAS)
    for jobs in (JOBS, AUTHORS, COMPARISONS):
        tables = [table for job in jobs.values() for table in job.tables]
        assert len(tables) == len(set(tables))
    of_single_jobs = {"behaviour_by_group", "heads", "head_scores", "published_curve"}
    of_single_jobs |= {"role_splits"}
    assert set(SCHEMAS) - set(ALL_TABLES) == of_single_jobs


def test_a_rule_has_the_job_of_its_name():
    assert job_of("aggregate_circuits") is JOBS["circuits"]
    assert job_of("aggregate_published_circuits") is AUTHORS["circuits"]
    assert job_of("aggregate_agreement") is COMPARISONS["agreement"]


@pytest.mark.parametrize("job", ALL, ids=lambda job: job.make)
def test_an_entry_names_paths_schemas_and_tables_that_exist(job):
    for source in job.files.values():
        template = getattr(Paths("results"), source.path)
        assert ("{table}" in template) == bool(source.table)
        assert source.schema in SCHEMAS if template.endswith(".parquet") else not source.schema
    assert set(job.inputs) <= set(ALL_TABLES)


def test_no_table_is_made_from_itself():
    made: set[str] = set()
    jobs = dict(JOBS)
    while ready := [name for name, job in jobs.items() if made.issuperset(job.inputs)]:
        for name in ready:
            made |= jobs.pop(name).tables.keys()
    assert not jobs


def test_the_registry_needs_neither_pandas_nor_torch_and_the_tables_no_torch():
    code = (
        "import sys, circuitlapse.tables.registry as r\n"
        "assert not {'pandas', 'torch'} & set(sys.modules)\n"
        "[job.function() for job in r.JOBS.values()]\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_guide_to_the_workflow_lists_every_table_with_the_rule_that_makes_it(root):
    rows = re.findall(
        r"^\| `aggregate_(\w+)` \| .* \| (.+) \|$",
        (root / "docs/workflow.md").read_text(),
        re.MULTILINE,
    )
    listed = [(name, table) for name, cell in rows for table in re.findall(r"`(\w+)`", cell)]
    jobs = {**JOBS, **COMPARISONS}
    made = [(name, table) for name, job in jobs.items() for table in job.tables]
    assert sorted(listed) == sorted(made)
