import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import (
    ALGORITHM_CONSISTENCY,
    GT_ALGORITHM,
    ROLE_GRAPH,
    ROLES,
    S2I,
    SCHEMAS,
    SELF_REPAIR,
    SWAPS,
    TRANSFER,
)
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.tables.collected import (
    AlgorithmTables,
    algorithm_tables,
    swaps_table,
    transfer_table,
)
from tests.unit.tables.test_circuits import make_record

ORDER = {"models": ["small", "large"], "tasks": ["sva", "ioi"]}


def transfers(*rows, model="small", **changes):
    """(task, step, circuit_task, circuit_step) of each row, all of them measured."""
    frame = pd.DataFrame(rows, columns=["task", "step", "circuit_task", "circuit_step"])
    about = {"model": model, "variant": "", "tokens": 0, "method": "eap_ig_inputs", "ig_steps": 5}
    about |= {"control": "own", "circuit_model": model, "circuit_variant": "", "draw": -1}
    about |= {"n_edges": 7, "metric": "logit_diff", "unit": "logits", "n": 2, "status": "ok"}
    about |= dict.fromkeys(("m_model", "m_corrupted", "m_circuit", "f_raw", "f_norm"), 0.5)
    return TRANSFER.cast(frame.assign(**about | changes))


def swaps(*targets, model="small", head_set="circuit"):
    frame = pd.DataFrame({"target_step": targets})
    about = {"model": model, "variant": "", "task": "ioi", "head_set": head_set, "source_step": 8}
    about |= {"metric": "logit_diff", "unit": "logits", "n_heads": 1, "n": 9, "status": "ok"}
    about |= {"baseline": 0.0, "swapped": 1.0, "difference": 1.0, "difference_low": 0.5}
    about |= {"difference_high": 1.5, "n_draws": pd.NA, "lowest_draw": np.nan}
    return SWAPS.cast(frame.assign(**about, highest_draw=np.nan))


def summary(*, negligible_at_step=()):
    """Of ioi and sva at steps 8 and 16; at some the metric is below 5 % of that at the end."""
    m_model = {step: (0.01, 0.03) if step in negligible_at_step else (1.0, 3.0) for step in (8, 16)}
    records = [
        make_record(task=task, step=step, m_model=metric)
        for task in ("ioi", "sva")
        for step, metric in m_model.items()
    ]
    return circuit_tables(records, **ORDER).circuit_summary


def test_transfers_are_in_the_order_of_the_configuration_and_then_by_steps():
    frames = [
        transfers(("ioi", 8, "ioi", 8), model="large"),
        transfers(("ioi", 16, "ioi", 16), ("ioi", 16, "ioi", 8), ("ioi", 8, "ioi", 16)),
        transfers(("sva", 16, "ioi", 16)),
    ]
    table = transfer_table(frames, circuit_summary=summary(), **ORDER)
    TRANSFER.check(table, where="test")
    names = ["model", "task", "step", "circuit_task", "circuit_step"]
    assert list(table[names].itertuples(index=False, name=None)) == [
        ("small", "sva", 16, "ioi", 16),
        ("small", "ioi", 8, "ioi", 16),
        ("small", "ioi", 16, "ioi", 8),
        ("small", "ioi", 16, "ioi", 16),
        ("large", "ioi", 8, "ioi", 8),
    ]
    assert set(table["status"]) == {"ok"}


def test_where_the_metric_is_negligible_beside_that_of_the_end_neither_model_nor_circuit_count():
    rows = transfers(
        ("ioi", 8, "ioi", 8), ("ioi", 8, "ioi", 16), ("ioi", 16, "ioi", 8), ("ioi", 16, "ioi", 16)
    )
    table = transfer_table([rows], circuit_summary=summary(negligible_at_step=[8]), **ORDER)
    by_steps = {(row.step, row.circuit_step): row for row in table.itertuples()}
    assert by_steps[16, 16].status == "ok"
    assert by_steps[16, 16].f_raw == 0.5
    assert by_steps[8, 16].status == "no_behaviour"
    assert (by_steps[8, 16].m_circuit, by_steps[8, 16].n_edges) == (0.5, 7)
    assert np.isnan([by_steps[8, 16].f_raw, by_steps[8, 16].f_norm]).all()
    for steps in ((16, 8), (8, 8)):
        assert by_steps[steps].status == "no_circuit"
        assert np.isnan([by_steps[steps].m_circuit, by_steps[steps].f_raw]).all()
        assert pd.isna(by_steps[steps].n_edges)
        assert by_steps[steps].m_model == 0.5


