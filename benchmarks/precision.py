"""Whether the number format changes a circuit more than the choice of prompts does.

    make demo && python benchmarks/precision.py results
    python benchmarks/precision.py results --device cuda --dtypes tf32 bfloat16 --steps 384 640

The circuit of every task is found in float32 and in other formats, in trained models of a finished
run. To read the table:

- `jaccard`: edges that the circuit shares with that in float32, as a share of all in either.
- `halves`: the same for circuits in float32 of two halves of the prompts (the noise floor).
- `error`: norm of the difference of all edge scores to those in float32, relative to theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measuring import DTYPES, Row, keep, machine, matmul_precision, show

import circuitlapse as cl
from circuitlapse.circuits.discovery import Discovery, discover_circuit
from circuitlapse.io.task_files import read_task
from circuitlapse.models.activations import cache_activations
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.tasks.encode import Task


def main() -> None:
    """Compare all models, steps and tasks, and print one table."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of a finished run")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["bfloat16"])
    parser.add_argument("--models", nargs="+", help="default: all")
    parser.add_argument("--steps", nargs="+", type=int, help="default: the last")
    parser.add_argument("--ig-steps", type=int, default=30, help="integration steps")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--rows", type=Path, help="append every row to this file, as JSON")
    options = parser.parse_args()
    rows = []
    for folder in models(options):
        for task in map(read_task, sorted(options.results.glob("tasks/*/*.parquet"))):
            for row in compared(folder, task, options):
                rows.append(row)
                keep(row, options.rows)
    print(f"{machine(options.device)}\n")
    show(rows, markdown=options.markdown)


def models(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the folder of every model and step."""
    for model in sorted((options.results / "models").iterdir()):
        if options.models is None or model.name in options.models:
            steps = sorted(int(path.name.removeprefix("step")) for path in model.glob("step*"))
            for step in options.steps or steps[-1:]:
                yield model / f"step{step}"


def compared(folder: Path, task: Task, options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row per number format; none if the model does not do the task."""
    reference = found_in("float32", folder, task, options, noise_floor=True)
    if not reference.circuit.n_edges:
        return
    halves = jaccard(*reference.split_half.in_circuit)
    for dtype in options.dtypes:
        found = found_in(dtype, folder, task, options, noise_floor=False)
        exist = reference.scores.graph.exists
        known, other = (each.scores.values[exist] for each in (reference, found))
        yield {
            "model": folder.parent.name,
            "step": int(folder.name.removeprefix("step")),
            "task": task.name,
            "dtype": dtype,
            "edges in float32": reference.circuit.n_edges,
            "edges": found.circuit.n_edges,
            "jaccard": round(jaccard(reference.circuit.mask, found.circuit.mask), 3),
            "halves": round(halves, 3),
            "error": round(float(np.linalg.norm(other - known) / np.linalg.norm(known)), 5),
        }


def found_in(
    dtype: str, folder: Path, task: Task, options: argparse.Namespace, *, noise_floor: bool
) -> Discovery:
    """Find the circuit of a task in one number format."""
    settings = Circuits(ig_steps=options.ig_steps, noise_floor=noise_floor, random_circuits=0)
    pairs = cl.PromptPairs.from_task(task).to(options.device)
    with matmul_precision(dtype):
        model = cl.load_decoder(folder, device=options.device, dtype=DTYPES[dtype][0])
        activations = cache_activations(model, pairs)
        how = {"metric": task.metric, "settings": settings, "bootstrap": Bootstrap()}
        return discover_circuit(model, pairs, activations=activations, **how)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of edges in both masks among those in either; NaN if there are none."""
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else float("nan")


if __name__ == "__main__":
    main()
