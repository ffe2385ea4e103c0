from dataclasses import fields

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse.models.activations import SIDES, RunActivations, cache_activations, run_outputs
from circuitlapse.models.batching import Limits
from tests.conftest import bridge_of


def test_all_sources_and_the_attention_biases_add_up_to_the_final_residual(
    random_model, random_pairs
):
    runs = cache_activations(random_model, random_pairs)
    outputs = runs.clean.outputs(random_model)
    written = [outputs.embed, outputs.mlp_out.sum(2)]
    for layer, block in enumerate(random_model.blocks):
        written += [torch.einsum("bthe,hed->btd", outputs.z[:, :, layer], block.attn.W_O)]
        written += [block.attn.b_O]
    total = sum(written)[torch.arange(len(random_pairs)), random_pairs.end]
    torch.testing.assert_close(total, runs.clean.resid_end, rtol=1e-4, atol=1e-4)


def test_the_outputs_alone_are_those_of_the_full_record(random_model, random_pairs):
    runs = cache_activations(random_model, random_pairs)
    for side in SIDES:
        alone = run_outputs(random_model, random_pairs, side=side, limits=Limits(batch_size=4))
        full = getattr(runs, side).outputs(random_model)
        for part in ("embed", "z", "mlp_out", "attn_out"):
            torch.testing.assert_close(getattr(alone, part), getattr(full, part))


def test_logits_and_patterns_are_those_of_the_hugging_face_model(
    random_folder, random_model, random_pairs
):
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder, attn_implementation="eager").eval()
    runs = cache_activations(random_model, random_pairs, limits=Limits(batch_size=4))
    with torch.no_grad():
        expected = plain(random_pairs.clean, output_attentions=True)
    rows = torch.arange(len(random_pairs))
    torch.testing.assert_close(
        runs.clean.logits_end, expected.logits[rows, random_pairs.end], rtol=1e-4, atol=1e-4
    )
    for layer in range(3):
        torch.testing.assert_close(
            runs.clean.pattern[0, layer, :, :5, :5], expected.attentions[layer][0, :, :5, :5]
        )


def test_layer_norm_scales_are_standard_deviations(random_model, random_pairs):
    runs = cache_activations(random_model, random_pairs)
    variance = runs.clean.embed.var(dim=-1, correction=0)
    expected = (variance + bridge_of(random_model).cfg.eps).sqrt()
    torch.testing.assert_close(runs.clean.ln1_scale[:, :, 0], expected)


def test_every_part_of_the_prompts_that_are_taken_comes_along(random_model, random_pairs):
    runs = cache_activations(random_model, random_pairs)
    part = runs.take(np.array([4, 1]))
    for side in SIDES:
        for field in fields(RunActivations):
            whole, taken = (getattr(getattr(r, side), field.name) for r in (runs, part))
            assert torch.equal(taken, torch.stack([whole[4], whole[1]])), field.name
