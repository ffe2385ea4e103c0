import torch
from transformers import GPTNeoXForCausalLM

from circuitlapse.activations import batches, cache_activations, source_outputs


def test_all_sources_and_the_attention_biases_add_up_to_the_final_residual(
    random_model, random_pairs
):
    runs = cache_activations(random_model, random_pairs)
    written = source_outputs(random_model, runs.clean).sum(dim=2)
    biases = sum(block.attn.b_O for block in random_model.blocks)
    rows = torch.arange(len(random_pairs))
    total = (written + biases)[rows, random_pairs.end]
    torch.testing.assert_close(total, runs.clean.resid_end, rtol=1e-4, atol=1e-4)


def test_logits_and_patterns_are_those_of_the_hugging_face_model(
    random_folder, random_model, random_pairs
):
    plain = GPTNeoXForCausalLM.from_pretrained(random_folder, attn_implementation="eager").eval()
    runs = cache_activations(random_model, random_pairs, batch_size=4)
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
    expected = (variance + random_model.cfg.eps).sqrt()
    torch.testing.assert_close(runs.clean.ln1_scale[:, :, 0], expected)


def test_batches_cover_all_prompts_once():
    assert list(batches(5, 2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(batches(5, None)) == [(0, 5)]
