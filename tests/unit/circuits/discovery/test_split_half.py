"""A random model that is asked for what it prefers, so that it does the task: 21 prompts."""

import dataclasses

import numpy as np
import pytest
import torch

from circuitlapse import PromptPairs, attribute_edges
from circuitlapse.circuits.discovery import discover_circuit, record_of
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import Limits
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.statistics import split_prompts
from circuitlapse.types import Method
from tests.conftest import bridge_of

CIRCUITS = {
    "method": "eap",
    "ig_steps": 3,
    "max_fraction": 0.8,
    "grid_ratio": 3.0,
    "refine_points": 1,
    "random_circuits": 0,
}
SEED = 5
FAST = [method for method in Method if method != Method.EXACT]


def how(**changes):
    bootstrap = Bootstrap(samples=100, seed=SEED)
    settings = Circuits(**CIRCUITS | changes)
    return {"metric": "logit_diff", "settings": settings, "bootstrap": bootstrap}


def discover(model, pairs, *, runs=None, **changes):
    runs = cache_activations(model, pairs) if runs is None else runs
    limits = Limits(batch_size=7)
    return discover_circuit(model, pairs, activations=runs, limits=limits, **how(**changes))


@pytest.fixture(scope="module")
def pairs(random_model):
    draw = torch.Generator().manual_seed(2)
    clean = [torch.randint(0, 50, (5 + n % 4,), generator=draw).tolist() for n in range(21)]
    corrupted = [[*row[:2], (row[2] + 7) % 50, *row[3:]] for row in clean]
    any_answer = [[1]] * 21
    asked = PromptPairs.from_lists(clean, corrupted, correct=any_answer, wrong=[[2]] * 21)
    runs = cache_activations(random_model, asked)
    gain = 1.5 * runs.clean.logits_end - runs.corrupted.logits_end
    best, worst = ([[token] for token in end(1).tolist()] for end in (gain.argmax, gain.argmin))
    return dataclasses.replace(asked, correct=best, wrong=worst)


@pytest.fixture(scope="module")
def found(random_model, pairs):
    return discover(random_model, pairs)


@pytest.mark.parametrize("n_prompts", [20, 21])
def test_halves_have_no_prompt_in_common_and_leave_none_out(n_prompts):
    first, second = split_prompts(np.arange(n_prompts), seed=SEED)
    assert not set(first) & set(second)
    assert set(first) | set(second) == set(range(n_prompts))
    assert 0 <= len(first) - len(second) <= 1


def test_no_group_is_in_both_halves_and_halves_of_single_prompts_are_as_ever():
    groups = np.repeat(np.arange(25), np.tile([1, 2, 2, 2, 3], 5))
    first, second = (groups[rows] for rows in split_prompts(groups, seed=SEED))
    assert not set(first) & set(second)
    assert (len(set(first)), len(set(second))) == (13, 12)
    assert len(first) + len(second) == len(groups)
    alone = np.array_split(np.random.default_rng(SEED).permutation(31), 2)
    halves = split_prompts(np.arange(31), seed=SEED)
    assert [half.tolist() for half in halves] == [sorted(half) for half in alone]


def test_twins_are_searched_in_one_half_and_count_once(random_model, pairs):
    """41 prompts: twenty pairs of the same prompt, and one that is alone."""
    groups = np.repeat(np.arange(21), [2] * 20 + [1])
    twins = dataclasses.replace(pairs.take(groups), groups=groups)
    halves = discover(random_model, twins).split_half
    assert set(halves.status) <= {"ok", "overshoot", "not_reached"}
    for group in range(21):
        assert len(set(halves.of_prompt[groups == group])) == 1
    few = discover(random_model, twins.batch(0, 38)).split_half
    assert few.status == ["too_few_prompts"] * 2


