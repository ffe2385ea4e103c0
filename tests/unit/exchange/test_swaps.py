from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitlapse import load_decoder
from circuitlapse.errors import ModelError, UnknownNameError
from circuitlapse.exchange import swaps
from circuitlapse.exchange.swaps import PARTS, swap_metric, swap_sets, swapped
from circuitlapse.models.activations import clean_logits
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.forward import embed_tokens, run_layers
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import mean_interval
from circuitlapse.types import HeadSet
from tests import families, literal
from tests.conftest import bridge_of, save_random, save_random_model

D_HEAD = 16
ALL_HEADS = [(layer, head) for layer in range(3) for head in range(2)]
METRIC = {"metric": "logit_diff"}


@pytest.fixture(scope="module", params=["parallel", "gpt2"])
def folders(request, tmp_path_factory):
    """Two steps of one model, in no weight alike."""
    home = tmp_path_factory.mktemp(request.param)
    made = []
    for step in (1, 2):
        folder = save_random(request.param, home / f"step{step}")
        weights, draw = load_file(folder / "model.safetensors"), torch.Generator().manual_seed(step)
        for weight in weights.values():
            weight += 0.2 * torch.randn(weight.shape, generator=draw)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def steps(folders):
    return [load_decoder(folder) for folder in folders]


def all_weights(model):
    return [weight.clone() for weight in model.weights()]


