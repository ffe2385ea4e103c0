import json

import numpy as np
import pytest

from circuitlapse.explorer.packing import unpack
from circuitlapse.explorer.run_data import (
    SCHEMA,
    Described,
    circuits,
    document,
    shape_of,
)
from circuitlapse.schemas import SCHEMAS
from tests.explorer_tables import SMALL, STEPS, TASKS, described, run

TABLES = run()
MADE = document(TABLES, title="run", models=described(), tasks=TASKS[:2], threshold=0.8)


def rows(table, model="large", task="ioi"):
    frame = TABLES[table]
    return frame[(frame["model"] == model) & (frame["task"] == task)]


def test_the_document_is_json_and_names_its_schema():
    assert json.loads(json.dumps(MADE, allow_nan=False)) == MADE
    assert MADE["schema"] == SCHEMA
    assert [model["name"] for model in MADE["models"]] == list(SMALL)
    assert MADE["models"][1]["steps"] == list(STEPS)


def test_every_edge_comes_back_in_the_order_of_the_table():
    found = MADE["models"][1]["tasks"]["ioi"]["circuits"]
    for place in range(len(STEPS)):
        here = slice(found["first"][place], found["first"][place + 1])
        names = [found["edges"][edge] for edge in found["edge"][here]]
        edges = rows("circuit_edges")
        table = edges[edges["step"] == found["steps"][place]]
        expected = [
            f"{source}->{target}" + (f"<{port}>" if port else "")
            for source, target, port in zip(
                table["source"], table["target"], table["port"], strict=True
            )
        ]
        assert names == expected
        assert np.cumsum(found["order"][here]).tolist() == table["order"].tolist()
        np.testing.assert_allclose(found["score"][here], table["score"], rtol=5e-4)


def test_the_strongest_edges_are_kept_and_the_others_counted():
    table = rows("circuit_edges")
    found = circuits(table, STEPS, most_edges=5)
    last = table[table["step"] == STEPS[-1]]
    strongest = last.loc[last["score"].abs().nlargest(5).index].sort_index()
    np.testing.assert_allclose(found["score"][-5:], strongest["score"], rtol=5e-4)
    assert found["hidden"] == [max(0, int((table["step"] == step).sum()) - 5) for step in STEPS]


def test_summaries_keep_every_column_and_undefined_numbers_stay_undefined():
    summary = MADE["models"][0]["tasks"]["ioi"]["summary"]
    assert {"model", "task"} | set(summary["columns"]) == set(SCHEMAS["circuit_summary"].columns)
    table = unpack(summary)
    assert table["status"].tolist() == ["no_behaviour", "ok", "ok", "ok"]
    assert table["f_raw"].isna().tolist() == [True, False, False, False]


def test_scores_run_over_steps_then_layers_then_heads():
    model = MADE["models"][1]
    values = np.array(model["scores"]["cspa"]["value"]).reshape(len(STEPS), 4, 3)
    table = TABLES["components"].query("model == 'large' and score == 'cspa'")
    for step, layer, head, value in table[["step", "layer", "head", "value"]].itertuples(
        False, None
    ):
        assert values[STEPS.index(step), layer, head] == pytest.approx(value, rel=5e-4)


def test_a_head_without_a_row_has_no_status():
    tables = TABLES | {"components": TABLES["components"].query("layer != 1")}
    made = document(tables, title="", models=described(), tasks=TASKS[:1], threshold=0.8)
    status = np.array(made["models"][1]["scores"]["copy"]["status"]).reshape(len(STEPS), 4, 3)
    assert set(status[:, 1].ravel()) == {None}
    assert set(status[:, 2].ravel()) == {"ok"}


def test_the_shape_is_that_of_the_graph_whose_edges_were_counted():
    for model, size in zip(MADE["models"], SMALL.values(), strict=True):
        assert (model["layers"], model["heads"]) == (size.layers, size.heads)
        assert model["parallel"] is True
    none = SCHEMAS["components"].empty()
    assert shape_of(none, SCHEMAS["circuit_edges"].empty()) == (0, 0)
    assert shape_of(none, rows("circuit_edges")) == (4, 3)


def test_a_model_of_which_only_the_behaviour_is_known_has_no_circuits():
    tables = {
        name: table if name == "behaviour" else table[table["model"] != "small"]
        for name, table in TABLES.items()
    }
    made = document(tables, title="", models=described(), tasks=TASKS, threshold=0.8)
    small = made["models"][0]
    assert (small["layers"], small["heads"], small["parallel"]) == (0, 0, None)
    assert small["tasks"]["ioi"]["summary"]["n"] == 0
    assert small["tasks"]["ioi"]["behaviour"]["n"] == len(STEPS)
    assert list(made["tasks"]) == list(TASKS)
    assert list(small["tasks"]) == list(TASKS[:2])


def test_models_without_a_row_are_left_out():
    models = {**described(), "other": Described("Other")}
    made = document(TABLES, title="", models=models, tasks=TASKS, threshold=0.8)
    assert len(made["models"]) == 2


def test_transfer_has_the_mean_of_random_circuits_beside_each_circuit():
    found = unpack(MADE["models"][1]["tasks"]["ioi"]["transfer"])
    table = rows("transfer")
    one = table.query("control == 'random' and step == 1000 and circuit_step == 100")
    row = found.query("step == 1000 and circuit_step == 100").iloc[0]
    assert row["f_random"] == pytest.approx(one["f_raw"].mean(), rel=5e-4)
