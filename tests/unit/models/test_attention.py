import torch

from circuitlapse.models.decoder import HeadInputs, attend, embed_tokens, run_layers


def test_chosen_heads_mix_what_they_mix_in_the_whole_layer(random_model, random_pairs):
    layers = run_layers(random_model, embed_tokens(random_model, random_pairs.clean))
    normed = random_model.blocks[1].ln1(layers[1].resid)
    inputs = HeadInputs(heads=[1, 0, 1], query=[normed] * 3, key=[normed] * 3, value=[normed] * 3)
    z = attend(random_model, 1, inputs, end=None)
    expected = layers[1].z.movedim(2, 0)[[1, 0, 1]]
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-5)


def test_a_query_at_the_end_alone_gives_the_end_of_all_queries(random_model, random_pairs):
    layers = run_layers(random_model, embed_tokens(random_model, random_pairs.clean))
    normed = random_model.blocks[2].ln1(layers[2].resid)
    rows = torch.arange(9)
    last = normed[rows, random_pairs.end][:, None]
    inputs = HeadInputs(heads=[0], query=[last], key=[normed], value=[normed])
    z = attend(random_model, 2, inputs, end=random_pairs.end)[0, :, 0]
    expected = layers[2].z[rows, random_pairs.end, 0]
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-5)
