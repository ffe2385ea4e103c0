import jaxtyping
import numpy as np
import pytest
import torch

from circuitlapse import PromptPairs


def pairs_of(**changes):
    parts = {
        "clean": torch.tensor([[1, 2, 3], [4, 5, 0]]),
        "corrupted": torch.tensor([[1, 9, 3], [9, 5, 0]]),
        "end": torch.tensor([2, 1]),
        "correct": [[7], [8]],
        "wrong": [[8], [7]],
    }
    return PromptPairs(**(parts | changes))


def test_lists_are_padded_on_the_right_and_end_at_their_last_token():
    pairs = PromptPairs.from_lists(
        [[1, 2, 3], [4, 5]], [[1, 9, 3], [9, 5]], correct=[[7], [8]], wrong=[[8], [7]]
    )
    expected = pairs_of()
    for part in ("clean", "corrupted", "end"):
        assert torch.equal(getattr(pairs, part), getattr(expected, part))
    assert pairs.attention_mask.tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corrupted": torch.zeros(2, 4, dtype=torch.long)}, "must be .pair, pos. of one size"),
        ({"end": torch.tensor([2, 3])}, "end must lie in 0..2"),
        ({"correct": [[7]]}, "correct has 1 entries for 2 pairs"),
        ({"wrong": [[8], []]}, "at least one correct and one wrong answer"),
        ({"roles": {"name": torch.tensor([1])}}, "role name has 1 entries for 2 pairs"),
        ({"groups": np.array([0, 0, 1])}, "groups has 3 entries for 2 pairs"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        pairs_of(**changes)


def test_a_pair_of_unequal_length_is_refused():
    with pytest.raises(ValueError, match="pair 1 has 2 clean and 3 corrupted tokens"):
        PromptPairs.from_lists(
            [[1, 2], [4, 5]], [[1, 9], [9, 5, 6]], correct=[[7], [8]], wrong=[[8], [7]]
        )


def test_a_batch_holds_the_same_pairs():
    part = pairs_of().batch(1, 2)
    assert len(part) == 1
    assert part.clean.tolist() == [[4, 5, 0]]
    assert (part.correct, part.wrong) == ([[8]], [[7]])


def test_they_are_shown_in_one_line():
    assert repr(pairs_of()) == "PromptPairs(2 pairs of up to 3 tokens)"
    assert repr(pairs_of().batch(1, 2)) == "PromptPairs(1 pairs of up to 2 tokens)"
    assert repr(pairs_of().batch(0, 0)) == "PromptPairs(0 pairs of up to 0 tokens)"


def test_roles_go_with_their_pairs():
    pairs = pairs_of(roles={"name": torch.tensor([1, 0])})
    assert pairs.batch(1, 2).roles["name"].tolist() == [0]
    assert pairs.repeat(2).roles["name"].tolist() == [1, 0, 1, 0]
    assert pairs.to("cpu").roles["name"].tolist() == [1, 0]


def test_pairs_can_be_taken_by_their_places():
    pairs = pairs_of(roles={"name": torch.tensor([1, 0])}).repeat(2)
    part = pairs.take(np.array([3, 0]))
    assert part.clean.tolist() == [pairs.clean[3].tolist(), pairs.clean[0].tolist()]
    assert part.corrupted.tolist() == [pairs.corrupted[3].tolist(), pairs.corrupted[0].tolist()]
    assert (part.correct, part.wrong) == ([[8], [7]], [[7], [8]])
    assert part.end.tolist() == [pairs.end[3], pairs.end[0]]
    assert part.roles["name"].tolist() == [0, 1]


def test_groups_go_with_their_pairs_and_are_numbered_again():
    pairs = pairs_of(groups=np.array([7, 7]))
    assert (pairs.groups.tolist(), pairs.n_groups) == ([0, 0], 1)
    four = pairs_of(groups=np.array([4, 2])).repeat(2)
    assert (four.groups.tolist(), four.n_groups) == ([1, 0, 1, 0], 2)
    assert four.batch(0, 1).groups.tolist() == [0]
    assert four.take(np.array([2, 1, 0])).groups.tolist() == [1, 0, 1]
    assert four.to("cpu").groups.tolist() == [1, 0, 1, 0]


def test_without_groups_every_pair_is_one():
    assert pairs_of().groups.tolist() == [0, 1]
