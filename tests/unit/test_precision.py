"""Half precision is for memory on a GPU; it works on a CPU too, so that it can be tested there."""

import numpy as np
import pytest

from circuitlapse import attribute_edges, evaluate_circuits, load_model, select_circuit


@pytest.mark.parametrize("metric", ["logit_diff", "prob_diff", "kl_divergence"])
def test_bfloat16_gives_what_float32_gives_but_for_rounding(random_folder, random_pairs, metric):
    how = {"method": "eap_ig_inputs", "metric": metric, "ig_steps": 4}
    exact, rounded = (load_model(random_folder, dtype=d) for d in ("float32", "bfloat16"))
    expected = attribute_edges(exact, random_pairs, **how)
    found = attribute_edges(rounded, random_pairs, **how)
    assert found.values.dtype == np.float64
    edges = expected.graph.exists
    assert np.corrcoef(found.values[edges], expected.values[edges])[0, 1] > 0.98
    circuits = [select_circuit(expected, size) for size in (5, 30, 80)]
    ours, theirs = (
        evaluate_circuits(model, random_pairs, circuits, metric=metric)
        for model in (rounded, exact)
    )
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, atol=0.1 * np.abs(theirs).max())
