"""What circuit discovery costs, as ratios to the plain Hugging Face model in the same run.

    python benchmarks/engine.py                              # Pythia 70m and 160m
    python benchmarks/engine.py --shapes 160m --markdown
    python benchmarks/engine.py --shapes llama olmo2         # other families, in a small shape
    python benchmarks/engine.py --device cuda --dtypes float32 tf32 bfloat16 --shapes 410m

Weights are random. "Plain" is one forward pass over the clean tokens, or one forward and backward
pass down to the embedding with frozen weights, in the same number format. Both are measured in
turn, and the fastest of each counts. To read the ratios:

- The clean and the corrupted run have a row of their own, and are not part of other rows.
- The plain model unembeds every position; ours only the last one of each prompt.
- Peak memory includes the weights. On a GPU it is that of tensors; on a CPU that of a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import (
    DTYPES,
    SHAPES,
    Row,
    elapsed,
    keep,
    machine,
    matmul_precision,
    process_gb,
    random_model,
    seconds,
    show,
    weights_gb,
)
from transformers import PreTrainedModel

import circuitlapse as cl
from circuitlapse.models.activations import PairActivations, cache_activations

METRIC = {"metric": "logit_diff"}
CIRCUITS, SMALLEST, SHARE = 25, 20, 0.1
"""Circuits of a search: their number, edges of the smallest, share of all edges in the largest."""
TOP = 200
"""Highest scores that are compared between number formats."""


def parsed() -> argparse.Namespace:
    """Return the options."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["70m", "160m"])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--prompts", type=int, help="default: 8 on a CPU, 200 on a GPU")
    parser.add_argument("--tokens", type=int, default=18, help="tokens per prompt")
    parser.add_argument("--steps", type=int, default=30, help="integration steps")
    parser.add_argument("--growth", action="store_true", help="vary prompts, tokens and steps")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--rows", type=Path, help="append every row to this file, as JSON")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.prompts = options.prompts or (200 if options.device.startswith("cuda") else 8)
    if "tf32" in options.dtypes and not options.device.startswith("cuda"):
        parser.error("tf32 is a format of NVIDIA GPUs; it needs --device cuda")
    return options


def main() -> None:
    """Measure every shape in a process of its own, and print one table."""
    options = parsed()
    if options.part:
        for row in PARTS[options.part](options):
            print(json.dumps(row), flush=True)
        return
    rows = []
    for row in measured(options):
        rows.append(row)
        keep(row, options.rows)
    print(f"{machine(options.device)}; {options.prompts} prompts of {options.tokens} tokens\n")
    show(rows, markdown=options.markdown)


