from __future__ import annotations

from pathlib import Path

import pytest

from circuitlapse.errors import TaskError
from circuitlapse.prompt_file import Row, column_problem, read_rows


def test_csv_cells_keep_their_spaces_and_answers_are_separated_by_bars(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('clean,corrupted,correct,wrong\n"So Mary, is",So John is, she| her, he\n')
    cells = {"clean": "So Mary, is", "corrupted": "So John is"}
    assert read_rows(file) == [Row(2, cells | {"correct": [" she", " her"], "wrong": [" he"]})]


def test_csv_lines_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('clean,corrupted,correct,wrong\n"a\nb",c,d,e\n\nf,g,h,i\nj,k\n', newline="\r\n")
    rows = read_rows(file)
    assert [row.line for row in rows] == [2, 5, 6]
    assert rows[-1].problem.startswith("has 2 cells, but line 1 names 4 columns")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corrupted,correct,wrong\na,b,c,d\n", encoding="utf-8-sig")
    assert read_rows(file)[0].cells["clean"] == "a"


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("clean,corupted,correct,right\n")
    with pytest.raises(TaskError) as error:
        read_rows(file)
    assert str(error.value) == (
        f"{file}: line 1 must name the columns: no column 'corrupted' (is 'corupted' meant to be "
        "it?), 'wrong' (found: clean, corupted, correct, right)"
    )


@pytest.mark.parametrize(("separator", "name"), [(";", "';'"), ("\t", "tabs")])
def test_another_separator_than_the_comma_is_pointed_out(
    tmp_path: Path, separator: str, name: str
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(separator.join(("clean", "corrupted", "correct", "wrong")) + "\n")
    with pytest.raises(TaskError, match=f"; put commas between them, not {name}$"):
        read_rows(file)
    assert column_problem(file).endswith(f"not {name}")


def test_the_columns_can_be_checked_without_reading_the_rows(tmp_path: Path) -> None:
    table, lines, latin = (tmp_path / name for name in ("a.csv", "a.jsonl", "latin.csv"))
    table.write_text("clean,corrupted,correct,wrong\nshort row\n")
    assert column_problem(table) == ""
    lines.write_text('\n{"clean": "a"}\n')
    assert column_problem(lines).startswith("line 2: no column 'corrupted'")
    latin.write_bytes("clean,corrupted,correct,wrong,\xe9\n".encode("latin-1"))
    assert column_problem(latin) == "is not UTF-8 text; save it as UTF-8"


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("")
    with pytest.raises(TaskError, match=r"found: nothing"):
        read_rows(file)


def test_json_lines_that_cannot_be_read_are_rows_with_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    good = '{"clean": "a", "corrupted": "b", "correct": " c", "wrong": [" d", " e"]}'
    file.write_text(f'{good}\n\n{{"clean": \n[1]\n{{"clean": "a"}}\n')
    rows = read_rows(file)
    assert [row.line for row in rows] == [1, 3, 4, 5]
    assert rows[0].cells["wrong"] == [" d", " e"]
    assert rows[1].problem.startswith("is not JSON: ")
    assert rows[2].problem.startswith("must be an object")
    assert rows[3].problem.startswith("no column 'corrupted', 'correct', 'wrong'")


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"ends in \.csv or \.jsonl"):
        read_rows(tmp_path / "mine.txt")
    with pytest.raises(TaskError, match="no such file"):
        read_rows(tmp_path / "mine.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("clean,corrupted,correct,wrong\né,b,c,d\n".encode("latin-1"))
    with pytest.raises(TaskError, match=r"latin.csv: is not UTF-8 text; save it as UTF-8"):
        read_rows(latin)
