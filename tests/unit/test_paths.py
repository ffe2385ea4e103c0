import re

from circuitlapse.paths import Paths


def test_every_path_lies_below_the_results_with_wildcards_in_one_order():
    order = ["suite", "model", "task", "step", "table", "figure"]
    for path in vars(Paths("out/mine")).values():
        assert path.startswith("out/mine/")
        wildcards = re.findall(r"{(\w+)}", path)
        assert wildcards == sorted(wildcards, key=order.index)
