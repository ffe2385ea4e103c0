import re
from typing import get_args

import pytest

from circuitlapse.circuits.attribution import attribute_edges
from circuitlapse.circuits.attribution.gradients import GradientSum
from circuitlapse.circuits.attribution.registry import METHODS
from circuitlapse.settings import analysis
from circuitlapse.types import METHOD_FACTS, Method


def test_every_method_is_registered_in_the_order_of_its_enum():
    assert list(METHODS) == list(Method)


def test_a_configuration_may_name_every_method_but_the_slow_one():
    allowed = get_args(analysis.Circuits.model_fields["method"].annotation)
    assert allowed == tuple(method for method in METHODS if method != Method.EXACT)


def test_the_guide_to_the_library_has_a_row_for_each_method(root):
    table = (root / "docs/library.md").read_text().partition("| `method` | ")[2]
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (.*) \|$", table.partition("\n\n")[0], flags=re.MULTILINE
    )
    assert rows == [(method, METHOD_FACTS[method].passes) for method in METHODS]


@pytest.mark.parametrize("method", [method for method in Method if method != Method.EXACT])
def test_the_gradients_of_a_method_are_as_many_as_it_takes(
    monkeypatch, random_model, random_pairs, method
):
    """Two integration steps, in a model of three layers; a run has one gradient per point."""
    taken = []
    add = GradientSum.add

    def counted(self, embed, **options):
        taken.append(len(embed))
        return add(self, embed, **options)

    monkeypatch.setattr(GradientSum, "add", counted)
    options = {"metric": "logit_diff", "ig_steps": 2}
    attribute_edges(random_model, random_pairs, method=method, **options)
    expected = METHOD_FACTS[method].n_gradients(ig_steps=2, n_layers=random_model.cfg.n_layers)
    assert sum(taken) == expected
