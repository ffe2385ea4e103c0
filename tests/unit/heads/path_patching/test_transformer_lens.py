"""Direct path patching of TransformerLens: one head to one port of another, all else held.

It takes the difference of what the sender writes in two runs, and adds it to the residual stream
that one port of the receiver reads. That is what our second run does to the port when MLPs are
held as well. (It starts from the corrupted run, where ours starts from the clean one.)
"""

from dataclasses import replace

import pytest
import torch
from transformer_lens.patching import get_act_patch_direct_path

from circuitlapse import load_model
from circuitlapse.heads.path_patching import HeadPort, patch_paths
from circuitlapse.models.metrics import per_prompt_metric
from tests.conftest import save_random


@pytest.mark.parametrize("kind", ["parallel", "sequential", "gpt2"])
def test_with_mlps_held_the_path_to_one_port_is_that_of_transformer_lens(
    kind, random_pairs, tmp_path
):
    model = load_model(save_random(kind, tmp_path / kind), dtype="float64")
    pairs = replace(random_pairs, clean=random_pairs.corrupted, corrupted=random_pairs.clean)

    def metric(logits):
        at_end = logits[torch.arange(len(pairs)), pairs.end]
        return per_prompt_metric(at_end, pairs, metric="logit_diff").mean()

    (_, clean), (_, corrupted) = (
        model.run_with_cache(tokens) for tokens in (random_pairs.clean, random_pairs.corrupted)
    )
    for port in "qkv":
        theirs = get_act_patch_direct_path(
            model,
            random_pairs.corrupted,
            clean,
            corrupted,
            metric,
            src_layer=0,
            src_head=1,
            component=port,
            verbose=False,
        )
        for layer, head in ((1, 0), (1, 1), (2, 0), (2, 1)):
            receiver = HeadPort(layer, head, port)
            got = patch_paths(
                model, pairs, receivers=[receiver], senders=[(0, 1)], freeze_mlps=True
            )
            expected = theirs[layer, head].double()
            torch.testing.assert_close(got.patched.mean(), expected, rtol=1e-5, atol=1e-6)
            assert abs(got.patched.mean() - got.clean.mean()) > 1e-4
