"""Evidence on the heads of the IOI algorithm, their roles, and how roles work together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.statistics import binomial_p
from circuitlapse.tables.claims.verdicts import Evidence, Given
from circuitlapse.tables.compared import FLOOR_QUANTILE
from circuitlapse.types.status import AlgorithmStatus, EvidenceStatus, RoleGraphStatus

MARGIN = 20.0
"""Points, of 100, by which a share may fall while the algorithm counts as the same."""
EDGE_MARGIN = 0.25
"""Change of an effect in the role graph up to which the algorithm counts as the same; 1 is the drop
to the corrupted level."""
Z = NormalDist().inv_cdf(0.975)
"""Standard errors from an estimate to the end of its interval."""
N_SHUFFLES = 1000


def heads_change(given: Given) -> Iterator[Evidence]:
    """Yield how often the heads of each role changed, beyond what other prompts would do.

    If nothing changed, a pair of steps is called changed in 5 % of cases or fewer.
    """
    known = given.turnover[
        given.turnover["changed"].notna() & given.turnover["model"].isin(given.originals)
    ]
    for (model, role), rows in known.groupby(["model", "role"], sort=False):
        n, changed = len(rows), int(rows["changed"].sum())
        yield Evidence(
            f"{role} in {model}",
            n,
            value=changed / n,
            control=FLOOR_QUANTILE,
            p_for=binomial_p(changed, n, FLOOR_QUANTILE),
        )


def algorithm_remains(given: Given) -> Iterator[Evidence]:
    """Yield what the shares of each panel say, and what the role graph of each model does."""
    yield from _shares(given)
    yield from _role_graphs(given)


def _shares(given: Given) -> Iterator[Evidence]:
    """Yield the lowest share over steps that heads with a role explain, of each panel and model.

    - For the claim: at every step the share is above that of permuted scores, and less than
      `MARGIN` below that of the last step. The largest p value of all these tests counts.
    - Against it: at some step it is further below. The smallest p value counts, times their number.
    """
    table = given.algorithm_consistency
    shares = table[
        (table["denominator"] == "all")
        & (table["sign"] == "both")
        & (table["status"] == AlgorithmStatus.OK)
        & table["model"].isin(given.originals)
    ]
    for (model, panel), rows in shares.groupby(["model", "panel"], sort=False):
        rows = rows.sort_values("step")
        if len(rows) < 2:
            few = EvidenceStatus.TOO_FEW_STEPS
            yield Evidence(f"{panel} in {model}", len(rows), status=few)
            continue
        lowest = rows.iloc[int(rows["pct"].to_numpy().argmin())]
        kept, lost = _fall(rows)
        yield Evidence(
            f"{panel} in {model}",
            len(rows),
            value=lowest["pct"],
            low=lowest["pct_low"],
            high=lowest["pct_high"],
            control=lowest["null_high"],
            p_for=max(float(rows["p"].max()), float(kept.max())),
            p_against=min(1.0, float(lost.min()) * len(lost)),
        )


def _fall(rows: pd.DataFrame) -> tuple[ndarray, ndarray]:
    """Return p values of "the share fell by `MARGIN` or more", and "by less", for earlier steps."""
    error = ((rows["pct_high"] - rows["pct_low"]) / (2 * Z)).to_numpy(dtype=float)
    shares = rows["pct"].to_numpy(dtype=float)
    fall = shares[-1] - shares[:-1] - MARGIN
    # Of the same prompts, so their noise is shared: this is on the safe side.
    scale = np.maximum(np.hypot(error[:-1], error[-1]), 1e-9)
    kept = np.array([NormalDist().cdf(value) for value in fall / scale])
    return kept, 1 - kept


def _role_graphs(given: Given) -> Iterator[Evidence]:
    """Yield by how much the most changed edge of a role graph differs from the last step.

    Shares say nothing of roles that are gone, nor of which role does the work. In the role graph,
    an edge from or to a role without heads has an effect of 0.

    - For the claim: every edge at every step differs by less than `EDGE_MARGIN` from the last step.
    - Against it: one of them differs by more; the smallest p value counts, times their number.
    """
    able = given.role_graph["status"] != RoleGraphStatus.NO_BEHAVIOUR
    known = given.role_graph[able & given.role_graph["model"].isin(given.originals)]
    for model, rows in known.groupby("model", sort=False):
        effect, low, high = (
            rows.pivot(index="step", columns=["source", "target", "port"], values=name).fillna(0.0)
            for name in ("effect", "effect_low", "effect_high")
        )
        subject, n = f"role graph in {model}", len(effect)
        if n < 2:
            yield Evidence(subject, n, status=EvidenceStatus.TOO_FEW_STEPS)
            continue
        error = ((high - low) / (2 * Z)).to_numpy()  # [step, edge]
        change = (effect - effect.iloc[-1]).to_numpy()[:-1]
        scale = np.maximum(np.hypot(error[:-1], error[-1]), 1e-9)
        beyond = (np.abs(change) - EDGE_MARGIN) / scale  # a normal score for each edge and step
        furthest = float(beyond.max())
        yield Evidence(
            subject,
            n,
            value=float(np.abs(change).max()),
            control=EDGE_MARGIN,
            p_for=NormalDist().cdf(furthest),
            p_against=min(1.0, (1 - NormalDist().cdf(furthest)) * beyond.size),
        )


def algorithm_across_sizes(given: Given) -> Iterator[Evidence]:
    """Yield the mean distance between the role graphs of two sizes at the last step.

    A role graph is the matrix of joint path effects; a role that a model lacks has none. The
    distance is the root of the mean square difference of its entries.

    - For the claim: graphs are closer than with the sending roles of every model exchanged.
    - Against it: they are further apart than those of models of one size, by permutation of sizes.
    """
    for task in given.role_graph["task"].unique():
        graphs = _graphs(given.role_graph[given.role_graph["task"] == task])
        sizes = {model: graph for model, graph in graphs.items() if model in given.originals}
        if len(sizes) < 2:
            few = EvidenceStatus.TOO_FEW_MODELS
            yield Evidence(str(task), len(sizes), status=few)
            continue
        value = float(_mean_distance([*sizes.values()]))
        rng = np.random.default_rng(given.seed)
        drawn = _mean_distance([_shuffled(graph, rng) for graph in sizes.values()])
        closest = np.quantile(drawn, 0.05)
        yield Evidence(
            str(task),
            len(sizes),
            value=value,
            control=float(closest),
            p_for=float((1 + (drawn <= value + 1e-12).sum()) / (1 + N_SHUFFLES)),
            p_against=_p_of_sizes(graphs, given, rng),
        )


_Graph = Float[ndarray, "source target port"]


def _graphs(rows: pd.DataFrame) -> dict[str, _Graph]:
    """Return the role graph of every model at its last step with one; targets end in the logits."""
    known = rows.dropna(subset=["effect"])
    roles = sorted({*known["source"], *known["target"]} - {"logits"})
    targets, ports = [*roles, "logits"], sorted(set(known["port"]))
    graphs = {}
    for model, own in known.groupby("model", sort=False):
        last = own[own["step"] == own["step"].max()]
        graph = np.zeros((len(roles), len(targets), len(ports)))
        for row in last.to_dict("records"):
            at = roles.index(row["source"]), targets.index(row["target"]), ports.index(row["port"])
            graph[at] = row["effect"]
        graphs[str(model)] = graph
    return graphs


def _shuffled(graph: _Graph, rng: np.random.Generator) -> Float[ndarray, "draw source target port"]:
    """Exchange the roles that send, many times; those that receive stay.

    Only some roles receive. Moved elsewhere, an effect would be where no graph can have one, and
    any two graphs would be closer than such a null.
    """
    sources = np.tile(np.arange(len(graph)), (N_SHUFFLES, 1))
    return np.asarray(graph[rng.permuted(sources, axis=1)])


def _mean_distance(graphs: list[ndarray]) -> Float[ndarray, " *draw"]:
    """Return the mean over pairs of the distance of graphs, [*draw, source, target, port] each."""
    return np.asarray(
        np.mean([_distance(one, other) for one, other in combinations(graphs, 2)], axis=0)
    )


def _distance(one: ndarray, other: ndarray) -> Float[ndarray, " *draw"]:
    return np.asarray(np.sqrt(((one - other) ** 2).mean((-3, -2, -1))))


def _p_of_sizes(graphs: dict[str, _Graph], given: Given, rng: np.random.Generator) -> float:
    """Return the p value of "models of two sizes are no further apart than those of one"."""
    sizes = given.n_parameters[[*graphs]].to_numpy()
    values = [*graphs.values()]
    pairs = np.array([*combinations(range(len(values)), 2)])
    distances = np.array([_distance(values[one], values[other]) for one, other in pairs])

    def difference(of: ndarray) -> float:
        same = of[pairs[:, 0]] == of[pairs[:, 1]]
        return float(distances[~same].mean() - distances[same].mean())

    alike = sizes[pairs[:, 0]] == sizes[pairs[:, 1]]
    if not alike.any() or alike.all():
        return float("nan")
    found = difference(sizes)
    drawn = np.array([difference(rng.permutation(sizes)) for _ in range(N_SHUFFLES)])
    return float((1 + (drawn >= found - 1e-12).sum()) / (1 + N_SHUFFLES))