def measured(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of all shapes. A shape that fails ends with a row that says so."""
    # Tensors on a GPU are counted by PyTorch, so that memory needs no process of its own there.
    parts = ["speed"] if options.device.startswith("cuda") else [*PARTS]
    arguments = [f"--{name}={getattr(options, name)}" for name in ("device", *_NUMBERS)]
    arguments += ["--growth"] * options.growth
    for shape in options.shapes:
        for part in parts:
            command = [sys.executable, __file__, "--part", part, "--shapes", shape, *arguments]
            command += ["--dtypes", *options.dtypes]
            yield from _rows_of(command, shape)


_NUMBERS = ("prompts", "tokens", "steps")


def _rows_of(command: Sequence[str], shape: str) -> Iterator[Row]:
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout or ():
        row = json.loads(line)
        print(*row.values(), file=sys.stderr, flush=True)
        yield row
    if child.wait():
        yield {"shape": shape, "work": f"failed with exit code {child.returncode}"}


@dataclass(frozen=True, eq=False)
class Case:
    """Our model in one number format, the plain model in the same one, and prompts.

    Attributes:
        shape, dtype: what is measured.
        model: ours.
        plain: that of Hugging Face; None to measure memory alone.
        options: of the command line.
    """

    shape: str
    dtype: str
    model: Any
    plain: PreTrainedModel | None
    options: argparse.Namespace

    def pairs(self, prompts: int | None = None, tokens: int | None = None) -> cl.PromptPairs:
        """Return random prompts that differ in one token."""
        count, length = prompts or self.options.prompts, tokens or self.options.tokens
        n_vocab, draw = self.model.cfg.d_vocab, torch.Generator().manual_seed(0)
        clean = torch.randint(0, n_vocab, (count, length), generator=draw)
        corrupted = clean.clone()
        corrupted[:, 1] = (corrupted[:, 1] + 1) % n_vocab
        end, answers = torch.full((count,), length - 1), ([[5]] * count, [[9]] * count)
        return cl.PromptPairs(clean, corrupted, end, *answers).to(self.options.device)

    @cached_property
    def activations(self) -> PairActivations:
        """Both runs on all prompts."""
        return cache_activations(self.model, self.pairs())

    @torch.no_grad()
    def forward(self, pairs: cl.PromptPairs) -> None:
        """Do a plain forward pass."""
        self.plain(pairs.clean)

    def forward_backward(self, pairs: cl.PromptPairs) -> None:
        """Do a plain forward and backward pass."""
        start = self.plain.get_input_embeddings()(pairs.clean).requires_grad_(True)
        logits = self.plain(inputs_embeds=start).logits[:, -1]
        (logits[:, 5] - logits[:, 9]).sum().backward()

    def scores(self, pairs: cl.PromptPairs, steps: int, **at_hand: Any) -> cl.EdgeScores:
        """Score all edges with EAP-IG."""
        how = METRIC | {"method": "eap_ig_inputs", "ig_steps": steps}
        return cl.attribute_edges(self.model, pairs, **how, **at_hand)

    def row(self, work: str, ours: float, plain: float | None = None, unit: str = "s") -> Row:
        """Return a row of the table."""
        row = {"shape": self.shape, "dtype": self.dtype, "work": work, "ours": f"{ours:.4g}"}
        known = plain is not None
        ratio = f"{ours / plain:.2f}" if known else ""
        return row | {"plain": f"{plain:.4g}" if known else "", "unit": unit, "ratio": ratio}

    def timed(
        self, work: str, ours: Callable[[], Any], plain: Callable[[], Any], *, parts: int = 1
    ) -> Iterator[Row]:
        """Yield a row of what one of the `parts` of ours takes, and plain work beside it.

        On a GPU, another row has the most memory that tensors took, those of `plain` left out.
        """
        peaks, cuda = [], self.options.device.startswith("cuda")

        def counted() -> None:
            torch.cuda.reset_peak_memory_stats()
            ours()
            peaks.append(torch.cuda.max_memory_allocated() / 1e9)

        ours_s, plain_s = seconds(counted if cuda else ours, plain, device=self.options.device)
        yield self.row(work, ours_s / parts, plain_s)
        if cuda:
            size_gb = weights_gb(self.plain)
            yield self.row(f"{work.split(',')[0]}: peak", max(peaks) - size_gb, size_gb, "GB")


def speed(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what one shape costs in every number format, and how well the formats agree."""
    shape, device, reference = options.shapes[0], options.device, None
    with tempfile.TemporaryDirectory() as folder:
        plain = random_model(shape, folder, device=device)
        for dtype in sorted(options.dtypes, key=list(DTYPES).index):
            with matmul_precision(dtype):
                stored = DTYPES[dtype][0]
                plain.to(getattr(torch, stored))
                load_s, case = _load(shape, dtype, folder, plain, options)
                yield case.row("load the model", load_s)
                scores = yield from _of_format(case)
                if dtype == "float32":
                    reference = scores.values
                elif reference is not None:
                    yield from agreement(case, reference, scores.values)
                if options.growth:
                    yield from growth(case)
            del case, scores


def _load(
    shape: str, dtype: str, folder: str, plain: PreTrainedModel | None, options: argparse.Namespace
) -> tuple[float, Case]:
    """Return how long loading takes, and the case."""
    loaded = []
    stored = DTYPES[dtype][0]
    taken_s = elapsed(
        lambda: loaded.append(cl.load_decoder(folder, device=options.device, dtype=stored)),
        options.device,
    )
    return taken_s, Case(shape, dtype, loaded[0], plain, options)


def _of_format(case: Case) -> Generator[Row, None, cl.EdgeScores]:
    """Yield the rows of one number format; return the scores."""
    pairs, steps = case.pairs(), case.options.steps
    # To warm up; both runs on all prompts are kept for what follows.
    case.forward_backward(pairs)
    case.scores(case.pairs(prompts=2), 2)
    known, found = {"activations": case.activations}, []
    yield from case.timed(
        "clean and corrupted run, per run",
        lambda: cache_activations(case.model, pairs),
        lambda: case.forward(pairs),
        parts=2,
    )
    yield from case.timed(
        f"EAP-IG of {steps} steps, per step",
        lambda: found.append(case.scores(pairs, steps, **known)),
        lambda: case.forward_backward(pairs),
        parts=steps,
    )
    yield from evaluation(case, found[-1])
    return found[-1]


def evaluation(case: Case, scores: cl.EdgeScores) -> Iterator[Row]:
    """Yield the cost of evaluating one circuit, and those of a search."""
    pairs, n_edges = case.pairs(), scores.graph.n_edges
    largest = max(4 * SMALLEST, int(SHARE * n_edges))
    sizes = sorted({int(size) for size in np.geomspace(SMALLEST, largest, CIRCUITS)})
    circuits = [cl.select_circuit(scores, size) for size in sizes]

    def cost(work: str, some: list[cl.Circuit]) -> Iterator[Row]:
        how = METRIC | {"activations": case.activations}
        return case.timed(
            work,
            lambda: cl.evaluate_circuits(case.model, pairs, some, **how),
            lambda: case.forward(pairs),
            parts=len(some),
        )

    yield from cost("one circuit of 200 edges", [cl.select_circuit(scores, 200)])
    yield from cost(f"{len(sizes)} circuits of {sizes[0]} to {sizes[-1]} edges, each", circuits)


def agreement(case: Case, reference: np.ndarray, scores: np.ndarray) -> Iterator[Row]:
    """Yield how well scores agree with those in float32."""
    exist = ~np.isnan(reference)
    correlation = np.corrcoef(reference[exist], scores[exist])[0, 1]
    yield case.row("correlation of scores with float32", float(correlation), unit="")
    top, other = (set(np.argsort(-abs(each[exist]))[:TOP]) for each in (reference, scores))
    yield case.row(f"share of the {TOP} highest in common", len(top & other) / TOP, unit="")


def growth(case: Case) -> Iterator[Row]:
    """Yield how the cost of a step grows with prompts, tokens and steps."""
    options = case.options
    for factor in (0.5, 2):
        for name in _NUMBERS:
            sizes = {each: getattr(options, each) for each in _NUMBERS}
            sizes[name] = max(2, int(sizes[name] * factor))
            pairs = case.pairs(sizes["prompts"], sizes["tokens"])
            known = cache_activations(case.model, pairs)
            steps = sizes["steps"]
            yield from case.timed(
                f"EAP-IG with {sizes[name]} {name}, per step",
                lambda: case.scores(pairs, steps, activations=known),  # noqa: B023 - used at once
                lambda: case.forward_backward(pairs),  # noqa: B023
                parts=steps,
            )


def memory(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the peak memory of a process that scores edges, in the first number format."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SAVE, *options.shapes, folder]
        subprocess.run(command, check=True, cwd=Path(__file__).parent)
        _, case = _load(options.shapes[0], options.dtypes[0], folder, None, options)
        case.scores(case.pairs(), options.steps, activations=case.activations)
        size_gb = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) / 1e9
    yield case.row("EAP-IG: peak", process_gb(), 2 * size_gb, "GB")


_SAVE = "import sys, measuring; measuring.random_model(*sys.argv[1:], device='cpu')"
"""Makes a model in a process of its own, whose memory does not count."""

PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {"speed": speed, "memory": memory}


if __name__ == "__main__":
    main()
