"""How well an attribution method finds edges that are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from circuitlapse import Circuit, attribute_edges, evaluate_circuits, load_decoder
from circuitlapse.circuits.attribution.registry import METHODS
from circuitlapse.circuits.selection import cut, edge_order
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.load import model_graph
from circuitlapse.types import METHOD_FACTS, IgRule, Method, Selection
from tests.zoo.still import Still

IG_STEPS = 5
"""As in the paper."""
ORDERS = [(how, signed) for how in Selection for signed in (False, True)]


def runs() -> Iterator[tuple[Method, IgRule]]:
    """Yield every method of the registry; EAP-IG inputs with each rule of integration."""
    for method in METHODS:
        rules = IgRule if method == Method.EAP_IG_INPUTS else [IgRule.MIDPOINT]
        yield from ((method, rule) for rule in rules)


def name_of(method: Method, rule: IgRule) -> str:
    """Return the name of a method, and of its rule if it has one."""
    has_rule = METHOD_FACTS[method].points is None
    return f"{method}, {rule}" if has_rule else str(method)


@dataclass(frozen=True, eq=False)
class Case:
    """A model with known edges, loaded.

    Attributes:
        still: which one.
        seed: of its distractors.
    """

    still: Still
    seed: int = 0
    model: Any = field(init=False)
    pairs: Any = field(init=False)
    planted: Circuit = field(init=False)
    activations: Any = field(init=False)
    f_planted: float = field(init=False)

    def __post_init__(self):
        with TemporaryDirectory() as folder:
            model = load_decoder(self.still.save(Path(folder), seed=self.seed))
        graph, pairs = model_graph(model), self.still.pairs()
        mask = np.zeros_like(graph.exists)
        for edge in self.still.edges:
            mask[graph.edge_index(edge)] = True
        made = {"model": model, "pairs": pairs, "planted": Circuit(graph, mask)}
        made["activations"] = cache_activations(model, pairs)
        for name, value in made.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "f_planted", self.f_norm([self.planted])[0])

    def f_norm(self, circuits: Sequence[Circuit]) -> np.ndarray:
        """Return the normalised faithfulness of circuits."""
        graph = self.planted.graph
        ends = [Circuit.full(graph), Circuit.empty(graph)]
        how = {"metric": "logit_diff", "activations": self.activations}
        whole, none, *parts = evaluate_circuits(
            self.model, self.pairs, [*ends, *circuits], **how
        ).mean(axis=1)
        return (np.array(parts) - none) / (whole - none)

    def scores(self, method: Method, rule: IgRule):
        """Return the score of every edge."""
        how = {"ig_steps": IG_STEPS, "ig_rule": rule, "activations": self.activations}
        return attribute_edges(self.model, self.pairs, metric="logit_diff", method=method, **how)


def auroc(values: np.ndarray, planted: Circuit) -> float:
    """Return how often a planted edge has a larger value than another edge; ties count half."""
    ours, others = values[planted.mask], values[planted.graph.exists & ~planted.mask]
    return mannwhitneyu(ours, others).statistic / (len(ours) * len(others))


def row_of(case: Case, method: Method, rule: IgRule) -> dict[str, Any]:
    """Return what a method finds.

    - `auroc`: of |score|, planted edges against all others;
    - one column per selection: how many edges it takes until all planted ones are among them, by
      |score| (`greedy`, `top_n`) and by the score itself (`signed`);
    - `f_true_size`: normalised faithfulness of the circuit (greedy, by |score|) that has as many
      edges as are planted; `f_needed`: of the circuit that has all of them.
    """
    scores = case.scores(method, rule)
    row = {"model": case.still.name, "seed": case.seed, "method": name_of(method, rule)}
    row["auroc"] = auroc(np.abs(scores.values), case.planted)
    for how, signed in ORDERS:
        order = edge_order(scores, how=how, signed=signed)
        last = int(np.flatnonzero(case.planted.mask[tuple(order.T)])[-1])
        row[f"{how}, signed" if signed else str(how)] = last + 1
    order = edge_order(scores)
    sizes = (case.planted.n_edges, row[str(Selection.GREEDY)])
    circuits = [cut(scores.graph, order, size) for size in sizes]
    row["f_true_size"], row["f_needed"] = case.f_norm(circuits)
    return row


def table(
    stills: Sequence[Still], seeds: Sequence[int], *, runs: Iterable[tuple[Method, IgRule]]
) -> pd.DataFrame:
    """Return a row per model and method: the mean over the draws of the distractors."""
    runs = list(runs)
    cases = [Case(still, seed) for still in stills for seed in seeds]
    rows = [
        row_of(case, *run) | {"n_planted": case.planted.n_edges, "f_planted": case.f_planted}
        for case in cases
        for run in runs
    ]
    frame = pd.DataFrame(rows).groupby(["model", "method"], sort=False)
    return frame.mean().drop(columns="seed").reset_index()
