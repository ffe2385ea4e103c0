import torch

from circuitlapse.attribution.gradients import receiver_gradients, through_layer_norm
from circuitlapse.hooks import end_logits, recorder, separate_inputs
from circuitlapse.metrics import per_prompt_metric


def copier(store, name):
    record = recorder(store, name)
    return lambda x, hook: record(x.clone(), hook)


class Norm:
    def __init__(self, module):
        self.original_component = module


def test_the_way_back_through_layer_norm_is_that_of_autograd():
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(7, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    grads = torch.randn(2, 3, 4, 7, dtype=torch.float64)
    ours = through_layer_norm(grads, x=x.detach(), norm=Norm(norm))
    for receiver in range(4):
        (expected,) = torch.autograd.grad(norm(x), x, grads[:, :, receiver])
        torch.testing.assert_close(ours[:, :, receiver], expected)


def test_gradients_are_those_of_inputs_that_were_really_separated(random_model, random_pairs):
    """Copy the residual stream once per receiver, as a definition would, and ask autograd."""
    embed = random_model.embed(random_pairs.corrupted).detach()
    ours = receiver_gradients(random_model, random_pairs, embed=embed, metric="prob_diff")
    got = {}
    names = [
        f"blocks.{layer}.{kind}"
        for layer in range(3)
        for kind in (*(f"attn.hook_{port}_input" for port in "qkv"), "hook_mlp_in")
    ]
    names.append("ln_final.hook_in")
    start = embed.clone().requires_grad_(True)
    with separate_inputs(random_model), torch.enable_grad():
        hooks = [(name, copier(got, name)) for name in names]
        hooks.append(("embed.hook_out", lambda x, hook: start))
        logits = end_logits(random_model, random_pairs.clean, pairs=random_pairs, hooks=hooks)
        loss = -per_prompt_metric(logits, random_pairs, metric="prob_diff").sum()
        grads = torch.autograd.grad(loss, [got[name] for name in names])
    expected = torch.cat([g if g.ndim == 4 else g[:, :, None] for g in grads], dim=2)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)
