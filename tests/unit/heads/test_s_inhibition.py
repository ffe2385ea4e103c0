from dataclasses import replace

import pytest
import torch

from circuitlapse import PromptPairs
from circuitlapse.heads import s_inhibition as module
from circuitlapse.heads.base import Subject
from circuitlapse.heads.path_patching import PatchedPaths
from circuitlapse.heads.s_inhibition import flipped_prompts, s_inhibition
from circuitlapse.types import ScoreStatus
from tests.unit.heads.path_patching.test_path_patching import literal

A, B, C, D, E = 10, 11, 12, 13, 14
"""Names; 1 to 5 are other words."""
ABB, BAB = [A, 1, B, 2, B, 3], [5, D, C, 2, D, 3]
MOVERS = [(2, 0), (1, 1)]


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


def test_a_head_is_s_inhibition_by_three_signs_under_one_flip(random_model, pairs, monkeypatch):
    """Originals: logit difference 2; attention 0.4 to io, 0.2 to s1, 0.1 to s2."""
    heads = [(0, 0), (0, 1), (1, 0), (1, 1)]
    end = torch.tensor([0.4, 0.2, 0.1])
    roles = torch.stack([pairs.roles[role] for role in ("io", "s1", "s2")], 1)

    def at_roles(*attended):
        rows = torch.zeros(3, 1, 6)
        return rows.scatter(2, roles[:, None], torch.tensor(attended).expand(3, 1, 3))

    inhibited, less_s1 = (1.0, 0.1, 0.3, 0.1), (1.0, 0.1, 0.1, 0.1)
    more_io, better = (1.0, 0.5, 0.3, 0.1), (3.0, 0.1, 0.3, 0.1)
    patched = [inhibited, less_s1, more_io, better]

    def fake(model, given, **options):
        told = torch.equal(given.corrupted, flipped_prompts(pairs, seed=0)["same_opposite"])
        cases = patched if told else [inhibited] * 4
        return PatchedPaths(
            senders=tuple(heads),
            patched=torch.tensor([case[0] for case in cases])[:, None].expand(4, 3),
            clean=torch.full((3,), 2.0),
            corrupted=torch.zeros(3),
            attended=((2, 0),),
            attention=torch.stack([at_roles(*case[1:]) for case in cases]),
            clean_attention=at_roles(*end.tolist()),
        )

    monkeypatch.setattr(module, "patch_paths", fake)
    frame = s_inhibition(Subject(random_model, 0, pairs), name_movers=[(2, 0)])
    assert frame.attrs["status"] == ScoreStatus.OK
    found = frame[frame.is_s2i]
    assert set(zip(found.layer, found["head"], strict=True)) == {(0, 0)}
    assert len(found) == 5
    row = found.iloc[0]
    assert row.d_logit_diff == pytest.approx(-0.5)
    assert row.d_attn_io == pytest.approx(-0.75)
    assert row.d_attn_s1 == pytest.approx(0.5)
    assert row.d_attn_s2 == pytest.approx(0)


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
        *("d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2", "is_s2i"),
    ]


def test_mlps_are_held_where_asked_for(random_model, pairs, monkeypatch):
    asked = []
    patch = module.patch_paths

    def watched(*given, **options):
        asked.append(options["freeze_mlps"])
        return patch(*given, **options)

    monkeypatch.setattr(module, "patch_paths", watched)
    subject = Subject(random_model, 0, pairs)
    s_inhibition(subject, name_movers=MOVERS, candidates=[(0, 1)], freeze_mlps=True)
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
