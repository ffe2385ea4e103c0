"""What circuit discovery costs, as ratios to the plain Hugging Face model in the same run.

    python benchmarks/engine.py                  # pocket, 70m and 160m; on a GPU also larger ones
    python benchmarks/engine.py --shapes 160m --markdown

Weights are random, shapes are Pythia's. "Plain" is one forward pass over the clean tokens, or
one forward and backward pass down to the embedding with frozen weights. Both are measured in
turn, equally often, and the fastest of each counts. To read the ratios:

- The clean and the corrupted run are not timed, unless a row says that they are included; the
  rest of an attribution is divided by its number of steps.
- The plain model unembeds every position; ours only the last one of each prompt.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import circuitlapse as cl
from circuitlapse.models.activations import cache_activations

SHAPES = {  # layers, heads, d_model, vocabulary
    "pocket": (4, 6, 192, 600),
    "70m": (6, 8, 512, 50304),
    "160m": (12, 12, 768, 50304),
    "410m": (24, 16, 1024, 50304),
    "1.4b": (24, 16, 2048, 50304),
    "2.8b": (32, 32, 2560, 50304),
}
ON_CPU = ("pocket", "70m", "160m")
SIZES = (50, 100, 200, 300, 400, 500, 600, 700, 850, 1000)
PROMPTS, TOKENS, IG_STEPS, REPEATS = 8, 16, 30, 5
METRIC = {"metric": "logit_diff"}
NOTES = (
    "The clean and the corrupted run are not timed unless a row says so. "
    "The plain model unembeds all positions, ours one per prompt."
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Measure every shape in processes of its own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: those that fit")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        shape, part, folder = options.child
        print(json.dumps(list(PARTS[part](shape, folder))))
        return
    shapes = options.shapes or (SHAPES if DEVICE == "cuda" else ON_CPU)
    rows = [row for shape in shapes for row in measure(shape)]
    table = pd.DataFrame(rows)
    print(f"{machine()}\n{NOTES}\n")
    print(table.to_markdown(index=False) if options.markdown else table.to_string(index=False))


def measure(shape: str) -> list[dict[str, Any]]:
    """Measure one shape, each part in a new process, so that peak memory is its own."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            command = [sys.executable, __file__, "--child", shape, part, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{shape}, {part}: failed\n{done.stderr}")
            print(f"{shape}: {part} done", file=sys.stderr)
            rows += json.loads(done.stdout.splitlines()[-1])
    return rows


def machine() -> str:
    """Return what the numbers depend on."""
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    packages = ("torch", "transformers", "transformer-lens")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    threads = f"{torch.get_num_threads()} threads"
    python = f"Python {platform.python_version()}"
    return f"{device} ({platform.machine()}, {threads}); {python}, {versions}"


@dataclass
class Case:
    """A model of some shape with prompts, and the plain model beside it."""

    shape: str
    model: Any
    plain: Any

    @classmethod
    def load(cls, shape: str, folder: str, *, with_plain: bool) -> Case:
        """Load our model, and the plain one if it is needed."""
        plain = None
        if with_plain:
            plain = GPTNeoXForCausalLM.from_pretrained(folder).to(DEVICE).eval()
            plain.requires_grad_(False)
        return cls(shape, cl.load_model(folder, device=DEVICE), plain)

    def pairs(self, prompts: int = PROMPTS, tokens: int = TOKENS) -> cl.PromptPairs:
        """Return random prompts that differ in their second token."""
        n_vocab, draw = SHAPES[self.shape][3], torch.Generator().manual_seed(0)
        clean = torch.randint(0, n_vocab, (prompts, tokens), generator=draw)
        corrupted = clean.clone()
        corrupted[:, 1] = (corrupted[:, 1] + 1) % n_vocab
        end, answers = torch.full((prompts,), tokens - 1), ([[5]] * prompts, [[9]] * prompts)
        return cl.PromptPairs(clean, corrupted, end, *answers).to(DEVICE)

    @torch.no_grad()
    def forward(self, pairs: cl.PromptPairs) -> None:
        """Do a plain forward pass."""
        self.plain(pairs.clean)

    def forward_backward(self, pairs: cl.PromptPairs) -> None:
        """Do a plain forward and backward pass."""
        start = self.plain.get_input_embeddings()(pairs.clean).requires_grad_(True)
        logits = self.plain(inputs_embeds=start).logits[:, -1]
        (logits[:, 5] - logits[:, 9]).sum().backward()

    def row(self, work: str, ours: float, plain: float, unit: str = "s") -> dict[str, Any]:
        """Return a row of the table."""
        numbers = {"ours": f"{ours:.4g}", "plain": f"{plain:.4g}", "unit": unit}
        return {"shape": self.shape, "work": work, **numbers, "ratio": f"{ours / plain:.2f}"}

    def timed(
        self, work: str, ours: Callable[[], Any], plain: Callable[[], Any], *, steps: int = 1
    ) -> dict[str, Any]:
        """Return a row of what one of `steps` of ours takes, and plain work beside it."""
        ours_s, plain_s = seconds(ours, plain)
        return self.row(work, ours_s / steps, plain_s)


