from circuitlapse.tasks.base import fill, gaps


def test_a_filled_gap_lies_where_its_span_says() -> None:
    text, spans = fill("The {noun} near the {place}.", {"noun": "cat", "place": "sea"})
    assert text == "The cat near the sea."
    assert {gap: text[slice(*span)] for gap, span in spans.items()} == {
        "noun": "cat",
        "place": "sea",
    }


def test_a_gap_that_occurs_twice_has_its_first_span() -> None:
    text, spans = fill("{year} to {year}", {"year": "17"})
    assert (text, spans) == ("17 to 17", {"year": (0, 2)})


def test_gaps_are_listed_with_their_kinds() -> None:
    assert gaps("The {subject:animate} of {x}") == {"subject": "animate", "x": ""}
