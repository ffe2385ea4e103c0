"""One model of one layer and one head; circuits are given as the edges they have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import STABILITY
from circuitlapse.settings.analysis import Stability
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.tables.stability import smoothed, stability_table
from tests.unit.circuits.test_record import make_record

Q, K, V, M, TO_LOGITS = (0, 0), (0, 1), (0, 2), (0, 3), (1, 4)
HEAD = {Q: 1.0, TO_LOGITS: 1.0}
LINE = ["step", "step_next", "jaccard"]


def arrays(edges: dict[tuple[int, int], float]) -> dict[str, object]:
    in_circuit, scores = np.zeros((3, 5), dtype=bool), np.full((3, 5), 0.01)
    scores[1:, :4] = np.nan
    for place, score in edges.items():
        in_circuit[place], scores[place] = True, score
    return {"in_circuit": in_circuit, "scores": scores}


def circuit(step: int, edges: dict[tuple[int, int], float], **changes: object) -> CircuitRecord:
    return make_record(step=step, tokens=100 * step, **arrays(edges), **changes)


def absent(step: int, **changes: object) -> CircuitRecord:
    nothing = {"status": "no_behaviour", "n_requested": None, "m_circuit": None}
    return circuit(step, {}, **nothing, **changes)


def halves(first: dict, second: dict, *status: str) -> dict[str, object]:
    both = [arrays(first), arrays(second)]
    return {
        "half_of_prompt": np.array([0, 1]),
        "half_seed": 0,
        "half_scores": np.stack([half["scores"] for half in both]),
        "half_in_circuit": np.stack([half["in_circuit"] for half in both]),
        "half_status": status or ("ok", "ok"),
    }


def settings(**changes: object) -> dict[str, object]:
    """The section as a job gets it."""
    return Stability(alpha=0.5).model_dump(mode="json") | changes


def table(
    records: list[CircuitRecord],
    *,
    alpha: float = 0.5,
    reference_step: int | None = None,
    min_step: int = 1,
    **changes: object,
) -> pd.DataFrame:
    models = list(dict.fromkeys(record.model for record in records))
    order = {"models": models, "tasks": ["ioi", "sva"]}
    how = {
        "circuit_summary": circuit_tables(iter(records), **order).circuit_summary,
        "originals": models,
        "stability": settings(alpha=alpha, reference_step=reference_step, min_step=min_step),
    }
    found = stability_table(iter(records), **(order | how | changes))
    STABILITY.check(found, where="test")
    return found


def line(found: pd.DataFrame, comparison: str, *, level="edge", weighting="none") -> pd.DataFrame:
    how = {"comparison": comparison, "level": level, "weighting": weighting}
    return found[(found[list(how)] == pd.Series(how)).all(axis=1)]


def values(frame: pd.DataFrame, *columns: str) -> list[tuple]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


THREE = [circuit(2, {K: 1.0, TO_LOGITS: 3.0}), circuit(4, HEAD), circuit(8, HEAD | {M: 2.0})]


def test_consecutive_circuits_are_compared_as_one_does_by_hand():
    found = table(THREE)
    edges, nodes = (line(found, "consecutive", level=level) for level in ("edge", "node"))
    assert values(edges, *LINE) == [(2, 4, 1 / 3), (4, 8, 2 / 3)]
    assert values(nodes, *LINE) == [(2, 4, 1.0), (4, 8, 1 / 2)]
    assert values(edges, "ewma", "alpha") == [(1 / 3, 0.5), (1 / 2, 0.5)]
    assert values(edges, "tokens", "size", "size_next") == [(200, 2, 2), (400, 2, 3)]
    assert values(nodes, "size", "size_next", "unit") == [(1, 1, "share"), (1, 2, "share")]


def test_weights_are_shares_of_the_summed_score_of_each_circuit():
    """Edges: K 1/4, to logits 3/4 against Q, to logits 1/2; then 1/2, 1/2 against 1/4, 1/4, 1/2.

    Nodes: the head alone against the head alone; then against head 1/2, MLP 1/2.
    """
    found = table(THREE)
    edges = line(found, "consecutive", weighting="abs")["jaccard"]
    assert edges.tolist() == pytest.approx([0.5 / 1.5, 0.5 / 1.5])
    nodes = line(found, "consecutive", level="node", weighting="abs")["jaccard"]
    assert nodes.tolist() == pytest.approx([1, (1 / 2) / (3 / 2)])


def test_every_other_step_is_compared_with_the_last_or_with_the_one_asked_for():
    last = line(table(THREE), "reference")
    assert values(last, *LINE) == [(2, 8, 1 / 4), (4, 8, 2 / 3)]
    assert last[["ewma", "alpha"]].isna().all(axis=None)
    second = line(table(THREE, reference_step=4), "reference")
    assert values(second, *LINE) == [(2, 4, 1 / 3), (8, 4, 2 / 3)]


def test_the_reference_may_come_before_the_first_step_that_counts():
    found = table(THREE, reference_step=2, min_step=3)
    assert values(line(found, "reference"), *LINE) == [(4, 2, 1 / 3), (8, 2, 1 / 4)]
    assert values(line(found, "consecutive"), "step", "ewma") == [(4, 2 / 3)]


def test_a_comparison_with_a_circuit_that_is_missing_is_not_defined():
    found = table([circuit(2, HEAD), circuit(4, HEAD), absent(6), circuit(8, HEAD), absent(10)])
    edges = line(found, "consecutive")
    assert edges["jaccard"].isna().tolist() == edges["ewma"].isna().tolist()
    assert edges["jaccard"].isna().tolist() == [False, True, True, True]
    assert edges["size"].isna().tolist() == [False, False, True, False]
    assert edges["size_next"].isna().tolist() == [False, True, False, True]
    assert line(found, "reference")["jaccard"].isna().all()


def test_a_circuit_that_the_summary_takes_away_is_missing_here_too():
    """At step 1 the metric is below 5 % of what it is later on."""
    weak = circuit(1, HEAD, m_model=np.array([0.01, 0.01]), **halves(HEAD, HEAD))
    found = table([weak, *THREE])
    assert line(found, "consecutive")["jaccard"].isna().tolist() == [True, False, False]
    assert line(found, "halves")["jaccard"].isna().tolist()[0]


@pytest.mark.parametrize("status", ["overshoot", "not_reached"])
def test_a_circuit_counts_whatever_its_status(status):
    found = table([circuit(2, HEAD, status=status), circuit(4, HEAD)])
    assert line(found, "consecutive")["jaccard"].tolist() == [1.0]


def test_models_are_compared_on_the_steps_they_share_and_a_variant_on_those_it_has():
    def of(model: str, *steps: int) -> list[CircuitRecord]:
        return [circuit(step, HEAD, model=model) for step in steps]

    records = [*of("small", 1, 2, 4, 8), *of("large", 1, 3, 4, 8), *of("again", 1, 8)]
    found = table(records, originals=["small", "large"])
    pairs = line(found, "consecutive").groupby("model", sort=False)[["step", "step_next"]]
    steps = {model: values(rows, "step", "step_next") for model, rows in pairs}
    assert steps == {
        "small": [(1, 4), (4, 8)],
        "large": [(1, 4), (4, 8)],
        "again": [(1, 8)],
    }
    reference = line(found, "reference")
    assert reference.loc[reference["model"] == "large", "step"].tolist() == [1, 3, 4]


def test_halves_of_one_step_are_compared_with_their_own_scores():
    two = halves({Q: 1.0, TO_LOGITS: 1.0}, {Q: -2.0, V: 1.0, TO_LOGITS: 1.0})
    found = table([circuit(4, HEAD, **two)])
    edges = line(found, "halves")
    assert values(edges, *LINE, "size", "size_next") == [(4, 4, 2 / 3, 2, 3)]
    assert edges[["ewma", "alpha"]].isna().all(axis=None)
    weighted = line(found, "halves", weighting="abs")["jaccard"]
    assert weighted.tolist() == pytest.approx([(1 / 2 + 1 / 4) / (1 / 2 + 1 / 4 + 1 / 2)])


def test_halves_without_a_circuit_are_not_compared():
    missing = halves(HEAD, {}, "ok", "no_behaviour")
    few = halves({}, {}, "too_few_prompts", "too_few_prompts")
    records = [circuit(2, HEAD, **missing), circuit(4, HEAD, **few), absent(6)]
    found = line(table(records), "halves")
    assert found["jaccard"].isna().all()
    assert found["size"].isna().tolist() == [False, True, True]
    assert found["step"].tolist() == [2, 4, 6]


def test_where_no_record_has_halves_none_are_compared():
    assert set(table(THREE)["comparison"]) == {"consecutive", "reference"}


def test_the_order_of_records_does_not_matter():
    records = [*THREE, *(circuit(step, HEAD, task="sva") for step in (8, 2))]
    pd.testing.assert_frame_equal(table(records), table(records[::-1]))


@pytest.mark.filterwarnings("error")
def test_a_single_step_is_compared_with_nothing():
    found = table([circuit(4, HEAD)])
    assert len(found) == 0


@pytest.mark.parametrize(
    ("records", "changes", "message"),
    [
        ([THREE[0], THREE[0]], {}, "small at step 2 for ioi comes more than once"),
        ([circuit(3, HEAD)], {}, "small at step 3 for ioi is not in circuit_summary"),
        (
            THREE,
            {"stability": settings(reference_step=3)},
            r"reference_step: small has no circuit of step 3; steps: 2, 4, 8",
        ),
        (THREE, {"tasks": ["sva"]}, "stability: unknown task 'ioi'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(records, changes, message):
    order = {"models": ["small"], "tasks": ["ioi", "sva"]}
    how = {"originals": ["small"], "stability": settings()}
    summary = circuit_tables(iter(THREE), **order).circuit_summary
    with pytest.raises(ArtifactError, match=message):
        stability_table(records, circuit_summary=summary, **(order | how | changes))


def test_circuits_of_two_graphs_are_not_compared():
    other = make_record(step=4, sources=("input", "a0.h1", "m0"))
    with pytest.raises(ArtifactError, match="small at step 4 for ioi has another graph"):
        table([THREE[0], other])


def test_smoothing_is_the_mean_of_the_newest_and_all_before():
    means = smoothed(pd.Series([0.8, 0.4, 0.6, 0.2]), alpha=0.5)
    assert means.tolist() == pytest.approx([0.8, 0.6, 0.6, 0.4])
    means = smoothed(pd.Series([0.8, 0.4]), alpha=0.25)
    assert means.tolist() == pytest.approx([0.8, 0.25 * 0.4 + 0.75 * 0.8])


@pytest.mark.parametrize(("alpha", "means"), [(0.5, [0.8, 0.5, 0.45]), (0.25, [0.8, 0.65, 0.5875])])
def test_a_gap_stays_a_gap_and_is_passed_over(alpha, means):
    gap = float("nan")
    found = smoothed(pd.Series([gap, 0.8, gap, gap, 0.2, 0.4, gap]), alpha=alpha)
    assert found.isna().tolist() == [True, False, True, True, False, False, True]
    assert found.dropna().tolist() == pytest.approx(means)


def place(*edges: tuple[int, int]) -> np.ndarray:
    """Return the order of edges in which these come first."""
    order = np.full((3, 5), -1)
    rest = [*((0, column) for column in range(5)), (1, 4), (2, 4)]
    for rank, edge in enumerate([*edges, *(edge for edge in rest if edge not in edges)]):
        order[edge] = rank
    return order


def test_circuits_are_cut_at_the_size_of_the_reference_step():
    """At step 8 there are two edges, so that the third edges of the others do not count."""
    first = circuit(2, HEAD | {M: 1.0}, order=place(Q, TO_LOGITS, M))
    second = circuit(4, HEAD | {K: 1.0}, order=place(TO_LOGITS, Q, K))
    last = circuit(8, HEAD, order=place(Q, TO_LOGITS), n_requested=2)
    found = table([first, second, last])
    for comparison in ("consecutive", "reference"):
        edges = line(found, comparison)
        assert (edges["jaccard"] < 1).all()
        assert values(edges, "size_matched", "jaccard_matched") == [(2, 1.0), (2, 1.0)]
    absent_last = [first, second, absent(8)]
    earlier = line(table(absent_last), "consecutive")
    assert earlier["size_matched"].tolist()[0] == 3
    assert earlier["jaccard_matched"].isna().tolist() == [False, True]


def test_halves_have_the_floor_of_their_step():
    splits = {
        "split_seed": 0,
        "split_sizes": np.array([1, 2]),
        "split_overlap": np.broadcast_to(np.arange(1, 20)[:, None, None, None] / 20, (19, 2, 2, 2)),
        "split_rank_correlation": np.ones(19),
    }
    records = [
        circuit(
            step, HEAD, order=place(Q, TO_LOGITS), n_requested=2, **halves(HEAD, HEAD), **splits
        )
        for step in (2, 4)
    ]
    found = table(records)
    floors = line(found, "halves")
    assert floors["floor_median"].tolist() == pytest.approx([0.5] * 2)
    assert floors["floor_low"].tolist() == pytest.approx([0.05] * 2)
    assert floors["changed"].isna().all()
    (pair,) = values(line(found, "consecutive"), "floor_low", "changed")
    assert pair == (pytest.approx(0.05), False)
