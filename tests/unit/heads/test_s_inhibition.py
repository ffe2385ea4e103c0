from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from circuitlapse import PromptPairs, load_decoder
from circuitlapse.heads import s_inhibition as module
from circuitlapse.heads.base import Subject
from circuitlapse.heads.path_patching import PatchedPaths
from circuitlapse.heads.s_inhibition import flip_test, flipped_prompts, s_inhibition
from circuitlapse.models.batching import AUTOMATIC
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import S2I_SIGNALS
from circuitlapse.types.status import ScoreStatus
from tests.planted_ioi import (
    NAMES,
    head_weights,
    plant_inhibit,
    plant_mover,
    planted_ioi_pairs,
    save_planted_ioi,
)
from tests.unit.heads.path_patching.test_path_patching import literal

A, B, C, D, E = 10, 11, 12, 13, 14
"""Names; 1 to 5 are other words."""
ABB, BAB = [A, 1, B, 2, B, 3], [5, D, C, 2, D, 3]
MOVERS = [(2, 0), (1, 1)]
OFTEN = Bootstrap(samples=20_000, seed=1)


@pytest.fixture
def pairs():
    pairs = PromptPairs.from_lists(
        [ABB, BAB, [E, 1, A, 2, A, 4]],
        [ABB, BAB, [E, 1, A, 2, A, 4]],
        correct=[[A], [C], [E]],
        wrong=[[B], [D], [A]],
    )
    roles = {"io": [0, 2, 0], "s1": [2, 1, 2], "s2": [4, 4, 4]}
    return replace(pairs, roles={role: torch.tensor(at) for role, at in roles.items()})


def test_flips_exchange_names_by_role_whichever_comes_first(pairs):
    flips = flipped_prompts(pairs, seed=0)
    assert flips["opposite_same"][:2].tolist() == [[B, 1, A, 2, A, 3], [5, C, D, 2, C, 3]]
    assert flips["same_opposite"][:2].tolist() == [[B, 1, A, 2, B, 3], [5, C, D, 2, D, 3]]
    assert flips["opposite_opposite"][:2].tolist() == [[*ABB[:4], A, 3], [5, D, C, 2, C, 3]]
    (x, _, y, _, y2, _), (_, v, u, _, v2, _) = flips["random_same"][:2].tolist()
    assert y == y2
    assert v == v2
    assert len({A, B, x, y} & {A, B, C, D, E}) == 4
    assert len({C, D, u, v} & {A, B, C, D, E}) == 4
    assert flips["random_opposite"][:2].tolist() == [[x, 1, y, 2, x, 3], [5, v, u, 2, u, 3]]