def weights(shape: str, folder: str) -> list[dict[str, Any]]:
    """Save a GPT-NeoX of a shape with random weights, laid out like a hub snapshot."""
    layers, heads, d_model, vocab = SHAPES[shape]
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocab,
        hidden_size=d_model,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * d_model,
    )
    GPTNeoXForCausalLM(config).save_pretrained(Path(folder))
    return []


def seconds(*works: Callable[[], Any]) -> list[float]:
    """Return the fastest of some runs of each, done in turn after one of each to warm up."""
    times = [[elapsed(work) for work in works] for _ in range(REPEATS + 1)]
    return [min(of_one) for of_one in zip(*times[1:], strict=True)]


def elapsed(work: Callable[[], Any]) -> float:
    """Return how long one run takes."""
    start = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def speed(shape: str, folder: str) -> Iterator[dict[str, Any]]:
    """Yield what attribution and evaluation cost, and how that grows."""
    case = Case.load(shape, folder, with_plain=True)
    pairs = case.pairs()
    activations = cache_activations(case.model, pairs)
    yield from attribution(case, activations)
    yield from evaluation(case, activations)
    for prompts in (4, 16):
        yield ig_step(case, f"EAP-IG step, {prompts} prompts", case.pairs(prompts=prompts))
    for tokens in (8, 32):
        yield ig_step(case, f"EAP-IG step, {tokens} tokens", case.pairs(tokens=tokens))


def attribution(case: Case, activations: Any) -> Iterator[dict[str, Any]]:
    """Yield the cost of a step of EAP-IG with few and with many steps."""
    pairs = case.pairs()
    for steps in (10, IG_STEPS):
        work = f"EAP-IG step, {steps} steps, {PROMPTS} prompts of {TOKENS} tokens"
        yield ig_step(case, work, pairs, steps=steps, activations=activations)
    how = {"method": "eap_ig_inputs", "ig_steps": IG_STEPS}
    yield case.timed(
        f"EAP-IG of {IG_STEPS} steps, both runs included, per step",
        lambda: cl.attribute_edges(case.model, pairs, **METRIC, **how),
        lambda: case.forward_backward(pairs),
        steps=IG_STEPS,
    )


def ig_step(
    case: Case, work: str, pairs: cl.PromptPairs, *, steps: int = 10, activations: Any = None
) -> dict[str, Any]:
    """Return the cost of EAP-IG per step, without the two runs."""
    activations = activations or cache_activations(case.model, pairs)
    how = {"method": "eap_ig_inputs", "ig_steps": steps, "activations": activations}
    return case.timed(
        work,
        lambda: cl.attribute_edges(case.model, pairs, **METRIC, **how),
        lambda: case.forward_backward(pairs),
        steps=steps,
    )


def evaluation(case: Case, activations: Any) -> Iterator[dict[str, Any]]:
    """Yield the cost of evaluating circuits, of growing size and several at once."""
    pairs = case.pairs()
    scores = cl.attribute_edges(case.model, pairs, method="eap", activations=activations, **METRIC)
    sizes = [size for size in SIZES if size <= scores.graph.n_edges]
    circuits = {size: cl.select_circuit(scores, size) for size in sizes}

    def cost(work: str, some: list[cl.Circuit], **at_hand: Any) -> dict[str, Any]:
        return case.timed(
            work,
            lambda: cl.evaluate_circuits(case.model, pairs, some, **METRIC, **at_hand),
            lambda: case.forward(pairs),
        )

    for size in (50, 200, 500, 1000):
        if size in circuits:
            one, work = [circuits[size]], f"circuit of {size} edges"
            yield cost(work, one, activations=activations)
            yield cost(f"{work}, corrupted run included", one)
    several = list(circuits.values())
    work = f"{len(several)} circuits of {sizes[0]} to {sizes[-1]} edges"
    yield cost(work, several, activations=activations)
    whole = cl.Circuit.full(scores.graph)
    yield cost("circuit of all edges", [whole], activations=activations)


def memory(shape: str, folder: str) -> Iterator[dict[str, Any]]:
    """Yield the peak memory of an attribution, the model included."""
    case = Case.load(shape, folder, with_plain=False)
    how = {"method": "eap_ig_inputs", "ig_steps": IG_STEPS}
    cl.attribute_edges(case.model, case.pairs(), **METRIC, **how)
    if DEVICE == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes on Linux
    size = sum(weight.numel() * weight.element_size() for weight in case.model.parameters())
    work = f"peak memory of EAP-IG of {IG_STEPS} steps, both runs included; plain: weights alone"
    yield case.row(work, peak, size / 1e9, unit="GB")


PARTS = {"weights": weights, "speed": speed, "memory": memory}


if __name__ == "__main__":
    main()
