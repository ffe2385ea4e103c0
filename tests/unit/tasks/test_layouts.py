from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.custom import build_custom_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.layouts import LAYOUTS, OWN, nearest_layout
from circuitlapse.tasks.prompt_file import check_file

NAMES = ["Mary", "Anna", "Lisa", "Emily", "Laura", "Karen", "Nancy", "Susan", "Sarah", "Helen"]
MEN = ["John", "Paul", "Mark", "David", "James", "Robert", "Peter", "Brian", "Kevin", "Adam"]
FRAME = "When {} and {} met, {} spoke to"
OWN_ROWS = [
    {
        "clean": FRAME.format(woman, man, man),
        "corrupted": FRAME.format(woman, man, woman),
        "correct": f" {woman}",
        "wrong": f" {man}",
    }
    for woman, man in zip(NAMES, MEN, strict=True)
]

Rows = Sequence[Mapping[str, Any]]


def write(folder: Path, name: str, rows: Rows) -> Path:
    """Write rows as the libraries do: CSV, JSON Lines, JSON with `prompts`, or Parquet."""
    file = folder / name
    if file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".parquet":
        pd.DataFrame(list(rows)).to_parquet(file)
    elif file.suffix == ".jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        file.write_text(json.dumps({"seq_labels": ["a"], "prompts": rows}))
    return file


def build(tokenizer: Tokenizer, file: Path, metric: str = "logit_diff") -> Task:
    return build_custom_task("mine", tokenizer, file=file, metric=metric)


def eap_ig(tokenizer: Tokenizer) -> Rows:
    return [
        {
            "clean": row["clean"],
            "corrupted": row["corrupted"],
            "correct_idx": tokenizer.encode(row["correct"]).ids[0],
            "incorrect_idx": tokenizer.encode(row["wrong"]).ids[0],
        }
        for row in OWN_ROWS
    ]


def auto_circuit(_: Tokenizer) -> Rows:
    return [
        {
            "clean": row["clean"],
            "corrupt": row["corrupted"],
            "answers": [row["correct"]],
            "wrong_answers": [row["wrong"]],
        }
        for row in OWN_ROWS
    ]


def mib_names(_: Tokenizer) -> Rows:
    """The keys of `mib-bench/ioi`, and two of its eight counterfactuals."""
    rows = []
    for woman, man, row in zip(NAMES, MEN, OWN_ROWS, strict=True):
        choices = [man, woman]
        other = {"prompt": row["corrupted"], "choices": choices, "answerKey": 0}
        rows.append(
            {
                "template": "",
                "metadata": {"indirect_object": woman, "subject": man},
                "prompt": row["clean"],
                "choices": choices,
                "answerKey": 1,
                "abc_counterfactual": other | {"prompt": "something else"},
                "s2_io_flip_counterfactual": other,
            }
        )
    return rows