def assert_same_weights(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def layers_of(model, pairs):
    return run_layers(model, embed_tokens(model, pairs.clean))


def logits_of(model, pairs):
    return clean_logits(model, pairs, limits=AUTOMATIC)


def logits_elsewhere(model, pairs):
    """The logits of the folder of a model, by TransformerLens."""
    return bridge_of(model)(pairs.clean)[torch.arange(len(pairs)), pairs.end]


def test_all_heads_and_all_else_make_the_source(steps, random_pairs):
    target, source = steps
    model = swapped(target, source, ALL_HEADS, also=PARTS)
    assert_same_weights(all_weights(model), all_weights(source))
    expected = logits_elsewhere(source, random_pairs)
    torch.testing.assert_close(logits_of(model, random_pairs), expected, rtol=1e-4, atol=1e-4)


def test_nothing_swapped_is_the_target(steps, random_pairs):
    target, source = steps
    model = swapped(target, source, [])
    assert_same_weights(all_weights(model), all_weights(target))
    assert torch.equal(logits_of(model, random_pairs), logits_of(target, random_pairs))


def test_neither_model_is_changed(steps):
    before = [all_weights(model) for model in steps]
    model = swapped(*steps, ALL_HEADS, also=PARTS)
    for found, mine in zip(model.weights(), before[0], strict=True):
        assert not torch.equal(found, mine)
    for step, weights in zip(steps, before, strict=True):
        assert_same_weights(all_weights(step), weights)


def test_only_the_attention_of_layers_with_swapped_heads_takes_memory(steps):
    target, source = steps
    model = swapped(target, source, [(1, 0)])
    known = {weight.data_ptr() for weight in target.weights()}
    new = [weight for weight in model.weights() if weight.data_ptr() not in known]
    attn = model.blocks[1].attn
    assert {id(weight) for weight in new} == {id(x) for x in (attn.qkv, attn.qkv_bias, attn.out)}


def test_bridges_lend_heads_as_decoders_do(steps, random_pairs):
    expected = swap_metric(*steps, [(1, 0)], random_pairs, **METRIC)
    bridges = [bridge_of(model) for model in steps]
    before = bridges[0](random_pairs.clean)
    found = swap_metric(*bridges, [(1, 0)], random_pairs, **METRIC)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert torch.equal(bridges[0](random_pairs.clean), before)


def lend_in_file(target, source, heads, *, gpt2):
    """Return the target's checkpoint with rows and columns of heads from that of the source."""
    weights = {name: weight.clone() for name, weight in target.items()}
    for layer, head in heads:
        if gpt2:  # weights are [in, out]
            joint, out = f"transformer.h.{layer}.attn.c_attn", f"transformer.h.{layer}.attn.c_proj"
            for port in range(3):
                place = slice(32 * port + D_HEAD * head, 32 * port + D_HEAD * (head + 1))
                weights[f"{joint}.weight"][:, place] = source[f"{joint}.weight"][:, place]
                weights[f"{joint}.bias"][place] = source[f"{joint}.bias"][place]
            place = slice(D_HEAD * head, D_HEAD * (head + 1))
            weights[f"{out}.weight"][place] = source[f"{out}.weight"][place]
        else:
            joint = f"gpt_neox.layers.{layer}.attention.query_key_value"
            out = f"gpt_neox.layers.{layer}.attention.dense"
            place = slice(3 * D_HEAD * head, 3 * D_HEAD * (head + 1))
            weights[f"{joint}.weight"][place] = source[f"{joint}.weight"][place]
            weights[f"{joint}.bias"][place] = source[f"{joint}.bias"][place]
            place = slice(D_HEAD * head, D_HEAD * (head + 1))
            weights[f"{out}.weight"][:, place] = source[f"{out}.weight"][:, place]
    return weights


@pytest.mark.parametrize("heads", [[(1, 0)], [(0, 1), (2, 0)]])
def test_heads_swapped_in_memory_are_heads_swapped_in_the_checkpoint(
    folders, steps, heads, random_pairs, tmp_path
):
    target, source = (load_file(folder / "model.safetensors") for folder in folders)
    gpt2 = "transformer.wte.weight" in target
    lent = lend_in_file(target, source, heads, gpt2=gpt2)
    save_random("gpt2" if gpt2 else "parallel", tmp_path / "swapped")
    save_file(lent, tmp_path / "swapped/model.safetensors", {"format": "pt"})
    expected, model = load_decoder(tmp_path / "swapped"), swapped(*steps, heads)
    assert_same_weights(all_weights(model), all_weights(expected))
    logits = logits_elsewhere(expected, random_pairs)
    torch.testing.assert_close(logits_of(model, random_pairs), logits, rtol=1e-4, atol=1e-4)


@pytest.fixture(params=families.ALGEBRAS)
def family_steps(request, family_folder, tmp_path):
    """Folders of two steps of a model of any family."""
    source = families.save(request.param, tmp_path / "source")
    draw = torch.Generator().manual_seed(1)

    def move(weights):
        for weight in weights.values():
            weight += 0.1 * torch.randn(weight.shape, generator=draw)

    families.edit_weights(source, move)
    return family_folder(request.param), source


@torch.no_grad()
def lent_elsewhere(target, source, heads, pairs):
    """The logits of transformers, with rows and columns of heads from another model.

    In `literal.Literal` every query head has a key and a value of its own.
    """
    mine, theirs = literal.Literal(target), literal.Literal(source)
    for layer, head in heads:
        ours, other = (oracle.layers[layer] for oracle in (mine, theirs))
        for (module, ports), (lent, _) in zip(ours.ports, other.ports, strict=True):
            for weight, new in zip(module.parameters(), lent.parameters(), strict=True):
                turned = type(module).__name__ == "Conv1D" and weight.ndim == 2
                rows, with_rows = (w.T if turned else w for w in (weight, new))
                column = mine.column_of_channel(ports, len(rows))
                rows[column % mine.n_heads == head] = with_rows[column % mine.n_heads == head]
        turned = type(ours.out).__name__ == "Conv1D"
        out, new = (x.out.weight if turned else x.out.weight.T for x in (ours, other))
        place = torch.arange(len(out)) // (len(out) // mine.n_heads) == head
        out[place] = new[place]
    return mine.end_logits(pairs.clean, pairs)


def test_in_every_family_heads_are_swapped_as_in_transformers(family_steps, random_pairs):
    heads = [(0, 1), (1, 2), (1, 3)]
    target, source = (load_decoder(folder, dtype="float64") for folder in family_steps)
    ours = logits_of(swapped(target, source, heads), random_pairs)
    expected = lent_elsewhere(*family_steps, heads, random_pairs)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert (ours - logits_of(target, random_pairs)).abs().max() > 0.01


def test_in_every_family_all_heads_and_all_else_make_the_source(family_steps, random_pairs):
    target, source = (load_decoder(folder, dtype="float64") for folder in family_steps)
    heads = [(layer, head) for layer in range(2) for head in range(4)]
    ours = logits_of(swapped(target, source, heads, also=PARTS), random_pairs)
    expected = lent_elsewhere(family_steps[1], family_steps[1], [], random_pairs)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_one_head_changes_its_own_output_and_no_other_before_it_or_beside_it(steps, random_pairs):
    target, source = steps
    before = layers_of(target, random_pairs)
    after = layers_of(swapped(target, source, [(1, 1)]), random_pairs)
    assert torch.equal(after[0].after, before[0].after)
    assert torch.equal(after[1].z[:, :, 0], before[1].z[:, :, 0])
    assert not torch.allclose(after[1].z[:, :, 1], before[1].z[:, :, 1], atol=0.01)


def test_a_lent_head_computes_on_the_same_input_what_it_computes_at_home(steps, random_pairs):
    """In the first layer, with the embedding and the LayerNorm of the source as well."""
    target, source = steps
    model = swapped(target, source, [(0, 1)], also=["layer_norms", "rest"])
    lent = layers_of(model, random_pairs)[0].z
    torch.testing.assert_close(lent[:, :, 1], layers_of(source, random_pairs)[0].z[:, :, 1])


def test_models_of_different_shape_cannot_swap(steps, random_folder, tmp_path):
    other = load_decoder(save_random_model(tmp_path / "other", num_attention_heads=4))
    model = load_decoder(random_folder)
    with pytest.raises(ModelError, match="n_heads is 4 in the source but 2 in the target"):
        swapped(model, other, [])


@pytest.mark.parametrize("head", [(3, 0), (0, 2), (-1, 0)])
def test_a_head_that_is_not_there_is_refused(steps, head):
    message = f"no head {head[1]} in layer {head[0]}; the model has 3"
    with pytest.raises(ModelError, match=message):
        swapped(*steps, [head])


def test_an_unknown_part_is_refused(steps):
    message = "unknown part of a model 'mlp'; did you mean 'mlps'"
    with pytest.raises(UnknownNameError, match=message):
        swapped(*steps, [], also=["mlp"])


def test_the_metric_of_a_swap_is_that_of_the_swapped_model(steps, random_pairs):
    target, source = steps
    found = swap_metric(
        target, source, [(0, 0), (2, 1)], random_pairs, limits=Limits(batch_size=4), **METRIC
    )
    logits = logits_of(swapped(target, source, [(0, 0), (2, 1)]), random_pairs)
    expected = per_prompt_metric(logits, random_pairs, **METRIC)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_every_set_of_heads_has_a_row_and_a_control_of_as_many_random_heads(steps, random_pairs):
    target, source = steps
    sets = {HeadSet.S2I: frozenset({(1, 0), (2, 1)}), HeadSet.NAME_MOVERS: frozenset()}
    how = {"seed": 3, "bootstrap": Bootstrap(samples=200, level=0.9, seed=5), **METRIC}
    rows = swap_sets(target, source, sets, random_pairs, random_sets=2, **how)
    by_set = {row["head_set"]: row for row in rows}
    assert list(by_set) == ["s2i", "random_like_s2i", "name_movers", "random_like_name_movers"]
    baseline = swap_metric(target, source, [], random_pairs, **METRIC).mean()
    draws = [[(1, 1), (2, 0)]]  # of two heads per layer, the other one; it is drawn twice
    tried = {"s2i": [sets[HeadSet.S2I]], "random_like_s2i": draws}
    for name, candidates in tried.items():
        means = [
            swap_metric(target, source, one, random_pairs, **METRIC).mean() for one in candidates
        ]
        row = by_set[name]
        assert row["swapped"] == pytest.approx(np.mean(means))
        assert row["baseline"] == pytest.approx(baseline)
        assert row["difference"] == pytest.approx(np.mean(means) - baseline)
        assert (row["n_heads"], row["n"], row["status"]) == (2, 9, "ok")
        draw = ["n_draws", "lowest_draw", "highest_draw"]
        if name == "s2i":
            assert all(pd.isna(row[column]) for column in draw)
        else:
            assert [row[column] for column in draw] == pytest.approx([1, min(means), max(means)])
    for name in ("name_movers", "random_like_name_movers"):
        assert np.isnan(by_set[name]["swapped"])
        assert np.isnan(by_set[name]["difference"])
        assert np.isnan(by_set[name]["difference_low"])
        assert pd.isna(by_set[name]["n_draws"])
        assert (by_set[name]["n_heads"], by_set[name]["status"]) == (0, "no_heads")
    alone = swap_sets(target, source, sets, random_pairs, random_sets=0, **how)
    assert [row["head_set"] for row in alone] == list(sets)


def test_the_interval_of_a_swap_is_over_prompts_that_are_resampled_with_and_without_it(
    steps, random_pairs
):
    """By hand: means of the differences of resampled prompts, and their 5th and 95th percentile."""
    target, source = steps
    heads = [(0, 0), (2, 1)]
    before, after = (
        swap_metric(target, source, one, random_pairs, **METRIC) for one in ([], heads)
    )
    drawn = np.random.default_rng(0).integers(9, size=(20_000, 9))
    expected = np.percentile((after - before)[drawn].mean(1), [5, 95])
    how = {
        "random_sets": 0,
        "seed": 3,
        "bootstrap": Bootstrap(samples=5_000, level=0.9, seed=5),
        **METRIC,
    }
    [row] = swap_sets(target, source, {HeadSet.S2I: heads}, random_pairs, **how)
    width = expected[1] - expected[0]
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(
        expected, abs=width / 20
    )
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    grouped = replace(random_pairs, groups=groups)
    [by_groups] = swap_sets(target, source, {HeadSet.S2I: heads}, grouped, **how)
    expected = mean_interval(after - before, how["bootstrap"], groups)
    assert (by_groups["difference_low"], by_groups["difference_high"]) == expected
    assert (by_groups["difference"], by_groups["n"]) == (row["difference"], 3)
    apart = [np.percentile(part[drawn].mean(1), [5, 95]) for part in (before, after)]
    unpaired = apart[1][1] - apart[0][0] - (apart[1][0] - apart[0][1])
    assert unpaired > 1.2 * width


def test_a_control_without_enough_other_heads_says_so(steps, random_pairs):
    how = {"seed": 3, "random_sets": 5, "bootstrap": Bootstrap(samples=200), **METRIC}
    sets = {HeadSet.S2I: {(1, 0), (1, 1)}, HeadSet.CIRCUIT: set(ALL_HEADS[:4])}
    rows = {row["head_set"]: row for row in swap_sets(*steps, sets, random_pairs, **how)}
    assert rows["random_like_s2i"]["status"] == "other_layers"
    assert np.isfinite(rows["random_like_s2i"]["swapped"])
    assert rows["random_like_circuit"]["status"] == "too_few_heads"
    assert np.isnan(rows["random_like_circuit"]["swapped"])
    assert rows["circuit"]["status"] == "ok"


def test_the_same_heads_are_run_once(steps, random_pairs, monkeypatch):
    tried = []

    def counted(target, source, heads, *args, **how):
        tried.append(frozenset(heads))
        return swap_metric(target, source, heads, *args, **how)

    monkeypatch.setattr(swaps, "swap_metric", counted)
    how = {"seed": 3, "random_sets": 4, "bootstrap": Bootstrap(samples=100), **METRIC}
    same = {name: {(1, 0)} for name in (HeadSet.CIRCUIT, HeadSet.NAME_MOVERS, HeadSet.S2I)}
    rows = swap_sets(*steps, same, random_pairs, **how)
    assert tried == [frozenset(), frozenset({(1, 0)}), frozenset({(1, 1)})]
    assert len({row["swapped"] for row in rows}) == 2
