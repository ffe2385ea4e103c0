import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import COMPONENTS, HEADS
from circuitlapse.tables.components import components_table

WHERE = {"model": "a", "variant": "seed1", "tokens": 0}
BUILT = {"ioi": "ioi", "greater_than": None}


def scores_at(step, *names, **changes):
    """Two heads of one layer per score."""
    rows = [
        WHERE | {"step": step, "score": name, "layer": 1, "head": head, "value": head / 2}
        for name in names
        for head in range(2)
    ]
    return HEADS.cast(pd.DataFrame(rows).assign(n=5, status="ok", low=0.1, high=0.9, **changes))


def summary_of(*statuses):
    rows = [WHERE | {"step": step, "task": "ioi", "status": s} for step, s in enumerate(statuses)]
    return pd.DataFrame(rows)


def edges_of(*edges):
    rows = [
        WHERE | {"step": step, "task": task, "source": source, "target": target}
        for step, task, source, target in edges
    ]
    return pd.DataFrame(rows, columns=[*WHERE, "step", "task", "source", "target"])


def table_of(frames, *, summary, edges, models=("a",)):
    how = {
        "circuit_summary": summary,
        "circuit_edges": edges,
        "models": models,
        "task_of_builder": BUILT,
    }
    return components_table(frames, (), **how)


def test_a_head_is_in_a_circuit_when_an_edge_touches_it_and_unknown_without_a_circuit():
    frames = [scores_at(step, "copy") for step in (2, 1, 0)]
    edges = edges_of((1, "ioi", "a1.h1", "logits"), (2, "ioi", "input", "a1.h0"))
    table = table_of(frames, summary=summary_of("no_behaviour", "ok", "not_reached"), edges=edges)
    COMPONENTS.check(table, where="here")
    found = table.set_index(["step", "head"])["in_circuit"]
    assert found[0].isna().all()
    assert found[1].tolist() == [False, True]
    assert found[2].tolist() == [True, False]


def test_effects_are_not_defined_where_the_model_does_not_do_the_task_and_other_scores_are():
    table = components_table(
        [scores_at(step, "copy") for step in (0, 1)],
        [scores_at(step, "e_logits") for step in (0, 1)],
        circuit_summary=summary_of("no_behaviour", "ok"),
        circuit_edges=edges_of(),
        models=["a"],
        task_of_builder=BUILT,
    )
    COMPONENTS.check(table, where="here")
    rows = table.set_index(["step", "score"])
    assert rows.loc[(0, "e_logits"), "value"].isna().all()
    assert set(rows.loc[(0, "e_logits"), "status"]) == {"no_behaviour"}
    assert set(rows.loc[(0, "e_logits"), "n"]) == {0}
    for kept in ((0, "copy"), (1, "e_logits")):
        assert rows.loc[kept, "value"].tolist() == [0.0, 0.5]
        assert set(rows.loc[kept, "status"]) == {"ok"}


def test_a_circuit_of_another_task_says_nothing():
    edges = edges_of((0, "sva", "a1.h1", "logits"), (0, "ioi", "a1.h0", "logits"))
    table = table_of([scores_at(0, "copy")], summary=summary_of("ok"), edges=edges)
    assert table["in_circuit"].tolist() == [True, False]


def test_a_score_whose_task_is_not_there_keeps_its_values():
    table = table_of([scores_at(0, "induction")], summary=summary_of("ok"), edges=edges_of())
    assert table["task"].tolist() == ["greater_than"] * 2
    assert table["in_circuit"].isna().all()
    assert table["value"].tolist() == [0.0, 0.5]
    assert set(table["unit"]) == {"probability"}


def test_rows_are_in_the_order_of_the_models_and_then_by_step_and_score():
    frames = [scores_at(1, "copy", "attn_io", model=model) for model in ("a", "b")]
    table = table_of(frames, summary=summary_of("ok"), edges=edges_of(), models=("b", "a"))
    assert table["model"].unique().tolist() == ["b", "a"]
    assert table.loc[table["model"] == "a", "score"].tolist() == ["attn_io"] * 2 + ["copy"] * 2


def test_a_head_that_is_there_twice_is_refused():
    with pytest.raises(ArtifactError, match="comes more than once"):
        table_of([scores_at(0, "copy")] * 2, summary=summary_of("ok"), edges=edges_of())
