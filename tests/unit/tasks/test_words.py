from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from circuitlapse.tasks import words


@pytest.mark.parametrize(
    ("base", "third"),
    [
        ("walk", "walks"),
        ("carry", "carries"),
        ("play", "plays"),
        ("watch", "watches"),
        ("push", "pushes"),
        ("pass", "passes"),
        ("mix", "mixes"),
        ("go", "goes"),
        ("do", "does"),
        ("agree", "agrees"),
        ("lie", "lies"),
        ("are", "is"),
        ("were", "was"),
        ("have", "has"),
    ],
)
def test_the_third_person_is_spelled_by_the_rules_of_english(base: str, third: str) -> None:
    assert words.third_person(base) == third


def test_plurals_of_people_are_spelled_by_the_rules_of_english() -> None:
    plurals = dict(words.ANIMATE_NOUNS)
    assert plurals["woman"] == "women"
    assert plurals["child"] == "children"
    assert plurals["doctor"] == "doctors"


def test_no_verb_form_is_singular_and_plural() -> None:
    singular, plural = zip(*words.VERB_PAIRS, strict=True)
    assert not set(singular) & set(plural)


def test_no_bare_form_is_a_past_tense_which_would_agree_with_both_numbers() -> None:
    same_past = "bet cast cost cut fit hit hurt let put quit read set shed shut split spread"
    of_another_verb = "bore fell felt found ground laid lay left saw wound"
    bare = {plural for _, plural in words.VERB_PAIRS}
    assert not bare & {*same_past.split(), *of_another_verb.split()}


def test_every_list_is_free_of_repetitions() -> None:
    lists = [getattr(words, name) for name in dir(words) if name.isupper()]
    lists = [words_ for words_ in lists if not isinstance(words_, str)]
    assert [len(set(words_)) for words_ in lists] == [len(words_) for words_ in lists]


def test_genders_are_equally_many_and_disjoint() -> None:
    assert (len(words.FEMALE_NAMES), len(words.MALE_NAMES)) == (50, 49)
    assert not set(words.FEMALE_NAMES) & set(words.MALE_NAMES)


def test_the_pythia_tokenizer_has_every_word_that_a_prompt_varies_as_one_token(
    pythia: Tokenizer,
) -> None:
    single = (
        *words.FEMALE_NAMES,
        *words.MALE_NAMES,
        *words.IOI_PLACES,
        *words.IOI_OBJECTS,
        *words.EVENTS,
        *(noun for pair in words.ANIMATE_NOUNS + words.INANIMATE_NOUNS for noun in pair),
        *(verb for pair in words.TRANSITIVE_VERBS + words.INTRANSITIVE_VERBS for verb in pair),
    )
    lengths = {word: len(pythia.encode(f" {word}").ids) for word in single}
    assert {word: length for word, length in lengths.items() if length != 1} == {}


def test_the_seven_frames_have_the_published_lengths_in_pythia_tokens(pythia: Tokenizer) -> None:
    example = {"first": "Mary", "second": "John", "s2": "John", "place": "park", "object": "ring"}
    lengths = [len(pythia.encode(frame.format(**example)).ids) for frame in words.IOI_FRAMES]
    assert lengths == [15, 19, 18, 20, 15, 14, 17]