def test_the_circuit_of_another_task_is_looked_up_under_that_task():
    rows = transfers(("sva", 8, "ioi", 8), ("ioi", 8, "sva", 8))
    status = summary()["task"].map({"ioi": "no_behaviour", "sva": "ok"})
    table = transfer_table([rows], circuit_summary=summary().assign(status=status), **ORDER)
    assert dict(zip(table["task"], table["status"], strict=True)) == {
        "sva": "no_circuit",
        "ioi": "no_behaviour",
    }


def test_the_circuit_of_another_seed_is_looked_up_in_its_own_model():
    own = transfers(("ioi", 8, "ioi", 8))
    seed = own.assign(control="seed", circuit_model="large")
    known = pd.concat([summary(), summary().assign(model="large", status="no_behaviour")])
    table = transfer_table([own, seed], circuit_summary=known, **ORDER)
    assert dict(zip(table["control"], table["status"], strict=True)) == {
        "own": "ok",
        "seed": "no_circuit",
    }


def test_a_transfer_that_comes_twice_is_refused():
    rows = transfers(("ioi", 8, "ioi", 8))
    with pytest.raises(ArtifactError, match=r"circuit_step=8, draw=-1 comes more than once"):
        transfer_table([rows, rows], circuit_summary=summary(), **ORDER)


def test_swaps_are_in_the_order_of_the_configuration_and_then_by_set_and_steps():
    frames = [swaps(4, model="large"), swaps(16, 4, head_set="s2i"), swaps(4), SWAPS.empty()]
    table = swaps_table(frames, **ORDER)
    SWAPS.check(table, where="test")
    names = ["model", "head_set", "target_step"]
    assert list(table[names].itertuples(index=False, name=None)) == [
        ("small", "circuit", 4),
        ("small", "s2i", 4),
        ("small", "s2i", 16),
        ("large", "circuit", 4),
    ]


def test_a_swap_with_a_wrong_dtype_is_refused():
    frame = swaps(4).astype({"n": "int64"})
    with pytest.raises(ArtifactError, match=r"swaps of job 1: .*column 'n' is int64"):
        swaps_table([swaps(4), frame], **ORDER)


def traced(schema, *steps, **changes):
    """One row of any table about the algorithms per step of the IOI task."""
    about = {"model": "small", "variant": "", "tokens": 0, "task": "ioi", "layer": 1, "head": 2}
    about |= {"flip": "same_opposite", "role": "NM", "node": "m1", "check": "mlp_gap", "value": 1.0}
    about |= dict.fromkeys(("d_logit_diff", "d_attn_io", "d_attn_s1", "d_attn_s2", "effect"), -0.5)
    about |= {"d_logit_diff_low": -0.6, "d_logit_diff_high": -0.4}
    about |= {"panel": "direct", "denominator": "circuit", "pct": 80.0, "explained": 0.4}
    about |= {"pct_low": 70.0, "pct_high": 90.0, "total": 0.5, "n_heads": 3, "sign": "both"}
    about |= {"null_high": 60.0, "p": 0.01, "total_low": 0.4, "total_high": 0.6}
    about |= {"joint": -0.4, "joint_low": -0.5, "joint_high": -0.3}
    about |= {
        "unit": "%",
        **dict.fromkeys(("by_position", "by_token", "is_s2i"), True),
        "n": 9,
        "status": "ok",
    }
    frame = pd.DataFrame({"step": steps}).assign(**about | changes)
    return schema.cast(frame[list(schema.columns)])


