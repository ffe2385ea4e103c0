"""Self-repair in planted models with a backup head of known strength."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitlapse.heads.algorithm.case import Case
from circuitlapse.heads.algorithm.self_repair import ablate, partners, self_repair
from circuitlapse.heads.path_patching import patch_paths
from circuitlapse.models.batching import Limits
from circuitlapse.models.load import load_decoder
from circuitlapse.schemas import SELF_REPAIR_NUMBERS
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import Role
from tests.planted_ioi import (
    MOVERS,
    NAMES,
    PLACE,
    ROOT,
    SCORE,
    head_weights,
    plant_mover,
    planted_ioi_pairs,
    save_planted_ioi,
)

SHAPE = (3, 8)
SUPPRESSOR, BACKUP, GAIN = (1, 0), (2, 1), 3.0
BOOTSTRAP = Bootstrap(samples=200, level=0.95, seed=0)


def plant_reader(model, at, *, place, gain):
    """From the end, attend to one place and write the name there, times a gain."""
    reads, bias, writes = head_weights(model, at)
    strength = (SCORE**0.5) * ROOT
    bias[0] = strength
    reads[:, 1, 0] = strength * PLACE[place]
    reads[:, 2, :6] = NAMES.T
    writes[:6] = gain * NAMES


def plant_backup(model, share):
    """SUPPRESSOR lowers the logit of S; BACKUP reads what it wrote at the end, and undoes a share.

    No mover moves anything. So the logit difference is GAIN (1 - share), and if SUPPRESSOR writes
    something else, BACKUP undoes that share of the change.
    """
    for at in MOVERS:
        plant_mover(model, at, 0.0)
    plant_reader(model, SUPPRESSOR, place=4, gain=-GAIN)
    plant_reader(model, BACKUP, place=5, gain=-share)


def case_of(model, pairs, **given):
    given = {"settings": Algorithm(), "bootstrap": BOOTSTRAP, "seed": 5} | given
    return Case(model=model, pairs=pairs, scores={}, circuit=None, limits=Limits(), **given)


def repaired(model, pairs, roles, **given):
    masks = {}
    for role, heads in roles.items():
        masks[role] = np.zeros(SHAPE, dtype=bool)
        for at in heads:
            masks[role][at] = True
    span = np.full(len(pairs), 2 * GAIN)
    found = self_repair(
        case_of(model, pairs),
        {role: mask.ravel() for role, mask in masks.items()},
        **{"span": span} | given,
    )
    return found.set_index("role")


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, -0.5])
def test_a_backup_head_repairs_the_share_that_was_planted(tmp_path, share):
    """With 0.4 it makes up for 40 %; with -0.5 it adds to the harm."""
    folder = save_planted_ioi(tmp_path / "m", more=lambda model: plant_backup(model, share))
    model, pairs = load_decoder(folder, dtype="float64"), planted_ioi_pairs()
    roles = {Role.NEGATIVE_NAME_MOVER: {SUPPRESSOR}, Role.NAME_MOVER: {BACKUP}}
    rows = repaired(model, pairs, roles)
    row = rows.loc["NegNM"]
    assert row["direct"] < -0.2
    assert row["repaired"] == pytest.approx(share, abs=1e-3)
    assert row["repaired_low"] == pytest.approx(share, abs=1e-3)
    assert row["repaired_high"] == pytest.approx(share, abs=1e-3)
    assert row["total"] == pytest.approx((1 - share) * row["direct"], abs=1e-3)
    assert (row["n_heads"], row["status"]) == (1, "ok")
    if share:
        assert rows.loc["NM", "repaired"] == pytest.approx(0, abs=1e-3)  # nothing is behind it
    assert np.isnan(row["null_repaired_mean"])  # no other head of the layer has an effect
    assert set(rows["status"].drop(["NM", "NegNM"])) == {"no_heads"}


def test_nothing_is_repaired_in_the_plain_planted_model(planted):
    """The movers come last, so that nothing can react; INHIBIT has no direct effect."""
    roles = {Role.NAME_MOVER: {(2, 0), (2, 3)}, Role.S_INHIBITION: {(1, 2)}}
    rows = repaired(planted, planted_ioi_pairs(), roles)
    names = ["repaired", "repaired_low", "repaired_high", "null_repaired_mean"]
    assert rows.loc["NM", names].to_numpy(float) == pytest.approx(0, abs=1e-3)
    assert rows.loc["S2I", "status"] == "no_effect"
    assert rows.loc["S2I", names].isna().all()
    assert rows.loc["S2I", "direct"] == pytest.approx(0, abs=1e-6)
    assert rows.loc["S2I", "total"] < -0.05


def test_the_direct_effect_is_that_of_path_patching_and_the_total_one_of_an_edited_run(
    random_model, random_pairs
):
    """In a model with MLPs, several heads in two layers, and several batches."""
    case = replace(case_of(random_model, random_pairs), limits=Limits(batch_size=3))
    sets = [{(0, 1), (1, 0)}, {(2, 1)}]
    found = ablate(case, random_pairs, sets)
    paths = patch_paths(
        random_model, random_pairs, receivers="logits", senders=sets, freeze_mlps=True
    )
    for change, patched in zip(found, paths.patched, strict=True):
        expected = (patched - paths.clean).double().numpy()
        assert change.direct == pytest.approx(expected, abs=1e-5)
    last = found[1]  # nothing but the MLP of the last layer can react
    assert np.abs(last.total - last.direct).max() > 0


def test_partners_are_prompts_of_other_groups_and_equal_length():
    pairs = planted_ioi_pairs()
    lengths = torch.tensor([4, 5] * 30)
    pairs = replace(pairs, end=lengths, groups=np.arange(60) // 4)
    kept, partner = partners(pairs, seed=1)
    assert kept.tolist() == list(range(60))
    assert sorted(partner) == kept.tolist()
    assert (pairs.groups[partner] != pairs.groups).all()
    assert (lengths[partner] == lengths).all()
    assert (partners(pairs, seed=2)[1] != partner).any()
    lengths[-2:] = 3  # of one group: nothing else is as long
    kept, partner = partners(replace(pairs, end=lengths), seed=1)
    assert kept.tolist() == list(range(58))
    assert partner[58:].tolist() == [58, 59]


@pytest.mark.parametrize(
    ("status", "n", "span"), [("no_behaviour", 60, None), ("too_few_prompts", 9, 1.0)]
)
def test_what_is_not_measured_says_why(planted, status, n, span):
    pairs = planted_ioi_pairs().batch(0, n)
    span = span and np.full(n, span)
    rows = repaired(planted, pairs, {Role.NAME_MOVER: {(2, 0)}}, span=span)
    assert set(rows["status"]) == {status}
    assert rows[list(SELF_REPAIR_NUMBERS)].isna().all(axis=None)
    assert len(rows) == len(Role)
