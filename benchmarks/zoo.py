"""How well attribution methods and statistics do on models whose circuits are known.

    make zoo
    .venv/bin/python -m benchmarks.zoo --markdown     # the tables of docs/zoo.md

The models are those of `tests/zoo`. To read the table of edges, a row per model and method, where
numbers are means over random distractors:

- `auroc`: how often a planted edge has a larger |score| than another edge.
- `greedy`, `top_n`: edges that it takes until all planted ones are among them, by |score|; and by
  the score itself (`signed`). `n_planted` would be best.
- `f_true_size`: normalised faithfulness of the circuit that has as many edges as are planted.
- `f_needed`: that of the circuit that has all planted edges; both circuits are greedy, by |score|.
- `f_planted`: that of the planted edges alone.
"""

from __future__ import annotations

import argparse
import time

import pandas as pd
import torch
from benchmarks.measuring import machine
from tests.zoo import edge_scores
from tests.zoo.still import STILL

from circuitlapse.models.snapshot import no_progress_bars

WIDE = {"auroc": 3, "f_true_size": 2, "greedy": 1, "greedy, signed": 1}
"""What is printed as a table of methods and models -> its number of decimals."""


def main() -> None:
    """Score everything, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=3, help="draws of the distractors")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args()
    start = time.perf_counter()
    torch.set_num_threads(1)  # small models are fastest on one thread
    with no_progress_bars():
        edges = edge_scores.table(STILL, range(options.draws), runs=edge_scores.runs())
    for name in WIDE:
        show(wide(edges, name), title=f"Edges: {name}", markdown=options.markdown)
    if not options.markdown:
        show(edges.round(3), title="Edges: everything", markdown=False)
    print(f"{machine('cpu')}: {time.perf_counter() - start:.0f} s")


def wide(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one number, a row per method and a column per model."""
    table = frame.pivot(index="method", columns="model", values=name)
    models = frame["model"].unique()
    return table.loc[frame["method"].unique(), models].round(WIDE[name]).reset_index()


def show(table: pd.DataFrame, *, title: str, markdown: bool) -> None:
    """Print a table."""
    text = table.to_markdown(index=False) if markdown else table.to_string(index=False)
    print(f"{title}\n\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