def test_random_names_depend_on_the_seed_alone(pairs):
    pairs = replace(pairs.repeat(10))
    first, again, other = (flipped_prompts(pairs, seed=s)["random_same"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_changes_are_those_of_patching_with_hooks(random_model, pairs):
    candidates = [(1, 0), (0, 1)]
    frame = s_inhibition(Subject(random_model, 3, pairs), name_movers=MOVERS, candidates=candidates)
    assert len(frame) == 2 * 5
    receivers = [(layer, head, "q") for layer, head in MOVERS]
    options = {"positions": "end", "freeze_mlps": False}
    roles = torch.stack([pairs.roles[role] for role in ("io", "s1", "s2")], 1)[:, None]
    for flip, corrupted in flipped_prompts(pairs, seed=3).items():
        for layer, head in candidates:
            means = []
            for side in (corrupted, pairs.clean):
                case = replace(pairs, corrupted=side)
                metric, attention = literal(random_model, case, receivers, (layer, head), **options)
                attended = attention.take_along_dim(roles, 2).double().mean((0, 1))
                means.append(torch.cat([metric.double().mean()[None], attended]))
            expected = ((means[0] - means[1]) / means[1]).tolist()
            row = frame[(frame.layer == layer) & (frame["head"] == head) & (frame.flip == flip)]
            got = row[["d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2"]].to_numpy()[0]
            assert got == pytest.approx(expected, rel=1e-3, abs=1e-5)


def heads_by(frame, column):
    found = frame[frame[column]]
    return set(zip(found["layer"], found["head"], strict=True))


HEADS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
NOTHING = ([2.0, 2.0, 2.0], 0.4, 0.2)
"""Logit difference of each prompt, attention to io and to s1; that to s2 is 0.1."""


@pytest.fixture
def measured(random_model, pairs, monkeypatch):
    """Run the test on numbers set by hand: {flip: what patching each of `HEADS` gives}."""
    roles = torch.stack([pairs.roles[role] for role in ("io", "s1", "s2")], 1)
    flips = flipped_prompts(pairs, seed=0)

    def at_roles(io, s1):
        rows = torch.zeros(3, 1, 6)
        return rows.scatter(2, roles[:, None], torch.tensor([io, s1, 0.1]).expand(3, 1, 3))

    def run(given, **options):
        def fake(model, prompts, **_):
            [flip] = [name for name in flips if torch.equal(prompts.corrupted, flips[name])]
            cases = given.get(flip, [NOTHING] * len(HEADS))
            return PatchedPaths(
                senders=tuple(HEADS),
                patched=torch.tensor([case[0] for case in cases]),
                clean=torch.tensor(NOTHING[0]),
                corrupted=torch.zeros(3),
                attended=((2, 0),),
                attention=torch.stack([at_roles(*case[1:]) for case in cases]),
                clean_attention=at_roles(*NOTHING[1:]),
            )

        monkeypatch.setattr(module, "patch_paths", fake)
        return s_inhibition(Subject(random_model, 0, pairs), name_movers=[(2, 0)], **options)

    return run


FALLS = ([1.0, 1.0, 1.0], 0.1, 0.3)
OTHERS = [([1.0] * 3, 0.1, 0.1), ([1.0] * 3, 0.5, 0.3), ([3.0] * 3, 0.1, 0.3), NOTHING]
"""Less attention to s1; more to io; a larger logit difference; no change."""


@pytest.mark.parametrize("signal", ["position", "token"])
def test_a_head_passes_by_three_signs_under_the_flip_of_one_signal(measured, signal):
    frame = measured({S2I_SIGNALS[signal]: [FALLS, *OTHERS]})
    assert frame.attrs["status"] == ScoreStatus.OK
    assert heads_by(frame, f"by_{signal}") == heads_by(frame, "is_s2i") == {(0, 0)}
    assert frame[["by_position", "by_token"]].sum().sum() == 5  # all rows of the head
    row = frame[frame.is_s2i & (frame.flip == S2I_SIGNALS[signal])].squeeze()
    assert row.d_logit_diff == pytest.approx(-0.5)
    assert (row.d_logit_diff_low, row.d_logit_diff_high) == pytest.approx((-0.5, -0.5))
    assert row.d_attn_io == pytest.approx(-0.75)
    assert row.d_attn_s1 == pytest.approx(0.5)
    assert row.d_attn_s2 == pytest.approx(0)


def test_flips_that_turn_both_signals_or_neither_find_no_head(measured):
    others = set(module.FLIPS) - set(S2I_SIGNALS.values())
    assert not measured(dict.fromkeys(others, [FALLS] * 5)).is_s2i.any()


def test_a_negligible_fall_and_one_within_noise_do_not_pass_but_have_the_signs_of_the_paper(
    measured,
):
    """Falls of 10 %, 4 % and 1e-6, of 5 % where one prompt rises, and none."""
    falls = [[1.8] * 3, [1.92] * 3, [2 - 2e-6] * 3, [1.2, 1.8, 2.7], [2.0] * 3]
    given = {S2I_SIGNALS["position"]: [(patched, 0.1, 0.3) for patched in falls]}
    frame = measured(given)
    assert heads_by(frame, "is_s2i") == {HEADS[0]}
    rows = frame[frame.flip == S2I_SIGNALS["position"]].set_index(["layer", "head"])
    noisy = rows.loc[HEADS[3]]
    assert noisy.d_logit_diff == pytest.approx(-0.05)
    assert (noisy.d_logit_diff_low, noisy.d_logit_diff_high) == pytest.approx((-0.4, 0.35))
    small = measured(given, settings=Algorithm(min_s2i_effect=0.03))
    assert heads_by(small, "is_s2i") == set(HEADS[:2])
    signs = measured(given, settings=Algorithm(rule="paper"))
    assert heads_by(signs, "is_s2i") == set(HEADS[:4])


def test_by_the_rule_of_the_paper_the_token_signal_does_not_count(measured):
    given = {S2I_SIGNALS["token"]: [FALLS, *OTHERS]}
    frame = measured(given, settings=Algorithm(rule="paper"))
    assert heads_by(frame, "by_token") == {(0, 0)}
    assert not frame.is_s2i.any()


def test_the_interval_is_a_paired_bootstrap_of_the_ratio(measured):
    from scipy.stats import bootstrap

    patched, clean = np.array([1.2, 1.8, 2.7]), np.array(NOTHING[0])
    frame = measured({"random_same": [(patched.tolist(), 0.4, 0.2)] * 5}, bootstrap=OFTEN)
    row = frame[frame.flip == "random_same"].iloc[0]
    found = bootstrap(
        (patched, clean),
        lambda a, b, axis: (a - b).mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=OFTEN.samples,
        rng=0,
    ).confidence_interval
    assert (row.d_logit_diff_low, row.d_logit_diff_high) == pytest.approx(tuple(found), abs=0.02)


def test_without_an_interval_no_head_passes():
    rows = pd.DataFrame({"layer": [0], "head": [1], "flip": [S2I_SIGNALS["position"]]})
    rows = rows.assign(d_logit_diff=-1.0, d_attn_io=-1.0, d_attn_s1=1.0)
    rows = rows.assign(d_logit_diff_low=np.nan, d_logit_diff_high=np.nan)
    assert not module._frame([rows], ScoreStatus.OK, Algorithm()).is_s2i.any()


POSITION, TOKEN, SMALL, RARE = {(1, 2), (1, 5)}, (1, 3), (1, 6), (1, 4)
BY_NAME = (2, 1)
AVOID_NAME = torch.kron(torch.eye(16), torch.tensor([1.0, 1.0, -1.0, -1.0]))[:6] / 2
"""Features, orthogonal to all others, of a name that is not to be looked at."""


def plant_token_signal(model):
    """Add a name mover that avoids names, not places, and three heads that talk to name movers.

    TOKEN moves the name at place 4 to AVOID_NAME. SMALL is another head for places, a 600th as
    strong as the first two together. RARE does what TOKEN does, but for the name 0 alone.
    """
    plant_mover(model, BY_NAME, 6, keys=NAMES, avoid=AVOID_NAME)
    plant_inhibit(model, SMALL, 0.005)
    for at, names, gain in ((TOKEN, slice(0, 6), 3.0), (RARE, slice(0, 1), 6.0)):
        plant_inhibit(model, at, 0.0)
        reads, _, writes = head_weights(model, at)
        reads[:, 2, :6] = 0
        reads[:, 2, names] = NAMES[names].T
        writes[:6] = gain * AVOID_NAME


@pytest.fixture(scope="module")
def planted_signals(tmp_path_factory):
    """A model, and 26 prompts: in two of them the name 0 is the indirect object."""
    folder = tmp_path_factory.mktemp("signals") / "model"
    save_planted_ioi(folder, more=plant_token_signal)
    couples = [(0, 1), *permutations(range(1, 5), 2)]
    return Subject(load_decoder(folder), 0, planted_ioi_pairs(couples))


PLANTED_MOVERS = [(2, 0), (2, 3), BY_NAME]
CANDIDATES = [*sorted(POSITION), TOKEN, SMALL, RARE]


def test_planted_heads_are_found_by_the_signal_that_they_carry(planted_signals):
    frame = s_inhibition(planted_signals, name_movers=PLANTED_MOVERS)
    assert heads_by(frame, "by_position") == POSITION
    assert heads_by(frame, "by_token") == {TOKEN}
    assert heads_by(frame, "is_s2i") == POSITION | {TOKEN}
    rows = frame.set_index(["layer", "head", "flip"])
    small, rare = rows.loc[(*SMALL, "same_opposite")], rows.loc[(*RARE, "opposite_same")]
    assert -0.01 < small.d_logit_diff < small.d_logit_diff_high < 0
    assert rare.d_logit_diff < -0.05
    assert rare.d_logit_diff_low < rare.d_logit_diff_high == 0
    # Half of the logit difference is from the mover that avoids names: tanh(3/2) turns around.
    told = rows.loc[(*TOKEN, "opposite_same")]
    assert told.d_logit_diff == pytest.approx(-1, abs=0.06)
    assert rows.loc[(*TOKEN, "same_opposite")].d_logit_diff == pytest.approx(0, abs=1e-3)


def test_by_the_rule_of_the_paper_weak_heads_are_found_and_those_for_names_are_not(planted_signals):
    signs = Algorithm(rule="paper")
    frame = s_inhibition(planted_signals, name_movers=PLANTED_MOVERS, settings=signs)
    assert heads_by(frame, "is_s2i") >= POSITION | {SMALL}
    assert TOKEN not in heads_by(frame, "is_s2i")


@pytest.mark.parametrize("rule", ["controlled", "paper"])
def test_what_passes_on_some_prompts_is_what_passes_with_these_alone(planted_signals, rule):
    """RARE tells of one name, so that it passes where few other prompts dilute it."""
    how = {"name_movers": PLANTED_MOVERS, "settings": Algorithm(rule=rule)}
    tested = flip_test(
        planted_signals, candidates=CANDIDATES, bootstrap=Bootstrap(), limits=AUTOMATIC, **how
    )
    everything = np.arange(len(planted_signals.pairs))
    for rows in (everything, everything[::2], everything[:9]):
        alone = replace(planted_signals, pairs=planted_signals.pairs.take(rows))
        found = heads_by(s_inhibition(alone, candidates=CANDIDATES, **how), "is_s2i")
        passed = tested.passed(rows)
        assert {at for at, has in zip(CANDIDATES, passed, strict=True) if has} == found
    none = flip_test(planted_signals, candidates=[], bootstrap=Bootstrap(), limits=AUTOMATIC, **how)
    assert none.passed(everything).tolist() == []


def test_all_heads_before_the_last_name_mover_are_candidates(random_model, pairs):
    frame = s_inhibition(Subject(random_model, 0, pairs), name_movers=[(1, 0), (2, 1)])
    heads = frame[["layer", "head"]].drop_duplicates()
    assert [tuple(row) for row in heads.to_numpy()] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_without_name_movers_there_is_an_empty_frame_that_says_so(random_model, pairs):
    frame = s_inhibition(Subject(random_model, 0, pairs), name_movers=[])
    assert frame.empty
    assert frame.attrs["status"] == ScoreStatus.NO_NAME_MOVERS
    assert list(frame.columns) == [
        *("layer", "head", "flip"),
        *("d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2"),
        *("d_logit_diff_low", "d_logit_diff_high", "by_position", "by_token", "is_s2i"),
    ]


def test_mlps_are_held_where_asked_for(random_model, pairs, monkeypatch):
    asked = []
    patch = module.patch_paths

    def watched(*given, **options):
        asked.append(options["freeze_mlps"])
        return patch(*given, **options)

    monkeypatch.setattr(module, "patch_paths", watched)
    subject, frozen = Subject(random_model, 0, pairs), Algorithm(freeze_mlps=True)
    s_inhibition(subject, name_movers=MOVERS, candidates=[(0, 1)], settings=frozen)
    assert asked == [True] * 5


def test_without_candidates_no_prompt_is_run(random_model, pairs, monkeypatch):
    monkeypatch.setattr(module, "patch_paths", None)
    frame = s_inhibition(Subject(random_model, 0, pairs), name_movers=MOVERS, candidates=[])
    assert frame.empty
    assert frame.attrs["status"] == ScoreStatus.OK


def test_name_movers_of_the_first_layer_hear_no_head(random_model, pairs):
    frame = s_inhibition(Subject(random_model, 0, pairs), name_movers=[(0, 1)])
    assert frame.empty
    assert frame.attrs["status"] == ScoreStatus.OK


def test_prompts_without_roles_or_with_too_few_names_are_refused(random_model, pairs):
    with pytest.raises(ValueError, match="roles io, s1, s2"):
        s_inhibition(Subject(random_model, 0, replace(pairs, roles={})), name_movers=[(2, 0)])
    with pytest.raises(ValueError, match="four names in all, found 2"):
        s_inhibition(Subject(random_model, 0, pairs.batch(0, 1)), name_movers=[(2, 0)])
