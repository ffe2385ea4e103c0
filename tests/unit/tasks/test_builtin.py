from __future__ import annotations

import subprocess
import sys

import pytest
from tokenizers import Tokenizer

from circuitlapse.errors import TaskError, UnknownNameError
from circuitlapse.tasks.base import Builder, Draft, Pair
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.encode import Task
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import Metric
from tests.unit.tasks.conftest import DEFAULT


def build(tokenizer: Tokenizer, builder: str, *, seed: int = 0, bos: bool = False) -> Task:
    return build_task("mine", tokenizer, builder=builder, n_prompts=40, seed=seed, prepend_bos=bos)


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_same_seed_gives_the_same_task_and_another_seed_another(
    pythia: Tokenizer, builder: str
) -> None:
    first, again, other = (build(pythia, builder, seed=seed) for seed in (0, 0, 1))
    assert first.content_hash == again.content_hash
    assert first.frame["clean"].tolist() != other.frame["clean"].tolist()


@pytest.mark.parametrize("builder", BUILDERS)
def test_bos_is_pythias_end_of_text_and_shifts_positions(pythia: Tokenizer, builder: str) -> None:
    without, with_bos = (build(pythia, builder, bos=bos).frame for bos in (False, True))
    bos = pythia.token_to_id("<|endoftext|>")
    for old, new in zip(without["clean_tokens"], with_bos["clean_tokens"], strict=True):
        assert new == (bos, *old)
    for column in ["end", *without.columns[without.columns.str.startswith("pos_")]]:
        assert (with_bos[column] - without[column]).dropna().eq(1).all()


@pytest.mark.parametrize("builder", DEFAULT)
def test_every_builder_of_the_default_serves_a_word_level_tokenizer(
    small: Tokenizer, builder: str
) -> None:
    task = build(small, builder)
    unknown = small.token_to_id("[UNK]")
    for column in ("clean_tokens", "corrupted_tokens", "correct", "wrong"):
        assert all(unknown not in ids for ids in task.frame[column])


@pytest.mark.parametrize("builder", [name for name in BUILDERS if name not in DEFAULT])
def test_further_tasks_come_in_couples_that_cancel_what_a_model_prefers_by_itself(
    pythia: Tokenizer, builder: str
) -> None:
    """Whatever it prefers: right and wrong answers of a couple are the same two tokens."""
    frame = build(pythia, builder).frame
    assert frame["group"].nunique() == len(frame) / 2
    assert frame["clean"].nunique() == len(frame)
    for _, couple in frame.groupby("group"):
        one, other = couple.itertuples()
        assert (one.clean_tokens, one.corrupted_tokens) == (
            other.corrupted_tokens,
            other.clean_tokens,
        )
        assert (one.correct, one.wrong) == (other.wrong, other.correct)
        assert one.template == other.template
        assert one.end == other.end


def test_unknown_names_print_the_known_ones(small: Tokenizer) -> None:
    shared = {"n_prompts": 4, "seed": 0}
    with pytest.raises(UnknownNameError, match=r"unknown builder 'iio'; did you mean 'ioi'\?"):
        build_task("mine", small, builder="iio", **shared)
    with pytest.raises(UnknownNameError, match=r"unknown option of ioi 'corupt'.*corruption"):
        build_task("mine", small, builder="ioi", options={"corupt": "x"}, **shared)
    with pytest.raises(UnknownNameError, match=r"unknown corruption 's2_to_i'.*s2_to_random"):
        build_task("mine", small, builder="ioi", options={"corruption": "s2_to_i"}, **shared)


def test_an_error_of_a_builder_names_the_task(small: Tokenizer) -> None:
    with pytest.raises(TaskError, match=r"^task mine: "):
        build_task("mine", small, builder="gendered_pronoun", n_prompts=1, seed=0)


def test_making_prompts_does_not_load_torch() -> None:
    modules = "circuitlapse.tasks.registry, circuitlapse.tasks.custom, circuitlapse.io.task_files"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_builder_that_breaks_a_rule_is_found_out(
    small: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair("So Mary", "So John", (" Mary",), (" John",))
    draft = Draft((pair, pair), {})
    described = {"title": "Defective (D)", "metric": Metric.LOGIT_DIFF, "prompt_tokens": 2}
    defective = Builder(lambda *_, **__: draft, **described)
    monkeypatch.setitem(BUILDERS, "defective", defective)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=r"task mine: defective made .* ends in its own answer"):
        build(small, "defective")
