from __future__ import annotations

import re

import pandas as pd
import pytest

from circuitlapse import schemas
from circuitlapse.errors import ArtifactError
from circuitlapse.heads.registry import EFFECTS, SCORES
from circuitlapse.tables.masking import MASKS
from circuitlapse.tables.registry import ALL_TABLES, TABLES

PETS = schemas.Schema(name="pets", keys=("name",), columns={"name": "str", "age": "int32"})
WITHOUT_STEP = (schemas.HAND_OVER, schemas.SIZE_CORRELATION, schemas.SWAPS, schemas.REPRODUCTION)
WITHOUT_STEP += (schemas.EMERGENCE, schemas.EMERGENCE_TRENDS, schemas.CLAIMS)
ALL = [schemas.SCHEMAS[name] for name in ALL_TABLES]


def pets(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"name": ["Rex"], "age": [3]} | columns)


@pytest.mark.parametrize("schema", ALL, ids=lambda schema: schema.name)
def test_every_table_has_a_unit_tokens_and_keys_that_are_columns(schema):
    where = set() if schema in WITHOUT_STEP else {"model", "variant", "step", "tokens"}
    where |= set() if schema is schemas.REPRODUCTION else {"unit"}
    assert {*where, *schema.keys} <= set(schema.columns)


def test_casting_gives_a_frame_that_passes_the_check():
    frame = PETS.cast(pets(extra=1)[["extra", "age", "name"]])
    PETS.check(frame, where="here")
    assert list(frame) == ["name", "age"]


def test_a_table_without_rows_or_without_some_columns_has_the_dtypes_of_the_others():
    PETS.check(PETS.empty(), where="here")
    ages = PETS.without("name")
    assert ages.keys == ()
    ages.check(PETS.cast(pets())[["age"]], where="here")


def test_a_wrong_dtype_is_reported_with_place_column_found_and_expected():
    with pytest.raises(ArtifactError, match=r"a\.parquet: not a pets table: column 'age' is int64"):
        PETS.check(pets(), where="a.parquet")


def test_all_wrong_columns_are_reported_at_once():
    frame = pets(legs=4).drop(columns="name")
    with pytest.raises(ArtifactError) as error:
        PETS.check(frame, where="here")
    assert "column 'name' is missing, expected str" in str(error.value)
    assert "column 'age' is int64, expected int32" in str(error.value)
    assert "column 'legs' is unexpected" in str(error.value)


def test_columns_in_another_order_are_refused():
    with pytest.raises(ArtifactError, match="in the order"):
        PETS.check(PETS.cast(pets())[["age", "name"]], where="here")


@pytest.mark.parametrize("schema", ALL, ids=lambda schema: schema.name)
def test_every_column_is_described_once_and_no_other(schema, root):
    text = (root / "docs/tables.md").read_text()
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", text, re.MULTILINE))
    own = described_in(sections[f"`{schema.name}`"])
    shared = described_in(sections["In most tables"] + sections["In tables about circuits"])
    described = own + [
        column for column in shared if column in schema.columns and column not in own
    ]
    assert sorted(described) == sorted(schema.columns)


def test_no_table_is_described_that_does_not_exist(root):
    named = re.findall(r"^## `(\w+)`$", (root / "docs/tables.md").read_text(), re.MULTILINE)
    assert named == [schema.name for schema in ALL]


def test_every_mask_is_described_and_no_other(root):
    text = (root / "docs/tables.md").read_text()
    section = text.split("## Where a model does not do a task\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| .*\. \|$", section, re.MULTILINE) == [
        name for name in TABLES if name in MASKS
    ]


NOT_MEASURED = {"tokens", "ig_steps", "threshold", "alpha", "min_step", "prepend_bos", "data_seed"}
"""Numbers that come from the configuration or the schedule."""
NOT_MEASURED |= {"held_out", ("circuit_edges", "in_circuit")}
MEASURED_TEXT = {"measured", "verdict"}


def measured_in(schema):
    """Return the columns that hold results: all but keys, identifiers, settings and words."""
    return {
        column
        for column, dtype in schema.columns.items()
        if (dtype != "str" or column in MEASURED_TEXT)
        and not {column, (schema.name, column)} & {*schema.keys, *NOT_MEASURED}
    }


def test_every_measured_column_has_its_formula_and_source_and_no_other(root):
    """In the list at the end of the methods; columns shared by most tables stand there once."""
    listed = (root / "docs/methods.md").read_text().split("\n## Every column\n")[1]
    listed, _, scores = listed.partition("| score | computed as |")
    scores, _, rest = scores.partition("\n\n")
    sections = dict(re.findall(r"^### (.+)\n((?:(?!^### ).*\n?)*)", listed + rest, re.MULTILINE))
    shared = rows_in(sections.pop("In most tables"))
    assert [name.strip("`") for name in sections] == list(ALL_TABLES)
    for schema in ALL:
        measured, own = measured_in(schema), rows_in(sections[f"`{schema.name}`"])
        assert len(own) == len(set(own)) or schema is schemas.GT_ALGORITHM
        assert measured - {*shared} <= {*own} <= measured, schema.name
    assert rows_in(scores) == [*SCORES, *EFFECTS]


def rows_in(text):
    """Return the names in the first cells; all rows have five cells, and say what is computed."""
    names = []
    for line in re.findall(r"^\| (?!---|column).*$", text, re.MULTILINE):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        assert len(cells) == 5, line
        assert cells[1], line
        if cells[0].startswith("`"):
            names += re.findall(r"`(\w+)`", cells[0].split(" of ")[0])
    return names


def described_in(text):
    return re.findall(r"^\| `(\w+)` \| [A-Z`(].*\. \|.*\|$", text, re.MULTILINE)
