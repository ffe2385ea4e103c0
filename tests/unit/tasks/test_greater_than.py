from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.greater_than import centuries_by_suffix
from circuitlapse.tasks.vocabulary import Vocabulary

CENTURIES = " 11 12 13 14 15 16 17"
SUFFIXES = "".join(f"{suffix:02d}" for suffix in range(100))


def build(tokenizer: Tokenizer, n_prompts: int | None = 194) -> Task:
    return build_task("gt", tokenizer, builder="greater_than", n_prompts=n_prompts, seed=0)


@pytest.fixture(scope="module")
def task(pythia: Tokenizer) -> Task:
    return build(pythia)


def year_and_century(text: str) -> tuple[int, int, str]:
    found = re.fullmatch(r"The \w+ lasted from the year (\d\d)(\d\d) to the year (\d\d)", text)
    assert found
    return int(found[1]), int(found[3]), found[2]


def test_every_year_is_two_tokens_the_second_of_two_characters(
    task: Task, pythia: Tokenizer
) -> None:
    for side in ("clean", "corrupted"):
        for text in task.frame[side]:
            century, _, suffix = year_and_century(text)
            year = pythia.encode(f" {century}{suffix}", add_special_tokens=False)
            assert len(year.ids) == 2
            assert year.tokens[1] == suffix


def test_prompts_are_twelve_tokens_and_the_suffix_is_four_before_the_end(
    task: Task, pythia: Tokenizer
) -> None:
    for row in task.frame.itertuples():
        assert (len(row.clean_tokens), row.end, row.pos_yy) == (12, 11, 7)
        assert pythia.decode([row.clean_tokens[row.pos_yy]]) == year_and_century(row.clean)[2]


def test_only_the_suffix_is_corrupted_to_01_in_the_same_century(task: Task) -> None:
    for clean, corrupted in zip(task.frame["clean"], task.frame["corrupted"], strict=True):
        century, asked, suffix = year_and_century(clean)
        assert century == asked
        assert corrupted == clean.replace(f"year {century}{suffix} ", f"year {century}01 ")


def test_larger_suffixes_are_right_and_the_others_wrong(task: Task, pythia: Tokenizer) -> None:
    for row in task.frame.itertuples():
        suffix = int(year_and_century(row.clean)[2])
        right, wrong = ([int(pythia.decode([i])) for i in ids] for ids in (row.correct, row.wrong))
        assert right == list(range(suffix + 1, 100))
        assert wrong == list(range(suffix + 1))


def test_suffixes_from_02_to_98_occur_equally_often(task: Task) -> None:
    suffixes = Counter(int(year_and_century(text)[2]) for text in task.frame["clean"])
    assert suffixes == dict.fromkeys(range(2, 99), 2)


def test_a_model_that_is_uniform_over_suffixes_scores_minus_two_hundredths(task: Task) -> None:
    per_prompt = (task.frame["correct"].map(len) - task.frame["wrong"].map(len)) / 100
    assert per_prompt.mean() == pytest.approx(-0.02)


def test_the_first_and_last_valid_year_of_a_century_are_not_used(pythia: Tokenizer) -> None:
    used = centuries_by_suffix(Vocabulary(pythia))
    for century in range(11, 18):
        tokens = {y: pythia.encode(f" {century}{y:02d}").tokens for y in range(100)}
        valid = [y for y, parts in tokens.items() if len(parts) == 2 and len(parts[1]) == 2]
        ours = [int(suffix) for suffix, centuries in used.items() if century in centuries]
        expected = [y for y in valid[1:-1] if 2 <= y <= 98] if 1 in valid else []
        assert ours == expected


def test_a_word_level_tokenizer_has_all_years_and_only_lacks_nouns(small: Tokenizer) -> None:
    task = build(small)
    assert {text.split()[1] for text in task.frame["clean"]} == {"war", "famine", "siege"}
    assert task.dropped == {"nouns that are not one known token": 120 - 3}


def test_a_century_without_the_year_01_is_not_used(
    make_tokenizer: Callable[..., Tokenizer],
) -> None:
    with pytest.raises(TaskError, match="splits no year between 1100 and 1799"):
        build(make_tokenizer("The war lasted from the year to", CENTURIES, "000203040506"))


def test_unknown_words_of_the_frame_are_named(make_tokenizer: Callable[..., Tokenizer]) -> None:
    with pytest.raises(TaskError, match=r"does not know these words of greater_than.*' lasted'"):
        build(make_tokenizer("The war from the year to", CENTURIES, SUFFIXES))
    with pytest.raises(TaskError, match="no noun"):
        build(make_tokenizer("The lasted from the year to", CENTURIES, SUFFIXES))


def test_prompts_drawn_at_random_need_a_number(small: Tokenizer) -> None:
    with pytest.raises(TaskError, match="give n_prompts"):
        build(small, None)


@pytest.mark.parametrize("n_prompts", [10, 16, 100, 150])
def test_however_many_prompts_there_are_small_suffixes_are_not_favoured(
    pythia: Tokenizer, n_prompts: int
) -> None:
    task = build(pythia, n_prompts)
    correct, wrong = (task.frame[side].map(len).mean() for side in ("correct", "wrong"))
    assert (correct - wrong) / 100 == pytest.approx(-0.02, abs=0.011)
