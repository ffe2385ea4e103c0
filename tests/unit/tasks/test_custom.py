from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError, UnknownNameError
from circuitlapse.tasks.custom import build_custom_task
from circuitlapse.tasks.encode import Task

HEADER = "clean,corrupted,correct,wrong,template"
GOOD = [
    f'"So {woman} is","So {man} is", she, he,x'
    for woman, man in (("Mary", "John"), ("Anna", "Paul"))
]
MORE_PLAIN = [row.removesuffix(",x") for row in GOOD * 3][:5]
MORE = GOOD * 4
"""Good rows that make a file long enough."""


def write(folder: Path, *lines: str, name: str = "mine.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def build(tokenizer: Tokenizer, file: Path, **settings: Any) -> Task:
    return build_custom_task("mine", tokenizer, file=file, metric="logit_diff", **settings)


def test_csv_and_json_lines_give_the_same_task(pythia: Tokenizer, tmp_path: Path) -> None:
    table = write(tmp_path, HEADER, '"A, b","A, c", she| her, he,x', *GOOD, *MORE)
    keys = HEADER.split(",")
    rows = [
        ("A, b", "A, c", [" she", " her"], " he", "x"),
        ("So Mary is", "So John is", [" she"], [" he"], "x"),
        ("So Anna is", "So Paul is", " she", " he", "x"),
    ]
    rows += rows[1:] * 4
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
    from_csv = build(pythia, table)
    from_json = build(pythia, write(tmp_path, *lines, name="mine.jsonl"))
    assert from_csv.frame.equals(from_json.frame)
    assert from_csv.frame["correct"].map(len).tolist() == [2, *[1] * 10]
    assert (from_csv.builder, from_csv.options) == ("custom", {"file": "mine.csv"})


def test_every_bad_row_is_reported_at_once_with_its_line(pythia: Tokenizer, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        HEADER,
        GOOD[0],
        "So Mary is,So John Paul is, she, he,too long",
        "",
        "So Mary is,So John is,Patricia, he,no space",
        "So Mary is,So John is, she",
        "So Mary is,So Mary is, she, she,twice",
        "So Mary is ,So John is , she, he,space",
        GOOD[1],
    )
    with pytest.raises(TaskError) as error:
        build(pythia, file)
    head, *lines = str(error.value).splitlines()
    assert head == f"task mine: {file}: 5 of 7 rows break a rule"
    assert [line.split(":")[0].strip() for line in lines] == [f"line {n}" for n in (3, 5, 6, 7, 8)]
    assert "clean has 3 tokens and corrupted 4, but they must be equally long" in lines[0]
    assert (
        "'Patricia' is 2 tokens (Pat|ricia), but must be exactly one; ' Patricia' is one token"
        in lines[1]
    )
    assert "has 3 cells, but line 1 names 5 columns" in lines[2]
    assert "clean and corrupted are the same; ' she' is among the correct and the wrong" in lines[3]
    assert "clean ends in a space, which belongs in front of the answers instead" in lines[4]


def test_json_values_of_another_type_are_reported(pythia: Tokenizer, tmp_path: Path) -> None:
    row = {"clean": 5, "corrupted": "So John is", "correct": 32, "wrong": [" he", 1]}
    file = write(tmp_path, json.dumps(row), name="mine.jsonl")
    with pytest.raises(TaskError) as error:
        build(pythia, file)
    answers = 'must be text like " she" or a list of texts, found'
    assert str(error.value).endswith(
        f"line 1: clean must be text, found 5; correct {answers} 32; wrong {answers} [' he', 1]"
    )


@pytest.mark.filterwarnings("ignore:.*next token of running text")
def test_an_answer_that_continues_the_last_word_by_accident_is_pointed_out(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    file = write(tmp_path, HEADER, *[row.replace(" she", "she") for row in GOOD], *MORE)
    with pytest.warns(UserWarning, match=r"2 answers have no leading space.*'isshe'; ' she' is"):
        task = build(pythia, file)
    assert pythia.decode(list(task.frame["correct"][0])) == "she"


@pytest.mark.filterwarnings("ignore:.*no leading space")
def test_an_answer_that_running_text_would_join_with_the_prompt_is_pointed_out(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    """There it is no token of its own, so the model never predicts it."""
    ends = [{"clean": "So Mary is a", "corrupted": "So John is a", "correct": "way", "wrong": "m"}]
    rows = ends + [
        {"clean": f"So {name} is", "corrupted": "So Kim is", "correct": " she", "wrong": " he"}
        for name in ("Mary", "Anna", "Lisa", "Emily", "Laura", "Karen", "Nancy", "Susan", "Helen")
    ]
    file = write(tmp_path, *map(json.dumps, rows), name="mine.jsonl")
    message = (
        r"mine.jsonl: in 1 rows, the right answer is not the next token of running text, such as "
        r"'way': the text ends in 'away'$"
    )
    with pytest.warns(UserWarning, match=message):
        assert len(build(pythia, file)) == 10


def test_digits_that_continue_a_number_are_meant(pythia: Tokenizer, tmp_path: Path) -> None:
    file = write(tmp_path, HEADER, "from 1732 to 17,from 1701 to 17,33|34,31,", GOOD[0], *MORE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(build(pythia, file)) == 10


def test_a_subset_is_drawn_by_seed_and_kept_in_order(pythia: Tokenizer, tmp_path: Path) -> None:
    names = ["Mary", "Anna", "Lisa", "Emily", "Laura", "Karen", "Nancy", "Susan", "Sarah", "Helen"]
    rows = [f"So {name} is,So John is, she, he,{name}" for name in names]
    file = write(tmp_path, HEADER, *rows)
    first, again, other = (
        build(pythia, file, n_prompts=5, seed=seed).frame["template"].tolist() for seed in (0, 0, 4)
    )
    assert first == again != other
    assert first == sorted(first, key=names.index)
    assert len(set(first)) == 5
    more = build(pythia, file, n_prompts=12)
    assert len(more) == 10
    assert more.dropped == {"prompts that were asked for but do not exist": 2}


def test_template_is_optional_and_the_metric_is_the_users(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    file = write(tmp_path, *[line.rpartition(",")[0] for line in (HEADER, *GOOD, *MORE)])
    task = build_custom_task("mine", pythia, file=file, metric="prob_diff", prepend_bos=True)
    assert task.metric == "prob_diff"
    assert set(task.frame["template"]) == {""}
    assert task.frame["clean_tokens"][0][0] == 0
    with pytest.raises(
        UnknownNameError, match="unknown metric 'prob_dif'; did you mean 'prob_diff'"
    ):
        build_custom_task("mine", pythia, file=file, metric="prob_dif")


def test_a_file_of_fewer_rows_than_any_task_has_is_too_small(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    file = write(tmp_path, HEADER, *MORE, GOOD[0])
    with pytest.raises(TaskError) as error:
        build(pythia, file)
    assert str(error.value) == (
        f"task mine: {file}: has 9 prompt pairs, but a task needs at least 10, "
        "the smallest n_prompts"
    )
    assert len(build(pythia, write(tmp_path, HEADER, *MORE, *GOOD))) == 10


def test_a_prompt_that_ends_in_its_own_answer_is_used_and_pointed_out(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    repeats = "and then Mary,and then John, Mary, John,"
    file = write(tmp_path, HEADER, GOOD[0], repeats, "", *[repeats] * 11)
    with pytest.warns(UserWarning, match="clean ends in its own answer") as caught:
        task = build(pythia, file)
    assert len(task) == 13
    (warning,) = caught
    assert str(warning.message).startswith(
        f"{file}: clean ends in its own answer, such as ' Mary', in line 3, 5, 6, 7, 8, 9, 10, 11, "
        "12, 13 and 2 more;"
    )


def test_a_column_of_groups_overrides_twins(pythia: Tokenizer, tmp_path: Path) -> None:
    rows = [f'"So {name} is","So Mary is", she, he' for name in ("Anna", "Paul", "Emma", "Lisa")]
    twin = '"So Mary is","So Anna is", she, he'
    header, named = HEADER.removesuffix(",template"), ("g1", "g2", "g1", " 7", "")
    plain = write(tmp_path, header, *rows, twin, *MORE_PLAIN)
    assert build(pythia, plain).frame["group"].tolist()[:5] == [0, 1, 2, 3, 0]
    lines = [f"{row},{name}" for row, name in zip([*rows, twin], named, strict=True)]
    own = write(tmp_path, f"{header},group", *lines, *[f"{row},g2" for row in MORE_PLAIN])
    assert build(pythia, own).frame["group"].tolist() == [0, 1, 0, 2, 3, 1, 1, 1, 1, 1]


def test_a_file_of_one_group_is_refused(pythia: Tokenizer, tmp_path: Path) -> None:
    twins = ['"So Mary is","So Anna is", she, he', '"So Anna is","So Mary is", he, she'] * 5
    header = HEADER.removesuffix(",template")
    with pytest.raises(TaskError, match=r"has only twins: .* Name the groups in the column group"):
        build(pythia, write(tmp_path, header, *twins))
    same = [f"{row},a" for row in twins]
    with pytest.raises(TaskError, match="has the same group in every row; intervals need"):
        build(pythia, write(tmp_path, f"{header},group", *same))


def test_a_group_is_text_or_a_whole_number(pythia: Tokenizer, tmp_path: Path) -> None:
    keys = ("clean", "corrupted", "correct", "wrong", "group")
    rows = [("So Mary is", "So John is", " she", " he", group) for group in (1, "b", [2], None)]
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows * 3]
    with pytest.raises(TaskError, match=r"line 3: group must be text or a whole number, found \[2"):
        build(pythia, write(tmp_path, *lines, name="mine.jsonl"))


def test_equal_rows_are_one_measurement(
    pythia: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """24 copies of a row are refused, and copies of two rows are two groups and not 24."""
    with pytest.raises(TaskError, match="has only twins: rows with the same clean prompt"):
        build(pythia, write(tmp_path, HEADER, *GOOD[:1] * 24))
    caplog.clear()
    file = write(tmp_path, HEADER, *GOOD * 12)
    assert build(pythia, file).frame["group"].tolist() == [0, 1] * 12
    assert caplog.messages == [
        f"{file}: only 2 of 24 rows are different; equal rows count as one measurement"
    ]


def test_equal_rows_cannot_have_different_groups(pythia: Tokenizer, tmp_path: Path) -> None:
    """With a name for each, 24 copies would have a standard error of 0."""
    header = HEADER.removesuffix(",template")
    rows = [f"{row.removesuffix(',x')},{name}" for name in range(12) for row in GOOD[:1]]
    with pytest.raises(TaskError) as error:
        build(pythia, write(tmp_path, f"{header},group", *rows))
    head, first, *_ = str(error.value).splitlines()
    assert head.endswith("11 of 12 rows break a rule")
    assert first == (
        "  line 3: has the prompts of line 2, but the group '1' in place of '0'; equal rows are "
        "one measurement, so they need one group"
    )
    unnamed = [f"{row.removesuffix(',x')}," for row in GOOD * 6]
    named = '"So Lisa is","So Paul is", she, he,a'
    task = build(pythia, write(tmp_path, f"{header},group", *unnamed, named))
    assert task.frame["group"].tolist() == [0, 1] * 6 + [2]


def test_prompts_that_end_in_a_line_end_and_begin_with_their_own_bos(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    rows = [
        {"clean": f"<|endoftext|>So {name} is:\n", "corrupted": "<|endoftext|>So Paul is:\n"}
        | {"correct": "She", "wrong": "He"}
        for name in (
            "Mary",
            "Anna",
            "Lisa",
            "Emily",
            "Laura",
            "Karen",
            "Nancy",
            "Susan",
            "Sarah",
            "Helen",
        )
    ]
    file = write(tmp_path, *map(json.dumps, rows), name="mine.jsonl")
    without, with_bos = (build(pythia, file, prepend_bos=bos).frame for bos in (False, True))
    assert without["clean_tokens"].tolist() == with_bos["clean_tokens"].tolist()
    assert (
        pythia.decode(list(without["clean_tokens"][0]), skip_special_tokens=False)
        == rows[0]["clean"]
    )
