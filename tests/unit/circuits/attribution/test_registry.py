import re
from typing import get_args

import pytest

from circuitlapse.circuits.attribution import attribute_edges
from circuitlapse.circuits.attribution.gradients import GradientSum
from circuitlapse.circuits.attribution.registry import METHODS, spread
from circuitlapse.settings import analysis
from circuitlapse.types import METHOD_FACTS, IgRule, Method


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


@pytest.mark.parametrize("rule", IgRule)
@pytest.mark.parametrize("method", [method for method in Method if method != Method.EXACT])
def test_the_gradients_of_a_method_are_as_many_as_it_takes(
    monkeypatch, random_model, random_pairs, method, rule
):
    """Two integration steps, in a model of three layers; a run has one gradient per point."""
    taken = []
    add = GradientSum.add

    def counted(self, embed, **options):
        taken.append(len(embed))
        return add(self, embed, **options)

    monkeypatch.setattr(GradientSum, "add", counted)
    options = {"ig_steps": 2, "ig_rule": rule}
    attribute_edges(random_model, random_pairs, metric="logit_diff", method=method, **options)
    expected = METHOD_FACTS[method].n_gradients(n_layers=random_model.cfg.n_layers, **options)
    assert sum(taken) == expected


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_points_of_the_rules_integrate_polynomials(steps):
    """The trapezoidal rule is exact for a line, and off by 1/(6 m^2) for t^2."""

    def integral(rule, power, left=0.0):
        points = spread(steps, rule=rule, left=left)
        total = sum(point.weight for point in points)
        return sum(point.weight * point.fraction**power for point in points) / total

    assert [point.fraction for point in spread(2, rule="left", left=1.0)] == [0.5, 1.0]
    assert integral("trapezoid", 1) == pytest.approx(1 / 2)
    assert integral("trapezoid", 2) == pytest.approx(1 / 3 + 1 / (6 * steps**2))
    assert integral("midpoint", 1) == pytest.approx(1 / 2)
    assert integral("midpoint", 2) == pytest.approx(1 / 3 - 1 / (12 * steps**2))
    assert integral("left", 1) == pytest.approx(1 / 2 - 1 / (2 * steps))
    assert integral("left", 1, left=1.0) == pytest.approx(1 / 2 + 1 / (2 * steps))
