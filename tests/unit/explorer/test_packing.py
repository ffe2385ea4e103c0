import math

import pandas as pd
import pytest

from circuitlapse.explorer.packing import (
    compressed,
    decompressed,
    gaps,
    pack,
    plain,
    rounded,
    squeezed,
    unpack,
)


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (0.123456, 0.1235),
        (1.0, 1),
        (1234.56, 1235),
        (1e-13 / 3, 3.333e-14),
        (-0.00012345, -0.0001234),
    ],
)
def test_numbers_keep_four_digits(value, short):
    assert rounded(value) == pytest.approx(short, rel=1e-12)


def test_whole_numbers_lose_their_point_and_undefined_ones_become_null():
    assert repr(rounded(2.0)) == "2"
    assert [rounded(value) for value in (math.nan, math.inf)] == [None, None]
    assert plain([pd.NA, None, True, 123456789]) == [None, None, True, 123456789]


def test_only_equal_values_of_one_type_become_one():
    assert squeezed([3, 3]) == 3
    assert squeezed([1, True]) == [1, True]
    assert squeezed([]) == []


def test_a_packed_table_comes_back():
    table = pd.DataFrame({"a": ["x", "x"], "b": [0.5, math.nan], "c": pd.array([1, None], "Int32")})
    packed = pack(table, without=["c"])
    assert packed == {"n": 2, "columns": {"a": "x", "b": [0.5, None]}}
    pd.testing.assert_frame_equal(unpack(packed), table[["a", "b"]], check_dtype=False)


def test_gaps_add_up_to_the_order():
    assert gaps([0, 1, 5, 6]) == [0, 1, 4, 1]
    assert gaps([]) == []


def test_compressed_text_comes_back_and_is_always_the_same():
    document = {"name": "<b>é</b>", "values": [1, None]}
    assert decompressed(compressed(document)) == document
    assert compressed(document) == compressed(document)
    with pytest.raises(ValueError, match="JSON"):
        compressed({"value": math.nan})
