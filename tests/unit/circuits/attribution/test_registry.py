import re
from typing import get_args

import numpy as np
import pytest

from circuitlapse import attribute_edges, settings
from circuitlapse.circuits.attribution import registry
from circuitlapse.circuits.attribution.registry import METHODS
from circuitlapse.models.load import model_graph
from circuitlapse.types import Method


def test_every_method_is_registered_in_the_order_of_its_enum():
    assert list(METHODS) == list(Method)


def test_a_configuration_may_name_every_method_but_the_slow_one():
    allowed = get_args(settings.Circuits.model_fields["method"].annotation)
    assert allowed == tuple(method for method in METHODS if method != Method.EXACT)


def test_the_guide_to_the_library_has_a_row_for_each_method(root):
    table = (root / "docs/library.md").read_text().partition("| `method` | ")[2]
    rows = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], flags=re.MULTILINE)
    assert rows == list(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_named_in_the_docstring_of_the_function(method):
    assert f"`{method}`" in attribute_edges.__doc__.replace("eap_ig_*", "")


@pytest.mark.parametrize(
    ("method", "rule", "expected"),
    [
        ("eap", "left", [1]),
        ("clean_corrupted", "left", [0, 1]),
        ("eap_ig_inputs", "left", [0, 1 / 4, 2 / 4, 3 / 4]),
        ("eap_ig_activations", "left", [1 / 4, 2 / 4, 3 / 4, 1]),
        ("eap_ig_activations_pooled", "left", [1 / 4, 2 / 4, 3 / 4, 1]),
        ("eap_ig_inputs", "midpoint", [1 / 8, 3 / 8, 5 / 8, 7 / 8]),
        ("eap_ig_activations", "midpoint", [1 / 8, 3 / 8, 5 / 8, 7 / 8]),
    ],
)
def test_points_are_those_of_the_reference_or_midpoints(
    random_model, random_pairs, monkeypatch, method, rule, expected
):
    seen = []

    def record(model, line, *, fractions, **how):
        seen.extend(fractions)
        return np.zeros(model_graph(model).exists.shape)

    monkeypatch.setattr(registry, "mean_scores", record)
    how = {"metric": "logit_diff", "ig_steps": 4, "ig_rule": rule}
    attribute_edges(random_model, random_pairs, method=method, **how)
    assert seen == expected
