import re

from circuitlapse.plan.__main__ import report
from circuitlapse.plan.hardware import GPUS
from tests.unit.plan.conftest import config_of


def test_the_report_names_what_does_not_fit(root):
    config = config_of(root, "pythia")
    text = report(config, GPUS["t4"], name="t4")
    assert " pythia-2.8b, pythia-6.9b, pythia-12b." in text  # 2.8b: 11 GB of weights and 3 copied
    text = report(config, GPUS["rtx3090"], name="rtx3090")
    named = ("cache_activations", "discover_circuit", "score_heads", "transfer_circuits")
    rules = ", ".join((*named, "swap_components"))  # tracing and behaviour fit
    assert f"Too large for this GPU: pythia-2.8b ({rules}), pythia-6.9b, pythia-12b." in text
    assert re.search(r"Total: \d+\.\d GPU hours", text)
    text = report(config, GPUS["h200"], name="h200")
    assert "Too large" not in text
    assert "Jobs at once on one GPU (compute.jobs_per_gpu: auto): 2." in text


def test_the_report_on_a_small_run_is_in_mb_and_says_that_training_is_not_in_it(root):
    config = config_of(root, "smoke")
    text = report(config, GPUS["a100"], name="a100")
    weights = 3 * config_checkpoint_bytes()
    assert f"Downloads: none. Disk space at once: at most {weights / 1e6:.0f} MB of" in text
    assert "Not included: training on the CPU, one job per model." in text
    assert "Not included: verification on the CPU, one job per model." in text
    published = report(config_of(root, "pythia-quick"), GPUS["a100"], name="a100")
    assert "Downloads: 6 GB. " in published  # 12 x 0.23 x 2
    assert "training" not in published


def config_checkpoint_bytes() -> int:
    """Two layers 64 wide, 500 tokens: 12 d^2 + 13 d per layer, embeddings and last LayerNorm."""
    return 4 * (2 * (12 * 64**2 + 13 * 64) + 2 * 500 * 64 + 2 * 64)
