"""Parts of a `CircuitRecord` that most tests do not look at."""

import numpy as np

HOW = {
    "ig_rule": "left",
    "selection": "greedy",
    "threshold": 0.8,
    "n_edges_low": 1.0,
    "n_edges_high": 3.0,
}

RANKINGS = {
    "ranking_name": ("signed", "signed", "random", "random"),
    "ranking_seed": np.array([-1, -1, 7, 7]),
    "ranking_fraction": np.array([0.5, 1.0, 0.5, 1.0]),
    "ranking_n_requested": np.array([3, 7, 3, 7]),
    "ranking_n_edges": np.array([2, 7, 3, 7]),
    "ranking_metric": np.array([[1.0, 2.5], [1.5, 2.5], [-2.0, -1.0], [1.5, 2.5]]),
}
"""Two sizes, ranked by score and at random, for two prompts."""

NO_RANKINGS = {
    "ranking_name": (),
    "ranking_seed": np.zeros(0, dtype=np.int64),
    "ranking_fraction": np.zeros(0),
    "ranking_n_requested": np.zeros(0, dtype=np.int64),
    "ranking_n_edges": np.zeros(0, dtype=np.int64),
    "ranking_metric": np.zeros((0, 2)),
}
"""None at all, for two prompts."""
