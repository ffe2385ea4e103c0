import pytest
import torch

from circuitlapse.heads.path_patching import batches
from circuitlapse.heads.path_patching.batches import _bytes_per_row, _patch, patch_in_batches
from circuitlapse.heads.path_patching.patch_plan import HeadPort, make_plan
from circuitlapse.heads.path_patching.runs import first_runs, send
from circuitlapse.models.batching import AUTOMATIC, Limits

RECEIVERS = {"logits": "logits", "queries": [HeadPort(2, 0, "q"), HeadPort(1, 1, "q")]}


def plan_of(model, receivers, **changes):
    options = {
        "senders": [(0, 0), (0, 1), (1, 0), (2, 1)],
        "sender_positions": "all",
        "freeze_mlps": False,
        "attention": True,
        "metric": "logit_diff",
    }
    return make_plan(model, receivers=RECEIVERS[receivers], **(options | changes))


@pytest.mark.parametrize("receivers", RECEIVERS)
def test_senders_one_by_one_give_what_they_give_side_by_side(random_model, random_pairs, receivers):
    runs = first_runs(random_model, random_pairs, plan_of(random_model, receivers), None)
    one, all_of_them = _patch(runs, 1), _patch(runs, 4)
    for got, expected in zip(one, all_of_them, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_sender_behind_all_receivers_changes_nothing(random_model, random_pairs):
    plan = plan_of(random_model, "queries")
    part = patch_in_batches(random_model, random_pairs, [plan], AUTOMATIC)[0]
    row = plan.senders.index(((2, 1),))
    assert row >= len(plan.reaching)
    torch.testing.assert_close(part.patched[:, row], part.clean)
    torch.testing.assert_close(part.attention[:, row], part.clean_attention)
    assert (part.patched[:, 0] != part.clean).any()


@pytest.mark.parametrize("metric", ["logit_diff", "kl_divergence"])
def test_batches_of_prompts_are_put_together_in_order(random_model, random_pairs, metric):
    plan = plan_of(random_model, "queries", metric=metric)
    whole = patch_in_batches(random_model, random_pairs, [plan], AUTOMATIC)[0]
    parts = patch_in_batches(random_model, random_pairs, [plan], Limits(batch_size=2))[0]
    assert whole.patched.shape == (9, 4)
    for got, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_plans_that_share_the_first_run_give_what_each_gives_alone(random_model, random_pairs):
    plans = [plan_of(random_model, name, attention=False) for name in RECEIVERS]
    together = patch_in_batches(random_model, random_pairs, plans, Limits(batch_size=4))
    for plan, found in zip(plans, together, strict=True):
        (alone,) = patch_in_batches(random_model, random_pairs, [plan], AUTOMATIC)
        for got, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_one_prompt_at_once_takes_fewer_senders_when_memory_runs_out(
    random_model, random_pairs, monkeypatch
):
    plan = plan_of(random_model, "queries")
    whole = patch_in_batches(random_model, random_pairs, [plan], AUTOMATIC)[0]
    tried = []

    def tight(runs, senders):
        tried.append(len(senders))
        if len(senders) > 1:
            raise torch.OutOfMemoryError
        return send(runs, senders)

    monkeypatch.setattr(batches, "send", tight)
    parts = patch_in_batches(random_model, random_pairs, [plan], Limits(batch_size=1))[0]
    assert max(tried) > 1
    for got, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_positions_receivers_and_whole_logits_take_more_memory(random_model):
    plan = plan_of(random_model, "queries")
    narrow, wide = (_bytes_per_row(random_model, plan, n_pos=8, width=w) for w in (1, 6))
    assert narrow < wide < 6 * narrow  # keys and values of all positions do not grow with it
    probabilities = plan_of(random_model, "queries", metric="prob_diff")
    assert _bytes_per_row(random_model, probabilities, n_pos=8, width=1) > narrow
    to_logits = plan_of(random_model, "logits")
    assert _bytes_per_row(random_model, to_logits, n_pos=8, width=1) < narrow