def algorithm_table(frames, schema, **given):
    """One of the tables, where all others are made of nothing."""
    files = dict.fromkeys(AlgorithmTables._fields, ()) | {schema.name: frames}
    tables = algorithm_tables(**files, **given)._asdict()
    for name, table in tables.items():
        SCHEMAS[name].check(table, where="test")
    return tables[schema.name]


@pytest.mark.parametrize("schema", [S2I, ROLES, GT_ALGORITHM], ids=lambda schema: schema.name)
def test_a_step_whose_metric_is_negligible_has_no_rows_of_what_heads_do(schema):
    frames = [traced(schema, 8), traced(schema, 16)]
    table = algorithm_table(
        frames, schema, circuit_summary=summary(negligible_at_step=[8]), **ORDER
    )
    schema.check(table, where="test")
    pd.testing.assert_frame_equal(table, frames[1])
    able = algorithm_table(frames, schema, circuit_summary=summary(), **ORDER)
    assert able["step"].tolist() == [8, 16]


@pytest.mark.parametrize("denominator", ["circuit", "all"])
@pytest.mark.parametrize("said", ["ok", "no_name_movers"])
def test_a_step_whose_metric_is_negligible_has_no_share_and_says_why(denominator, said):
    about = {"denominator": denominator, "status": said}
    frames = [traced(ALGORITHM_CONSISTENCY, step, **about) for step in (8, 16)]
    at_8 = summary(negligible_at_step=[8])
    table = algorithm_table(frames, ALGORITHM_CONSISTENCY, circuit_summary=at_8, **ORDER)
    ALGORITHM_CONSISTENCY.check(table, where="test")
    assert table["status"].tolist() == ["no_behaviour", said]
    numbers = ["pct", "pct_low", "pct_high", "explained", "total"]
    assert table.loc[0, numbers].isna().all()
    assert (table.loc[0, "n_heads"], table.loc[0, "n"]) == (0, 9)
    pd.testing.assert_frame_equal(table[1:].reset_index(drop=True), frames[1])


def test_a_step_whose_metric_is_negligible_has_no_graph_of_roles():
    """An edge without a null and one with it, of which only the first step is masked."""
    about = {"source": "S2I", "target": "NM", "port": "q", "effect_low": -0.6, "effect_high": -0.4}
    about |= {"null_mean": 0.0, "null_low": -0.1, "null_high": 0.1, "n_source": 2, "n_target": 3}
    frames = [traced(ROLE_GRAPH, step, **about) for step in (8, 16)]
    at_8 = summary(negligible_at_step=[8])
    table = algorithm_table(frames, ROLE_GRAPH, circuit_summary=at_8, **ORDER)
    assert table["status"].tolist() == ["no_behaviour", "ok"]
    assert table.loc[0].filter(regex="effect|null").isna().all()
    assert table.loc[0, ["n_source", "n_target", "n"]].tolist() == [0, 0, 9]
    pd.testing.assert_frame_equal(table[1:].reset_index(drop=True), frames[1])


def test_a_step_whose_metric_is_negligible_has_no_self_repair():
    numbers = [name for name, kind in SELF_REPAIR.columns.items() if kind == "float64"]
    frames = [traced(SELF_REPAIR, step, **dict.fromkeys(numbers, 0.5)) for step in (8, 16)]
    at_8 = summary(negligible_at_step=[8])
    table = algorithm_table(frames, SELF_REPAIR, circuit_summary=at_8, **ORDER)
    assert table["status"].tolist() == ["no_behaviour", "ok"]
    assert table.loc[0, numbers].isna().all()
    assert table.loc[0, ["n_heads", "n"]].tolist() == [0, 9]
    pd.testing.assert_frame_equal(table[1:].reset_index(drop=True), frames[1])


def test_of_other_models_variants_and_tasks_the_algorithm_is_kept():
    others = [{"model": "large"}, {"variant": "seed1"}, {"task": "sva"}]
    only_ioi = summary(negligible_at_step=[8]).query("task == 'ioi'")
    for other in others:
        table = algorithm_table(
            [traced(ROLES, 8, **other)], ROLES, circuit_summary=only_ioi, **ORDER
        )
        assert len(table) == 1
