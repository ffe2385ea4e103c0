from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from circuitlapse.errors import TaskError
from circuitlapse.tasks.prompt_file import Row, check_file, read_prompts, refuse_bad_rows


def test_csv_cells_keep_their_spaces_and_answers_are_separated_by_bars(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('clean,corrupted,correct,wrong\n"So Mary, is",So John is, she| her, he\n')
    cells = {"clean": "So Mary, is", "corrupted": "So John is"}
    assert read_prompts(file).rows == [
        Row(2, cells | {"correct": [" she", " her"], "wrong": [" he"]})
    ]


def test_csv_lines_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('clean,corrupted,correct,wrong\n"a\nb",c,d,e\n\nf,g,h,i\nj,k\n', newline="\r\n")
    rows = read_prompts(file).rows
    assert [row.line for row in rows] == [2, 5, 6]
    assert rows[-1].problem.startswith("has 2 cells, but line 1 names 4 columns")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corrupted,correct,wrong\na,b,c,d\n", encoding="utf-8-sig")
    assert read_prompts(file).rows[0].cells["clean"] == "a"


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corupted,correct,right\n")
    with pytest.raises(TaskError) as error:
        read_prompts(file)
    assert str(error.value) == (
        f"{file}: line 1 must name the columns: no column 'corrupted' (is it "
        "'corupted'?), 'wrong' (found: clean, corupted, correct, right)"
    )


@pytest.mark.parametrize(("separator", "name"), [(";", "';'"), ("\t", "tabs")])
def test_another_separator_than_the_comma_is_pointed_out(
    tmp_path: Path, separator: str, name: str
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(separator.join(("clean", "corrupted", "correct", "wrong")) + "\n")
    with pytest.raises(TaskError, match=f"; put commas between them, not {name}$"):
        read_prompts(file)


def test_one_column_is_not_offered_for_two(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corrupt,answer,wrong\n")
    with pytest.raises(TaskError) as error:
        read_prompts(file)
    assert "no column 'corrupted' (is it 'corrupt'?), 'correct' (found:" in str(error)


def test_rows_are_checked_as_far_as_that_needs_no_tokenizer(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = ["Mary is,John is, she, he"] * 10
    bad = [
        " ,John is, she, he",
        "Mary is,John is ,, he",
        "Mary is,Mary is, she| he, he",
        "Mary is,John is, she",
    ]
    file.write_text("\n".join(["clean,corrupted,correct,wrong", *rows, *bad]) + "\n")
    with pytest.raises(TaskError) as error:
        check_file(file)
    assert str(error.value).splitlines() == [
        f"{file}: 4 of 14 rows break a rule",
        "  line 12: clean is empty",
        "  line 13: corrupted ends in a space, which belongs in front of the answers instead; "
        "correct has an empty answer",
        "  line 14: clean and corrupted are the same; ' he' is among the correct and the wrong "
        "answers",
        "  line 15: has 3 cells, but line 1 names 4 columns; put text that contains a comma in "
        "double quotes",
    ]
    file.write_text("\n".join(["clean,corrupted,correct,wrong", *rows]) + "\n")
    check_file(file)
    file.write_text("\n".join(["clean,corrupted,correct,wrong", *rows[1:]]) + "\n")
    with pytest.raises(TaskError, match="has 9 prompt pairs, but a task needs at least 10"):
        check_file(file)


def test_json_lines_are_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"clean": "a", "corrupted": "b", "correct": [], "wrong": " e"}\n'
        '{"clean": 5, "corrupted": "b", "correct": " c", "wrong": " e"}\n'
    )
    with pytest.raises(TaskError) as error:
        check_file(file)
    assert str(error.value).splitlines()[1:] == [
        "  line 1: correct has no answer",
        "  line 2: clean must be text, found 5",
    ]


def test_of_very_many_bad_rows_the_first_are_listed() -> None:
    found = {line: ["clean is empty"] * (line > 5) for line in range(2, 3006)}
    with pytest.raises(TaskError) as error:
        refuse_bad_rows(Path("mine.csv"), found)
    head, *lines = str(error.value).splitlines()
    assert head == "mine.csv: 3000 of 3004 rows break a rule"
    assert lines[0] == "  line 6: clean is empty"
    assert lines[19:] == ["  line 25: clean is empty", "  and 2980 more"]


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("")
    with pytest.raises(TaskError, match=r"found: nothing"):
        read_prompts(file)


def test_json_lines_that_cannot_be_read_are_rows_with_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    good = '{"clean": "a", "corrupted": "b", "correct": " c", "wrong": [" d", " e"]}'
    file.write_text(f'{good}\n\n{{"clean": \n[1]\n{{"clean": "a"}}\n')
    rows = read_prompts(file).rows
    assert [row.line for row in rows] == [1, 3, 4, 5]
    assert rows[0].cells["wrong"] == [" d", " e"]
    assert rows[1].problem.startswith("is not JSON: ")
    assert rows[2].problem.startswith("must be an object")
    assert rows[3].problem.startswith("no column 'corrupted', 'correct', 'wrong'")


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"ends in \.csv or \.jsonl or \.json or \.parquet"):
        read_prompts(tmp_path / "mine.txt")
    with pytest.raises(TaskError, match="no such file"):
        read_prompts(tmp_path / "mine.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("clean,corrupted,correct,wrong\né,b,c,d\n".encode("latin-1"))
    with pytest.raises(TaskError, match=r"latin.csv: is not UTF-8 text; save it as UTF-8"):
        read_prompts(latin)


def test_what_comes_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corrupted,correct,clean,wrong\na,b,c,d,e\n")
    with pytest.raises(TaskError, match=r"line 1 names the column clean twice$"):
        read_prompts(file)
    rows = ["Mary is,John is, she, he"] * 10 + ["Mary is,John is, she| she, he"]
    file.write_text("\n".join(["clean,corrupted,correct,wrong", *rows]) + "\n")
    with pytest.raises(TaskError, match=r"line 12: correct has an answer twice$"):
        check_file(file)


def test_a_quote_left_open_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('clean,corrupted,correct,wrong\n"' + "a,b,c,d\n" * 20_000)
    with pytest.raises(TaskError, match=r"mine.csv: is not valid CSV .* is a quote left open\?$"):
        read_prompts(file)


CHECK = """
import sys, time
from pathlib import Path
from circuitlapse.errors import TaskError
from circuitlapse.tasks.prompt_file import check_file
started = time.process_time()
try:
    check_file(Path(sys.argv[1]))
except TaskError as error:
    print(time.process_time() - started, error)
"""


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",,,\n", "1000 of the first 1000 rows break a rule"),
        ("a b,c d, she, he\n", "must have at most 200000 rows, found more"),
    ],
)
def test_a_million_rows_are_refused_in_seconds(tmp_path, row, words):
    """In a process without the checks of types, which take fifty times as long."""
    path = tmp_path / "mine.csv"
    path.write_text("clean,corrupted,correct,wrong\n" + 10**6 * row)
    done = subprocess.run([sys.executable, "-c", CHECK, path], capture_output=True, text=True)
    seconds, message = done.stdout.split(" ", 1)
    assert words in message
    assert len(message.splitlines()) <= 22
    assert float(seconds) < 5
