import re
from typing import get_args

from circuitlapse.circuits.attribution.registry import METHODS
from circuitlapse.settings import analysis
from circuitlapse.types import Method


def test_every_method_is_registered_in_the_order_of_its_enum():
    assert list(METHODS) == list(Method)


def test_a_configuration_may_name_every_method_but_the_slow_one():
    allowed = get_args(analysis.Circuits.model_fields["method"].annotation)
    assert allowed == tuple(method for method in METHODS if method != Method.EXACT)


def test_the_guide_to_the_library_has_a_row_for_each_method(root):
    table = (root / "docs/library.md").read_text().partition("| `method` | ")[2]
    rows = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], flags=re.MULTILINE)
    assert rows == list(METHODS)
