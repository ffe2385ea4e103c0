"""The authors' results of one model, read from planted files."""

import numpy as np
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.io.clone import (
    PublishedModel,
    TaskFiles,
    nominal_size,
    read_baselines,
    read_curve,
)
from circuitlapse.schemas import BEHAVIOUR, PUBLISHED_CURVE
from tests.clone import Planted

SHAPE = {"n_layers": 2, "n_heads": 2}
CHAIN = ("input->a0.h1<v>", "a0.h1->m1", "m1->logits")
OTHER = ("input->m0", "m0->logits")
SCORES = {"m1->logits": -0.9, "a0.h1->m1": 0.8, "input->a0.h1<v>": 0.7} | dict.fromkeys(OTHER, 0.01)


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path / "clone")


def files(planted, *, curve=None, step=1000, **graph):
    """Plant a graph of IOI, its curve and its metric; return them."""
    graph = {"edges": CHAIN, "scores": SCORES} | SHAPE | graph
    graphs = {step: str(planted.graph("pythia-70m", "ioi", step, **graph))}
    curves = {}
    if curve is not None:
        file = planted.write(f"faithfulness/pythia-70m/ioi/{step}.json", curve)
        curves = {step: str(file)}
    baselines = [str(planted.write("baselines/pythia-70m/ioi.json", {str(step): 2.5}))]
    return TaskFiles("logit_diff", baselines, curves, graphs)


def model_of(**tasks):
    return PublishedModel("pythia-70m", "pythia-70m", 2_097_152, tasks)


def test_a_graph_comes_back_with_its_circuit_scores_and_metric(planted):
    (record,) = model_of(ioi=files(planted, curve={"2": 0.1, "3": 0.85, "50": 0.9})).records()
    edges = {
        f"{record.sources[row]}->{record.targets[column]}"
        for row, column in np.argwhere(record.in_circuit)
    }
    assert edges == set(CHAIN)
    assert (record.n_edges, record.n_nodes, record.n_requested) == (3, 4, 3)
    assert record.m_model.tolist() == [2.5]
    assert record.m_circuit == pytest.approx([0.85 * 2.5])
    assert (record.step, record.tokens, record.status) == (1000, 1000 * 2_097_152, "ok")
    assert np.nanmax(record.scores) == pytest.approx(0.8)


def test_the_number_of_edges_before_pruning_is_the_size_whose_circuit_is_theirs(planted):
    """Two edges lead nowhere: they were taken, and pruned away."""
    scores = SCORES | {"m0->m1": 5.0, "a0.h0->m1": 6.0}
    curve = {"1": 0.0, "4": 0.2, "5": 0.81, "40": 0.95}
    (record,) = model_of(ioi=files(planted, curve=curve, scores=scores)).records()
    assert record.n_requested == 5
    assert dict(zip(record.curve_n_requested, record.curve_n_edges, strict=True))[5] == 3


def test_a_graph_without_a_curve_has_its_own_size_and_an_unknown_faithfulness(planted):
    (record,) = model_of(ioi=files(planted)).records()
    assert record.n_requested == record.n_edges == 3
    assert record.status == "not_reached"
    assert np.isnan(record.m_circuit).all()


@pytest.mark.parametrize(
    ("reached", "status"), [(0.79, "not_reached"), (0.8, "ok"), (1.5, "overshoot")]
)
def test_the_status_is_that_of_the_search_of_the_paper(planted, reached, status):
    (record,) = model_of(ioi=files(planted, curve={"3": reached})).records()
    assert record.status == status


def test_a_metric_that_only_a_pickle_has_is_unknown(planted):
    """As that of IOI in most models: faithfulness is known without it."""
    known = files(planted, curve={"3": 0.9})
    model = model_of(ioi=TaskFiles("logit_diff", [], known.curves, known.graphs))
    (record,) = model.records()
    assert np.isnan(record.m_model).all()
    assert model.curves()["f_raw"].tolist() == [0.9]
    behaviour = model.behaviour()
    assert behaviour["value"].isna().all()
    assert len(behaviour) == 1


def test_the_tables_of_a_model_have_their_schemas(planted):
    model = model_of(ioi=files(planted, curve={"100": 0.9, "3": 0.85}))
    BEHAVIOUR.check(model.behaviour(), where="here")
    PUBLISHED_CURVE.check(model.curves(), where="here")
    assert model.curves()["n_requested"].tolist() == [3, 100]
    row = model.behaviour().iloc[0]
    assert (row["value"], row["unit"], row["n"]) == (2.5, "logits", 1)
    assert row["n_parameters"] == 70_000_000


def test_metrics_of_single_steps_join_those_of_all_steps_which_win(planted):
    whole = planted.write("baselines/pythia-410m/ioi.json", {"512": 0.25, "1000": 1.0})
    single = planted.write("baselines/pythia-410m/ioi/1000.json", "7.0")
    other = planted.write("baselines/pythia-410m/ioi/4000.json", {"4000": 3.5})
    plain = planted.write("baselines/pythia-410m/ioi/8000.json", 4.5)
    found = read_baselines([whole, single, other, plain])
    assert found == {512: 0.25, 1000: 1.0, 4000: 3.5, 8000: 4.5}


def test_sizes_are_numbers_not_text(planted):
    curve = planted.write("faithfulness/a/ioi/1.json", {"1000": 0.9, "25": 0.1, "200": 0.5})
    assert [*read_curve(curve)] == [25, 200, 1000]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("pythia-1.4b", 1_400_000_000),
        ("pythia-2.8b", 2_800_000_000),
        ("pythia-160m-weight-seed1", 160_000_000),
        ("pythia-12b", 12_000_000_000),
        ("gpt2", 0),
    ],
)
def test_the_size_of_a_model_is_that_of_its_name(model, size):
    """One script of the authors has 14e9 and 28e9 for 1.4 and 2.8 B."""
    assert nominal_size(model) == size


def test_a_pointer_of_git_lfs_is_one_message_that_says_what_to_do(planted):
    path = planted.pointer("graphs/pythia-70m/ioi/1000.json")
    model = model_of(ioi=TaskFiles("logit_diff", [], {}, {1000: str(path)}))
    with pytest.raises(ArtifactError, match="git lfs pull") as error:
        list(model.records())
    assert str(path) in str(error.value)
    assert "JSON file: " not in str(error.value)
    for read in (lambda: read_baselines([path]), lambda: read_curve(path)):
        with pytest.raises(ArtifactError, match=r"1000\.json.*git lfs pull"):
            read()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.5], "found '\\[0.5\\]', expected an object: number of edges -> number"),
        ({"ten": 0.5}, "found 'ten': 0.5, expected number of edges -> number"),
        ({"10": "0.5"}, "found '10': '0.5', expected number of edges -> number"),
    ],
)
def test_another_kind_of_file_is_refused_with_what_was_found(planted, value, message):
    path = planted.write("faithfulness/a/ioi/1.json", value)
    with pytest.raises(ArtifactError, match=message) as error:
        read_curve(path)
    assert str(path) in str(error.value)
