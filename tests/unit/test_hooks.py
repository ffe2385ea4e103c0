import pytest
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse.hooks import end_logits, recorder, separate_inputs


def test_only_the_logits_at_the_end_are_returned(random_folder, random_model, random_pairs):
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder).eval()
    with torch.no_grad():
        expected = plain(random_pairs.clean).logits[torch.arange(9), random_pairs.end]
        ours = end_logits(random_model, random_pairs.clean, pairs=random_pairs)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_gradient_reaches_what_was_recorded(random_model, random_pairs):
    got = {}
    embed = random_model.embed(random_pairs.clean).detach().requires_grad_(True)
    hooks = [
        ("embed.hook_out", lambda x, hook: embed),
        ("blocks.1.attn.q.hook_out", recorder(got, "q")),
    ]
    logits = end_logits(random_model, random_pairs.clean, pairs=random_pairs, hooks=hooks)
    (grad,) = torch.autograd.grad(logits.sum(), got["q"])
    assert grad.shape == (9, 8, 2, 16)
    assert grad.abs().sum() > 0


def test_separate_inputs_end_with_the_block_even_when_it_fails(random_model):
    def fail():
        with separate_inputs(random_model):
            assert random_model.cfg.use_split_qkv_input
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not random_model.cfg.use_split_qkv_input
    assert not random_model.cfg.use_hook_mlp_in
