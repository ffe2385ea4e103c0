import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

from circuitlapse.heads.algorithm import ioi_roles
from circuitlapse.heads.copying import TOP, CopyLn
from circuitlapse.heads.registry import EFFECTS, SCORES, needing
from circuitlapse.heads.scoring import detector_of, options_of
from circuitlapse.settings import analysis as settings
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.tasks.words import ORDERED_LISTS

DETECTORS = {detector_of(name) for name in SCORES}
"""Every option of these that a user may set is a key of the section `heads`."""


@pytest.mark.parametrize("name", SCORES)
def test_every_score_has_a_documented_detector_and_a_built_in_task(name):
    assert f"`{name}`" in detector_of(name).__doc__ or name in detector_of(name).__doc__
    assert SCORES[name].task in BUILDERS


def test_scores_need_prompts_or_text_or_nothing():
    assert {*needing("prompts"), *needing("text"), *needing("")} == set(SCORES)
    assert needing("text") == ("cspa",)


def test_effects_are_those_of_the_steps_that_find_the_ioi_algorithm():
    steps = (ioi_roles.DIRECT, ioi_roles.S2I, ioi_roles.TERTIARY)
    assert tuple(step.score for step in steps) == EFFECTS


def test_the_guide_to_the_library_has_each_score_with_its_range_and_chance_level(root):
    table = (root / "docs/library.md").read_text().partition("| score | definition |")[2]
    rows = [line.split(" | ") for line in table.partition("\n\n")[0].splitlines()[2:]]
    found = {
        name: (bounds, chance.removesuffix(" |"))
        for names, _, bounds, chance in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    expected = {
        name: ("{} to {}".format(*map(_number, score.range)), score.chance.text)
        for name, score in SCORES.items()
    }
    assert found == expected


def _number(value):
    return "-∞" if value == -np.inf else f"{value:g}"


def test_keys_of_the_section_heads_are_options_of_detectors_with_the_same_defaults():
    taken = {name for detector in DETECTORS for name in options_of(detector)}
    parameters = [one for d in DETECTORS for one in inspect.signature(d).parameters.values()]
    defaults = {one.name: one.default for one in parameters}
    for key, value in settings.Heads().model_dump(exclude={"text", "dataset"}).items():
        assert key in taken
        assert defaults[key] == value
    assert settings.Heads(copy_ln=CopyLn.FOLDED.value).copy_ln == "folded"


def test_reading_the_registry_loads_no_numerical_library():
    heavy = "{'torch', 'numpy', 'pandas'}"
    code = f"import sys, circuitlapse.heads.registry; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_chance_level_of_succession_is_a_random_item_of_each_list():
    """One pair of neighbours per item but the last; the other items of the list are candidates."""
    n_pairs = [len(words) - 1 for words in ORDERED_LISTS.values()]
    hits = sum(
        n / len(set(words)) for n, words in zip(n_pairs, ORDERED_LISTS.values(), strict=True)
    )
    level = SCORES["succession"].chance.level
    assert level([100], sum(n_pairs)) == pytest.approx(hits / sum(n_pairs), abs=5e-5)
    assert level([100], 78) is None


def test_the_chance_level_of_copying_is_the_share_of_the_vocabulary_on_top():
    assert SCORES["copy"].chance.text == f"{100 * TOP} / vocabulary size"


def test_chance_is_what_a_head_that_attends_alike_to_all_has():
    """Against the definition: diagonals of the uniform causal pattern."""
    for length in (2, 7, 100):
        seen = 1 / np.arange(1, 2 * length + 1)
        pattern = np.tril(np.repeat(seen[:, None], 2 * length, axis=1))
        before = np.mean([pattern[q, q - 1] for q in range(1, 2 * length)])
        same = np.mean([pattern[q, q - length] for q in range(length, 2 * length)])
        after = np.mean([pattern[q, q - length + 1] for q in range(length, 2 * length)])
        assert SCORES["prev_token"].chance.level([length], 10) == pytest.approx(before)
        assert SCORES["duplicate"].chance.level([length], 10) == pytest.approx(same)
        assert SCORES["induction"].chance.level([length], 10) == pytest.approx(after)
    for score in ("prev_token", "duplicate", "induction"):
        level = SCORES[score].chance.level
        assert level([12, 24, 16], 10) == level([24], 10)
    assert round(SCORES["induction"].chance.level([100], 10), 4) == 0.0069
    assert round(SCORES["prev_token"].chance.level([100], 10), 4) == 0.0245
