from dataclasses import replace
from types import MethodType

import numpy as np
import pytest
import torch

from circuitlapse import attribute_edges, load_decoder
from circuitlapse.circuits.attribution.relevance import propagating
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.layers import Norm
from tests import families, literal

RELP = {"metric": "logit_diff", "method": "relp"}


class WithRules(literal.Literal):
    """A model of `transformers` whose modules follow the rules of RelP."""

    def __init__(self, folder):
        super().__init__(folder)
        for name, module in self.model.named_modules():
            last = name.rpartition(".")[2]
            if "norm" in last or last.startswith("ln_"):
                module.forward = MethodType(frozen_norm, module)
            if last == "mlp":
                act = "act_fn" if hasattr(module, "act_fn") else "act"
                setattr(module, act, Identity(getattr(module, act)))
            if last == "down_proj":  # what enters is the product of the gate and the linear part
                module.register_forward_pre_hook(half)

    def _messages(self, layer, z):
        messages, bias = super()._messages(layer, z)
        if layer.after_attn is None:
            return messages, bias
        before, _ = super()._messages(replace(layer, after_attn=None), z)
        return before * (messages / before).detach(), bias


def half(module, args):
    return (args[0] / 2 + args[0].detach() / 2,)


def frozen_norm(self, x):
    centred = x
    eps = getattr(self, "variance_epsilon", getattr(self, "eps", 1e-5))
    if not hasattr(self, "variance_epsilon"):
        centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).sqrt().detach()
    out = centred / scale * (1 if getattr(self, "weight", None) is None else self.weight)
    return out if getattr(self, "bias", None) is None else out + self.bias


class Identity(torch.nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return x * (self.act(x) / x).detach()


@pytest.mark.parametrize("name", families.ALGEBRAS)
def test_scores_are_those_of_a_model_whose_modules_follow_the_rules(
    family_folder, random_pairs, name
):
    oracle = WithRules(family_folder(name))
    clean, corrupted = (
        literal.messages_of_run(oracle, side, random_pairs)
        for side in (random_pairs.clean, random_pairs.corrupted)
    )
    grads = literal.gradients(oracle, random_pairs, metric="logit_diff", replaced={})
    expected = literal.scores(corrupted - clean, grads, oracle.graph)
    model = load_decoder(family_folder(name), dtype="float64")
    ours = attribute_edges(model, random_pairs, **RELP).values
    assert np.nanmax(np.abs(ours - expected)) / np.nanmax(np.abs(expected)) < 1e-5


@pytest.mark.parametrize("name", families.ALGEBRAS)
def test_the_rules_do_not_change_what_a_model_computes(family_folder, random_pairs, name):
    model = load_decoder(family_folder(name))
    ours, plain = (cache_activations(one, random_pairs) for one in (propagating(model), model))
    torch.testing.assert_close(ours.clean.logits_end, plain.clean.logits_end)


def changed(model, *, attn=None, mlp=None, **norms):
    """Return the model with other parts in all blocks."""
    blocks = tuple(
        replace(
            block,
            attn=replace(block.attn, **(attn or {})),
            mlp=replace(block.mlp, **(mlp or {})),
            **norms,
        )
        for block in model.blocks
    )
    return replace(model, blocks=blocks)


def test_relevance_is_conserved(family_folder, random_pairs):
    """Without biases and with attention that no prompt turns, all that the input sends adds up."""
    model = load_decoder(family_folder("llama"), dtype="float64")
    no_queries = model.blocks[0].attn.qkv.clone()
    no_queries[: model.cfg.d_model] = 0
    model = changed(model, attn={"qkv": no_queries})
    clean, _ = cache_activations(model, random_pairs).metrics(random_pairs, metric="logit_diff")
    relevance = attribute_edges(model, random_pairs, ablation="zero", **RELP).values
    assert np.nansum(relevance[0]) == pytest.approx(clean.mean(), rel=1e-5)
    assert np.nansum(relevance[:, -1]) == pytest.approx(clean.mean(), rel=1e-5)
    eap = attribute_edges(model, random_pairs, ablation="zero", **RELP | {"method": "eap"}).values
    assert abs(np.nansum(eap[0])) < abs(clean.mean()) / 2


def test_without_norms_and_smooth_activations_scores_are_those_of_eap(random_folder, random_pairs):
    """A ReLU is linear wherever it has a gradient."""
    plain = Norm("none")
    model = changed(
        load_decoder(random_folder, dtype="float64"),
        mlp={"activation": "relu"},
        ln1=plain,
        ln2=plain,
    )
    model = replace(model, ln_final=plain)
    relp, eap = (
        attribute_edges(model, random_pairs, metric="logit_diff", method=method).values
        for method in ("relp", "eap")
    )
    np.testing.assert_allclose(relp, eap, rtol=1e-6)
