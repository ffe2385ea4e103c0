"""Records of circuits, and those of their parts that most tests do not look at."""

from typing import Any

import numpy as np

from circuitlapse.circuits.record import CircuitRecord

HOW = {
    "n_eliminated": None,
    "ig_rule": "left",
    "selection": "greedy",
    "threshold": 0.8,
    "faithfulness": "raw",
    "n_edges_low": 1.0,
    "n_edges_high": 3.0,
}

RANKINGS = {
    "ranking_name": ("signed", "signed", "random", "random"),
    "ranking_seed": np.array([-1, -1, 7, 7]),
    "ranking_fraction": np.array([0.5, 1.0, 0.5, 1.0]),
    "ranking_n_requested": np.array([3, 7, 3, 7]),
    "ranking_n_edges": np.array([2, 7, 3, 7]),
    "ranking_held_out": np.array([False, False, True, True]),
    "ranking_metric": np.array([[1.0, 2.5], [1.5, 2.5], [-2.0, -1.0], [1.5, 2.5]]),
}
"""Two sizes, ranked by score and at random, for two prompts."""

NO_RANKINGS = {
    "ranking_name": (),
    "ranking_seed": np.zeros(0, dtype=np.int64),
    "ranking_fraction": np.zeros(0),
    "ranking_n_requested": np.zeros(0, dtype=np.int64),
    "ranking_n_edges": np.zeros(0, dtype=np.int64),
    "ranking_held_out": np.zeros(0, dtype=bool),
    "ranking_metric": np.zeros((0, 2)),
}
"""None at all, for two prompts."""


CERTIFICATES = (
    *("win_share", "win_share_low", "win_share_high", "p_equivalence"),
    *("f_complement_low", "f_complement_high", "p_independence"),
    *("incompleteness", "incompleteness_low", "incompleteness_high", "incompleteness_empty"),
)
"""Numbers of a record that tests of its circuits gave."""

NO_SPLITS = {
    "split_seed": None,
    "split_sizes": np.zeros(0, dtype=np.int64),
    "split_overlap": np.zeros((0, 0, 2, 2)),
    "split_rank_correlation": np.zeros(0),
}


def no_halves(*, sources: int, targets: int, n_prompts: int = 2) -> dict[str, Any]:
    """No halves of the prompts, nor groups of several, in a graph of this size."""
    return {
        "group_of_prompt": np.arange(n_prompts),
        "m_held_out": np.full(n_prompts, np.nan),
        "f_raw_held_out_low": np.nan,
        "f_raw_held_out_high": np.nan,
        "held_out_status": "no_halves",
        "certificate_status": "no_halves",
        "m_complement": np.full(n_prompts, np.nan),
        **dict.fromkeys(CERTIFICATES, np.nan),
        **{f"knockout_{name}": np.zeros(0, int) for name in ("half", "source", "target")},
        **{f"knockout_{name}": np.zeros(0) for name in ("effect", "p")},
        "half_of_prompt": np.full(n_prompts, -1),
        "half_seed": None,
        "half_scores": np.zeros((0, sources, targets)),
        "half_in_circuit": np.zeros((0, sources, targets), dtype=bool),
        "half_status": (),
        **NO_SPLITS,
    }


def record_of(graph, edges=(), *, n_prompts=2, **changes):
    """Return the record of a circuit of named edges; without edges, of no circuit at all."""
    mask = np.zeros_like(graph.exists)
    for edge in edges:
        mask[graph.edge_index(edge)] = True
    no_size = np.zeros(0, dtype=np.int64)
    values = {
        "model": "small", "variant": "", "step": 8, "tokens": 800, "task": "ioi",
        "metric": "logit_diff", "method": "eap", "ig_steps": 1,
        "sources": graph.sources, "targets": graph.targets, "in_circuit": mask,
        "scores": np.where(graph.exists, 0.5, np.nan), "order": np.where(graph.exists, 0, -1),
        "status": "ok" if edges else "no_behaviour", "n_requested": len(edges) or None,
        "m_model": np.ones(n_prompts), "m_model_low": 0.5, "m_model_high": 1.5,
        "m_corrupted": np.zeros(n_prompts), "m_circuit": np.ones(n_prompts) if edges else None,
        "f_raw_low": 0.5, "f_raw_high": 1.0, "curve_n_requested": no_size,
        "curve_n_edges": no_size, "curve_metric": np.zeros((0, n_prompts)),
        **HOW, **NO_RANKINGS, "ranking_metric": np.zeros((0, n_prompts)),
        **no_halves(sources=mask.shape[0], targets=mask.shape[1], n_prompts=n_prompts),
    }  # fmt: skip
    return CircuitRecord(**with_held_out(values | changes))


def with_held_out(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a record, with a held-out curve of NaN where they have none."""
    shape = (len(values["curve_n_requested"]), len(values["m_model"]))
    return {"curve_held_out": np.full(shape, np.nan)} | values
