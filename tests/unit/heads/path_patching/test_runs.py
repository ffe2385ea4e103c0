from dataclasses import replace

import pytest
import torch

from circuitlapse import PromptPairs
from circuitlapse.heads.path_patching.patch_plan import HeadPort, make_plan
from circuitlapse.heads.path_patching.runs import first_runs, receive, send, window_width
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.forward import at_end
from circuitlapse.models.metrics import per_prompt_metric


def plan_of(model, receivers="logits", **changes):
    options = {
        "senders": [(0, 0), (0, 1), (1, 0)],
        "sender_positions": "all",
        "freeze_mlps": False,
        "attention": False,
        "metric": "logit_diff",
    }
    return make_plan(model, receivers=receivers, **(options | changes))


PORTS = [HeadPort(2, 0, "q"), HeadPort(2, 1, "v")]


def runs_of(model, pairs, *args, **changes):
    return first_runs(model, pairs, plan_of(model, *args, **changes), None)


def test_the_first_runs_are_those_of_the_whole_model(random_model, random_pairs):
    runs = runs_of(random_model, random_pairs)
    whole = cache_activations(random_model, random_pairs)
    for layers, run in ((runs.clean, whole.clean), (runs.corrupted, whole.corrupted)):
        expected = per_prompt_metric(run.logits_end, random_pairs, metric="logit_diff")
        torch.testing.assert_close(runs.metric_of(layers), expected, rtol=1e-4, atol=1e-5)


def test_the_window_reaches_from_the_first_difference_of_any_pair_to_the_end(
    random_model, random_pairs
):
    """Pairs differ in their third token and have up to eight: six positions of the longest."""
    assert window_width(random_pairs, plan_of(random_model, PORTS)) == 6
    assert window_width(random_pairs, plan_of(random_model)) == 1
    same = replace(random_pairs, corrupted=random_pairs.clean)
    assert window_width(same, plan_of(random_model, PORTS)) == 1


def test_padding_that_differs_is_no_difference(random_model):
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 0]])
    other = torch.tensor([[1, 2, 3, 5], [1, 3, 7, 7]])
    pairs = PromptPairs(tokens, other, torch.tensor([3, 1]), [[1]] * 2, [[2]] * 2)
    assert window_width(pairs, plan_of(random_model, PORTS)) == 1


def test_a_window_ends_at_the_end_and_repeats_the_start_of_short_prompts(
    random_model, random_pairs
):
    runs = runs_of(random_model, random_pairs, PORTS)
    assert (runs.at[:, -1] == random_pairs.end).all()
    short = int(random_pairs.end.argmin())
    assert runs.at[short].tolist() == [0, 0, 1, 2, 3, 4]
    window = runs.window(random_pairs.clean[..., None].float())[short, :, 0]
    assert window.tolist() == random_pairs.clean[short, [0, 0, 1, 2, 3, 4]].tolist()


def test_attention_of_the_clean_run_is_that_of_the_whole_model(random_model, random_pairs):
    runs = runs_of(random_model, random_pairs, PORTS, attention=True)
    pattern = cache_activations(random_model, random_pairs).clean.pattern
    for place, head in enumerate((0, 1)):
        expected = at_end(pattern[:, 2, head], random_pairs.end)
        torch.testing.assert_close(runs.clean_attention()[:, place], expected)


@pytest.mark.parametrize("freeze_mlps", [False, True])
def test_senders_that_change_nothing_leave_every_run_clean(random_model, random_pairs, freeze_mlps):
    """With equal prompts, run 2 must give the receivers their clean vectors, and so must run 3."""
    same = replace(random_pairs, corrupted=random_pairs.clean)
    runs = runs_of(random_model, same, PORTS, freeze_mlps=freeze_mlps, attention=True)
    senders = runs.plan.reaching
    received, _ = send(runs, senders)
    assert set(received) == set(PORTS)
    resid, attention = receive(runs, received, len(senders))
    clean = at_end(runs.clean[-1].after, same.end).expand(len(senders), -1, -1)
    torch.testing.assert_close(resid[:, :, -1], clean, rtol=1e-4, atol=1e-4)
    expected = runs.clean_attention().expand_as(attention)
    torch.testing.assert_close(attention, expected, rtol=1e-4, atol=1e-5)
