"""Ordered lists of words, for succession scores (after Gould et al. 2023, arXiv 2312.09230)."""

from __future__ import annotations

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NUMBER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth"),
    *("sixth", "seventh", "eighth", "ninth", "tenth"),
)

ORDERED_LISTS: dict[str, tuple[str, ...]] = {
    "numbers": tuple(str(number) for number in range(1, 201)),
    "number_words": _NUMBER_WORDS,
    "ordinals": _ORDINALS,
    "weekdays": (*_WEEKDAYS, _WEEKDAYS[0]),
    "months": (*_MONTHS, _MONTHS[0]),
    "short_weekdays": tuple(day[:3] for day in _WEEKDAYS),
    "short_months": tuple(month[:3] for month in _MONTHS),
    "capital_letters": tuple(chr(ord("A") + place) for place in range(26)),
}
"""Every list in order, without the leading space; its neighbours are 288 pairs in all.

Full weekdays and months end with their first item again, so that the last one has a successor.
"""
