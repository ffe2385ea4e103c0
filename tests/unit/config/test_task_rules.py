"""What is wrong between the keys of a task. Each test asserts on the whole line."""

from pathlib import Path

import pytest


@pytest.fixture
def csv(tmp_path) -> str:
    rows = ["clean,corrupted,correct,wrong", *["Mary is,John is, she, he"] * 10]
    (tmp_path / "mine.csv").write_text("\n".join(rows), encoding="utf-8")
    return "mine.csv"


def test_a_name_that_is_no_built_in_task_gets_the_nearest(errors):
    assert errors("tasks: [{name: greater_then}]") == [
        "user.yaml: tasks[0].name = 'greater_then' is not a built-in task (ioi, "
        "gendered_pronoun, greater_than, sva), so the task needs a builder or a file; "
        "did you mean 'greater_than'?"
    ]


def test_a_file_that_does_not_exist_is_named(errors):
    assert errors("tasks: [{name: a, file: data/no.csv, metric: logit_diff}]") == [
        f"user.yaml: tasks[0].file = 'data/no.csv' does not exist in {Path.cwd()}."
    ]


def test_a_file_without_the_right_columns_is_found_before_anything_runs(errors, csv):
    Path(csv).write_text("clean;corrupted;correct;wrong\n", encoding="utf-8")
    (line,) = errors(f"tasks: [{{name: a, file: {csv}, metric: logit_diff}}]")
    assert line.startswith(
        "user.yaml: tasks[0].file = 'mine.csv' cannot be used: line 1 must name the columns: "
    )
    assert line.endswith("; put commas between them, not ';'.")


def test_a_bad_row_is_found_before_anything_runs(errors, csv):
    with Path(csv).open("a", encoding="utf-8") as file:
        file.write("\nMary is,,,\n")
    assert errors(f"tasks: [{{name: a, file: {csv}, metric: logit_diff}}]") == [
        "user.yaml: tasks[0].file = 'mine.csv' cannot be used: 1 of 11 rows break a rule",
        "  line 12: corrupted is empty; correct has an empty answer; wrong has an empty answer.",
    ]


def test_a_file_must_be_csv_or_jsonl(errors):
    assert errors("tasks: [{name: a, file: mine.txt, metric: logit_diff}]") == [
        "user.yaml: tasks[0].file = 'mine.txt' must be a path that ends in .csv or .jsonl."
    ]


def test_a_task_has_a_file_or_a_builder_but_not_both(errors, csv):
    assert errors(f"tasks: [{{name: a, builder: ioi, file: {csv}, metric: logit_diff}}]") == [
        "user.yaml: tasks[0].builder cannot be combined with file: a task has one source of "
        "prompts; remove one of them."
    ]


def test_a_file_needs_a_metric(errors, csv):
    assert errors(f"tasks: [{{name: a, file: {csv}}}]") == [
        "user.yaml: tasks[0].metric is missing: Score of a prompt. Only for a task with a "
        "file: a builder has a fixed metric. For example 'metric: logit_diff'."
    ]


def test_a_builder_fixes_its_metric(errors):
    assert errors("tasks: [{name: sva, metric: logit_diff}]") == [
        "user.yaml: tasks[0].metric is only for a task with a file; the builder sva has the "
        "fixed metric prob_diff."
    ]


@pytest.mark.parametrize("builder", ["gendered_pronoun", "greater_than", "sva"])
def test_only_ioi_has_a_corruption(errors, builder):
    assert errors(f"tasks: [{{name: a, builder: {builder}, corruption: s2_to_io}}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_io' is only for the builder ioi."
    ]


def test_a_file_has_no_corruption(errors, csv):
    task = f"{{name: ioi, file: {csv}, metric: logit_diff, corruption: s2_to_io}}"
    assert errors(f"tasks: [{task}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_io' is only for the builder ioi."
    ]


def test_an_unknown_corruption_is_reported_once(errors):
    assert errors("tasks: [{name: sva, corruption: s2_to_oi}]") == [
        "user.yaml: tasks[0].corruption = 's2_to_oi' must be one of s2_to_io, s2_to_random or "
        "null; did you mean 's2_to_io'?"
    ]


@pytest.mark.parametrize("builder", ["ioi", "greater_than"])
def test_prompts_that_are_drawn_at_random_need_a_number(errors, builder):
    assert errors(f"tasks: [{{name: {builder}, n_prompts: null}}]") == [
        "user.yaml: tasks[0].n_prompts = null takes all prompts, but the builder "
        f"{builder} draws them at random; give a number."
    ]
