"""How well attribution methods and statistics do on models whose circuits are known.

    make zoo
    .venv/bin/python -m benchmarks.zoo --markdown     # the tables of docs/zoo.md

The models are those of `tests/zoo`. To read the table of edges, a row per model and method, where
numbers are means over random distractors:

- `auroc`: how often a planted edge has a larger |score| than another edge.
- `greedy`, `top_n`: edges that it takes until all planted ones are among them, by |score|; and by
  the score itself (`signed`). `n_planted` would be best.
- `nodes`: the same in the order of node circuits, where the edges of a node come together, so that
  it is larger than `n_planted` even if all planted nodes come first. It scores no node circuit.
- `f_true_size`: normalised faithfulness of the circuit that has as many edges as are planted.
- `f_needed`: that of the circuit that has all planted edges; both circuits are greedy, by |score|.
- `f_planted`: that of the planted edges alone.

To read the table of changes, a row per model over training and statistic, sums over seeds:

- `hits`: changes that it reports, of `n_true` steps before which something changes.
- `error`: steps between the middle of the change and the closest report, a mean over seeds.
- `false_alarms`: changes that it reports, of `n_false` steps before which nothing changes.

The last table has half levels in tokens, and slopes and lags in their logarithm to the base of ten,
found and true.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import pandas as pd
import torch
from benchmarks.measuring import machine
from tests.zoo import changes, edge_scores, emerging
from tests.zoo.lapses import LAPSES, N_STEPS
from tests.zoo.still import STILL

from circuitlapse.models.snapshot import no_progress_bars

WIDE = {"auroc": 3, "f_true_size": 2, "greedy": 1, "greedy, signed": 1}
"""What is printed as a table of methods and models -> its number of decimals."""
SUMS = ("hits", "n_true", "false_alarms", "n_false")


def main() -> None:
    """Score everything, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=3, help="draws of distractors, of one step")
    parser.add_argument("--seeds", type=int, default=1, help="of models over training")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args()
    start, context = time.perf_counter(), get_context("spawn")
    show = partial(print_table, markdown=options.markdown)
    with ProcessPoolExecutor(options.cores, mp_context=context) as pool:
        edges = pd.concat(pool.map(partial(scored_edges, draws=options.draws), STILL))
        seeds = range(options.seeds)
        told = pd.concat(pool.map(scored_changes, product(LAPSES, seeds)))
        emerged = pool.submit(half_levels).result()
    for name in WIDE:
        show(wide(edges, name), title=f"Edges: {name}")
    if not options.markdown:
        show(edges.round(3), title="Edges: everything")
    show(summed(told), title="Changes")
    show(emerged.round({"truth": 2, "found": 2, "low": 2, "high": 2}), title="Emergence")
    print(f"{machine('cpu')}: {time.perf_counter() - start:.0f} s")


def alone(work: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Run something on one thread, which is fastest for small models, and quietly."""
    torch.set_num_threads(1)
    with no_progress_bars():
        return work()


def scored_edges(still: Any, *, draws: int) -> pd.DataFrame:
    """Score every method on one model."""
    runs = edge_scores.runs()
    return alone(lambda: edge_scores.table([still], range(draws), runs=runs))


def scored_changes(which: tuple[Any, int]) -> pd.DataFrame:
    """Score every statistic on one model over training, of one seed."""
    lapse, seed = which
    return alone(lambda: changes.verdicts(changes.measure(lapse, range(N_STEPS), seed=seed)))


def half_levels() -> pd.DataFrame:
    """Find when tasks and components emerge in models where that is known."""
    return alone(lambda: emerging.against_truth(emerging.measure()))


def wide(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one number, a row per method and a column per model."""
    table = frame.pivot(index="method", columns="model", values=name)
    models = frame["model"].unique()
    return table.loc[frame["method"].unique(), models].round(WIDE[name]).reset_index()


def summed(told: pd.DataFrame) -> pd.DataFrame:
    """Return the sums over seeds, and the mean error."""
    rows = told.groupby(["model", "statistic"], sort=False)
    return rows[list(SUMS)].sum().assign(error=rows["error"].mean()).reset_index()


def print_table(table: pd.DataFrame, *, title: str, markdown: bool) -> None:
    """Print a table."""
    text = table.to_markdown(index=False) if markdown else table.to_string(index=False)
    print(f"{title}\n\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