@pytest.mark.parametrize(
    ("name", "layout", "make"),
    [
        ("a.csv", "EAP-IG", eap_ig),
        ("a.jsonl", "EAP-IG", eap_ig),
        ("a.json", "auto-circuit", auto_circuit),
        ("a.jsonl", "auto-circuit", auto_circuit),
        ("a.parquet", "MIB (IOI)", mib_names),
        ("a.jsonl", "MIB (IOI)", mib_names),
    ],
)
def test_the_same_pairs_are_the_same_task_in_every_layout(
    pythia: Tokenizer,
    tmp_path: Path,
    name: str,
    layout: str,
    make: Callable[[Tokenizer], Rows],
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = build(pythia, write(tmp_path, "own.jsonl", OWN_ROWS))
    rows = make(pythia)
    file = write(tmp_path, name, rows)
    check_file(file)
    with caplog.at_level("INFO", logger="circuitlapse"):
        task = build(pythia, file)
    pd.testing.assert_frame_equal(task.frame, own.frame)
    assert task.dropped == {}
    said, example = caplog.messages
    assert said.startswith(f"{file}: has the columns ")
    assert said.endswith(f", so it is read as {layout}")
    assert example.endswith(f"{OWN_ROWS[0]['clean']!r}; right is ' Mary', wrong is ' John'")


def test_a_file_in_our_own_layout_is_not_announced(
    pythia: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="circuitlapse"):
        build(pythia, write(tmp_path, "own.csv", OWN_ROWS))
    assert caplog.messages == []


@pytest.mark.filterwarnings("ignore:.*next token of running text")
def test_years_of_eap_ig_have_the_answers_of_greater_than(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    """A label is the start year's last two digits, without a leading zero."""
    built = build_task("mine", pythia, builder="greater_than", n_prompts=97, seed=0)
    rows = [
        {"clean": row.clean, "corrupted": row.corrupted, "label": 99 - len(row.correct)}
        for row in built.frame.itertuples()
    ]
    assert {str(row["label"]) for row in rows} >= {"2", "98"}
    task = build(pythia, write(tmp_path, "years.csv", rows), metric="prob_diff")
    for column in ("clean_tokens", "corrupted_tokens", "correct", "wrong", "end"):
        assert task.frame[column].tolist() == built.frame[column].tolist()


def test_several_ids_are_several_answers(pythia: Tokenizer, tmp_path: Path) -> None:
    """As third parties write them: a list in the text of a cell."""
    he, she, it = (pythia.encode(word).ids[0] for word in (" he", " she", " it"))
    rows = [row | {"correct_idx": f"{she}.0", "incorrect_idx": [he, it]} for row in eap_ig(pythia)]
    frame = build(pythia, write(tmp_path, "a.csv", rows)).frame
    assert set(frame["correct"]) == {(she,)}
    assert set(frame["wrong"]) == {(he, it)}


def test_choices_of_mib_are_labels_and_its_other_labels_may_be_numbers(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    rows = [
        {
            "prompt": f"{name} is red.\nA. red\nB. blue\nAnswer:",
            "choices": {"label": ["A", "B"], "text": ["red", "blue"]},
            "answerKey": 0,
            "label": "A",
            "symbol_counterfactual": {
                "prompt": f"{name} is red.\n1. red\n2. blue\nAnswer:",
                "choices": {"label": [1, 2], "text": ["red", "blue"]},
                "answerKey": 0,
            },
        }
        for name in NAMES
    ]
    task = build(pythia, write(tmp_path, "a.parquet", rows))
    assert pythia.decode(list(task.frame["correct"][0])) == "A"
    assert pythia.decode(list(task.frame["wrong"][0])) == "1"
    assert task.frame["clean"][0] == rows[0]["prompt"]


def sums(n_rows: int) -> list[dict[str, Any]]:
    """Rows of MIB's arithmetic: prompts end in a space, some rows cannot be used."""
    return [
        {
            "template": "Q: How much is {op1} plus {op2}? A: ",
            "prompt": f"Q: How much is {20 + row} plus 11? A: ",
            "label": f"{31 + row}",
            "operator": "+",
            "random_counterfactual": {
                "prompt": f"Q: How much is {20 + row} plus 12? A: ",
                "label": 32 + row,
            },
        }
        for row in range(n_rows)
    ]


@pytest.mark.filterwarnings("ignore:.*next token of running text")
def test_sums_of_mib_keep_their_last_space_and_rows_that_cannot_be_used_are_left_out(
    pythia: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = sums(14)
    rows[3]["random_counterfactual"] = None
    rows[5]["random_counterfactual"]["label"] = int(rows[5]["label"])
    rows[7]["random_counterfactual"]["prompt"] = "Q: How much is 20 plus one hundred? A: "
    file = write(tmp_path, "a.jsonl", rows)
    check_file(file)
    task = build(pythia, file)
    assert task.frame["clean"].tolist() == [
        row["prompt"] for place, row in enumerate(rows) if place not in (3, 5, 7)
    ]
    assert set(task.frame["template"]) == {rows[0]["template"]}
    assert pythia.decode(list(task.frame["correct"][0])) == "31"
    assert task.dropped == {"rows that break a rule": 3}
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage().startswith(
        f"{file}: 3 of 14 rows are left out; the first is line 4"
    )


def test_too_few_rows_that_can_be_used_are_an_error_with_their_problems(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    rows = sums(12)
    for row in rows[:3]:
        row["label"] = "1234567"
    with pytest.raises(TaskError) as error:
        build(pythia, write(tmp_path, "a.json", rows))
    head, first, *_ = str(error.value).splitlines()
    assert head.endswith("a.json: 3 of 12 rows break a rule")
    assert first.startswith("  prompt 1: correct answer '1234567' is ")


GOOD_IDS = {"clean": "a b", "corrupted": "a c", "correct_idx": 5, "incorrect_idx": 6}
GOOD_YEAR = {"clean": "from 1732 to 17", "corrupted": "from 1701 to 17", "label": 32}
GOOD_CIRCUIT = {"clean": "a b", "corrupt": "a c", "answers": [" d"], "wrong_answers": [" e"]}
GOOD_NAMES = {
    "prompt": "a b",
    "choices": ["d", "e"],
    "answerKey": 0,
    "s2_io_flip_counterfactual": {"prompt": "a c", "choices": ["d", "e"], "answerKey": 1},
}


def without(row: Mapping[str, Any], *path: str) -> dict[str, Any]:
    head, *rest = path
    inner = {head: without(row[head], *rest)} if rest else {}
    return {key: value for key, value in row.items() if key != head} | inner


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (GOOD_IDS, GOOD_IDS | {"correct_idx": "she"}, "correct_idx is 'she', expected the id of a"),
        (GOOD_IDS, GOOD_IDS | {"correct_idx": -1}, "correct_idx is -1, expected the id of a token"),
        (GOOD_IDS, GOOD_IDS | {"correct_idx": 1.5}, "correct_idx is 1.5, expected the id of a"),
        (GOOD_IDS, GOOD_IDS | {"correct_idx": True}, "correct_idx is True, expected the id of a"),
        (GOOD_IDS, GOOD_IDS | {"incorrect_idx": []}, "incorrect_idx is [], expected the id of a"),
        (GOOD_IDS, GOOD_IDS | {"incorrect_idx": None}, "incorrect_idx is None, expected the id"),
        (GOOD_IDS, GOOD_IDS | {"clean": 7}, "clean is 7, expected text"),
        (
            GOOD_IDS,
            without(GOOD_IDS, "incorrect_idx"),
            "no column 'incorrect_idx' of the layout of EAP-IG (found: clean, corrupted, correct_",
        ),
        (GOOD_YEAR, GOOD_YEAR | {"label": "x"}, "label is 'x', expected the last two digits of a"),
        (GOOD_YEAR, GOOD_YEAR | {"label": 732}, "label is 732, expected the last two digits of a"),
        (
            GOOD_YEAR,
            GOOD_YEAR | {"label": 52},
            "label is 52, but clean has no year that ends in 52",
        ),
        (
            GOOD_CIRCUIT,
            GOOD_CIRCUIT | {"answers": " d"},
            "answers is ' d', expected a list of texts",
        ),
        (
            GOOD_CIRCUIT,
            GOOD_CIRCUIT | {"wrong_answers": [" e", 3]},
            "wrong_answers is [' e', 3], expected a list of texts",
        ),
        (GOOD_CIRCUIT, [1, 2], 'must be an object like {"clean": ...}, found [1, 2]'),
        (
            GOOD_NAMES,
            GOOD_NAMES | {"answerKey": 2},
            "answerKey is 2, expected the place of one of ['d', 'e']",
        ),
        (
            GOOD_NAMES,
            without(GOOD_NAMES, "s2_io_flip_counterfactual", "prompt"),
            "s2_io_flip_counterfactual has no key 'prompt' (found: choices, answerKey)",
        ),
        (
            GOOD_NAMES,
            GOOD_NAMES | {"s2_io_flip_counterfactual": "a c"},
            "s2_io_flip_counterfactual has no key 'choices' (found: 'a c')",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, good: dict[str, Any], bad: Any, problem: str
) -> None:
    file = write(tmp_path, "a.json", [*[good] * 11, bad])
    with pytest.raises(TaskError) as error:
        check_file(file)
    head, *lines = str(error.value).splitlines()
    assert head == f"{file}: 1 of 12 rows break a rule"
    assert [line[: len("  prompt 12: ") + len(problem)] for line in lines] == [
        f"  prompt 12: {problem}"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON: "),
        ('{"examples": []}', "must hold a list of prompts, .* found the keys examples"),
        ("7", "must hold a list of prompts, .* found 7"),
        ("[]", "has 0 prompt pairs"),
    ],
)
def test_a_json_file_without_prompts_says_what_it_holds(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(TaskError, match=f"^{file}: .*{problem}"):
        check_file(file)


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("clean,corrupted\n")
    with pytest.raises(TaskError, match=f"^{file}: is not a Parquet file: "):
        check_file(file)


def test_ids_of_another_tokenizer_are_refused_where_they_are_no_words(
    pythia: Tokenizer, tmp_path: Path
) -> None:
    bos, beyond = pythia.token_to_id("<|endoftext|>"), 128_000
    rows = [row | {"correct_idx": beyond, "incorrect_idx": bos} for row in eap_ig(pythia)]
    with pytest.raises(TaskError, match=r"line 2: token 128000 is no word of the tokenizer"):
        build(pythia, write(tmp_path, "a.csv", rows))


def test_our_own_layout_comes_first_and_the_nearest_one_is_missed_by_name() -> None:
    every = {column for layout in LAYOUTS for column in layout.needs}
    assert nearest_layout(every) is nearest_layout([]) is OWN
    for layout in LAYOUTS:
        assert nearest_layout(layout.needs) is layout