def test_the_seed_alone_decides_who_is_in_which_half():
    first, again, other = (
        split_prompts(np.arange(30), seed=seed)[0].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first != list(range(15))


@pytest.mark.parametrize("method", FAST)
def test_scores_of_all_prompts_are_the_same_with_and_without_halves(random_model, pairs, method):
    """Halves of 11 and 10 prompts: their plain mean would be another."""
    whole = attribute_edges(random_model, pairs, metric="logit_diff", method=method, ig_steps=3)
    by_halves = discover(random_model, pairs, method=method, max_fraction=0.05, min_cap=1)
    np.testing.assert_allclose(by_halves.scores.values, whole.values, rtol=1e-4, atol=1e-6)


def test_a_half_has_the_circuit_that_one_finds_on_its_prompts_alone(random_model, pairs, found):
    for number, rows in enumerate(split_prompts(pairs.groups, seed=SEED)):
        assert (found.split_half.of_prompt[rows] == number).all()
        alone = discover(random_model, pairs.take(rows), noise_floor=False)
        np.testing.assert_array_equal(found.split_half.in_circuit[number], alone.circuit.mask)
        scores = found.split_half.scores[number]
        np.testing.assert_allclose(scores, alone.scores.values, rtol=1e-4, atol=1e-6)
        assert found.split_half.status[number] == alone.status
        assert alone.circuit.n_edges > 0


def test_the_two_halves_differ_here(found):
    assert (found.split_half.in_circuit[0] != found.split_half.in_circuit[1]).any()


def test_a_bridge_has_the_circuit_of_its_decoder(random_model, pairs):
    models = (bridge_of(random_model), random_model)
    found, expected = (discover(model, pairs, noise_floor=False) for model in models)
    np.testing.assert_array_equal(found.circuit.mask, expected.circuit.mask)
    np.testing.assert_allclose(found.m_circuit, expected.m_circuit, rtol=1e-6)


def test_the_same_search_finds_the_same_bit_for_bit(random_model, pairs, found):
    again = discover(random_model, pairs)
    for part in ("scores", "in_circuit", "of_prompt"):
        ours, theirs = (getattr(one.split_half, part) for one in (again, found))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.scores.values, found.scores.values)


def test_twenty_prompts_are_enough_and_nineteen_too_few(random_model, pairs):
    enough, few = (
        discover(random_model, pairs.batch(0, n_prompts)).split_half for n_prompts in (20, 19)
    )
    assert set(enough.status) <= {"ok", "overshoot", "not_reached"}
    assert few.status == ["too_few_prompts"] * 2
    assert np.isnan(few.scores).all()
    assert not few.in_circuit.any()
    assert sorted(few.of_prompt) == [0] * 10 + [1] * 9


def test_where_nobody_asked_or_the_model_does_not_do_the_task_there_are_no_halves(
    random_model, pairs
):
    opposite = dataclasses.replace(pairs, correct=pairs.wrong, wrong=pairs.correct)
    unasked = discover(random_model, pairs, noise_floor=False)
    absent = discover(random_model, opposite)
    assert (unasked.status == "no_behaviour", absent.status == "no_behaviour") == (False, True)
    for halves in (unasked.split_half, absent.split_half):
        assert len(halves.status) == len(halves.scores) == len(halves.in_circuit) == 0
        assert set(halves.of_prompt) == {-1}


def test_a_half_without_the_behaviour_has_no_circuit(random_model, pairs):
    """The prompts of the second half are asked for the opposite, by a little."""
    _, second = split_prompts(pairs.groups, seed=SEED)
    runs = cache_activations(random_model, pairs)
    middle = runs.clean.logits_end[second].sort(1).indices[:, 24:26].tolist()
    correct, wrong = list(pairs.correct), list(pairs.wrong)
    for row, (low, high) in zip(second.tolist(), middle, strict=True):
        correct[row], wrong[row] = [low], [high]
    mixed = dataclasses.replace(pairs, correct=correct, wrong=wrong)
    halves = discover(random_model, mixed, runs=runs).split_half
    assert halves.status[0] != "no_behaviour"
    assert halves.status[1] == "no_behaviour"
    assert halves.in_circuit[0].any()
    assert not halves.in_circuit[1].any()


def test_the_record_says_which_prompts_were_in_which_half(found):
    where = {"model": "m", "variant": "seed1", "step": 1, "tokens": 10}
    record = record_of(found, task="t", **how(), **where)
    first, second = split_prompts(np.arange(21), seed=record.half_seed)
    assert record.half_of_prompt[first].tolist() == [0] * 11
    assert record.half_of_prompt[second].tolist() == [1] * 10
    assert record.half_scores.dtype == np.float32
    np.testing.assert_allclose(record.half_scores, found.split_half.scores, rtol=1e-6)
    np.testing.assert_array_equal(record.half_in_circuit, found.split_half.in_circuit)
    assert record.half_status == tuple(map(str, found.split_half.status))
