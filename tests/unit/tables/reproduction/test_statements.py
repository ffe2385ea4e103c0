from collections import Counter

import pandas as pd

from circuitlapse.schemas import REPRODUCTION
from circuitlapse.tables.reproduction import STATEMENTS, reproduction_table

SETTINGS = {"lengths": (100,), "corruption": "s2_to_io", "copy_ln": "folded"}


def test_every_statement_has_its_own_name():
    assert max(Counter(one.name for one in STATEMENTS).values()) == 1


def test_a_run_without_tables_confirms_and_contradicts_nothing():
    table = reproduction_table(pythia_sizes={}, task_of_builder={}, **SETTINGS)
    REPRODUCTION.check(table, where="here")
    assert table["statement"].tolist() == [one.name for one in STATEMENTS]
    assert set(table["verdict"]) == {"not_applicable"}


def test_tables_and_settings_are_what_the_statements_are_tested_against():
    rows = [{"model": "small", "task": "names", "step": 143_000, "value": 3.0}]
    behaviour = pd.DataFrame(rows).assign(value_corrupted=-3.3, accuracy=1.0)
    table = reproduction_table(
        pythia_sizes={"160m": "small"},
        task_of_builder={"ioi": "names"},
        behaviour=behaviour,
        **SETTINGS,
    )
    row = table.set_index("statement").loc["opposite_160m"]
    assert (row["verdict"], row["measured"]) == ("pass", "ratio -1.10")
