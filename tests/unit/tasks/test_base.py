from itertools import cycle

from circuitlapse.tasks.base import Pair, couples, fill, gaps, twin


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


PAIR = Pair("a", "b", (" x",), (" y", " z"), template="t", spans={"role": (0, 1)}, n_changed=2)


def test_a_twin_has_prompts_and_answers_exchanged() -> None:
    other = twin(PAIR)
    assert other == Pair("b", "a", (" y", " z"), (" x",), template="t", n_changed=2)
    assert twin(other) == Pair("a", "b", (" x",), (" y", " z"), template="t", n_changed=2)


def test_couples_are_drawn_until_there_are_enough_and_no_prompt_comes_twice() -> None:
    texts = cycle([("a", "b"), ("b", "c"), ("b", "a"), ("d", "e"), ("f", "g")])
    drawn = couples(lambda: Pair(*next(texts), (" x",), (" y",)), 5)
    assert [(pair.clean, pair.corrupted) for pair in drawn] == [
        ("a", "b"),
        ("b", "a"),
        ("d", "e"),
        ("e", "d"),
    ]


def test_fewer_couples_come_where_there_are_no_more() -> None:
    assert couples(lambda: PAIR, 100) == (PAIR, twin(PAIR))
