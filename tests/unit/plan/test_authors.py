"""What rules read of a clone of the authors' results, on the configuration of the paper."""

import pytest

from circuitlapse.plan.authors import Agreement, Authors, results_of
from circuitlapse.plan.workflow import Plan
from circuitlapse.settings.base import TOKENS_PER_STEP
from circuitlapse.tables.registry import AUTHORS, COMPARISONS, JOBS
from tests.clone import Planted
from tests.unit.plan.conftest import config_of

SHAPE = {"n_layers": 1, "n_heads": 1, "edges": ()}


@pytest.fixture
def config(root, tmp_path):
    """The paper's configuration, with a clone of two models, one of them with IOI only."""
    planted = Planted(tmp_path / "clone")
    for step in (512, 1000, 999):
        planted.graph("pythia-160m", "sva", step, below="faithful/raw", **SHAPE)
    planted.graph("pythia-70m", "ioi", 143000, **SHAPE)
    planted.write("faithfulness/pythia-160m/sva/512.json", {"25": 0.5})
    planted.write("baselines/pythia-160m/sva.json", {"512": 0.5})
    planted.write("baselines/pythia-12b/greater_than.json", {"143000": 0.9})
    compare = {"published": str(planted.folder)}
    return config_of(root, "pythia", compare=compare)


def test_without_a_clone_there_is_the_run_alone(root):
    plan = Plan(config_of(root, "pythia"))
    assert [*results_of(plan)] == ["run"]
    assert results_of(plan)["run"].jobs is JOBS


def test_the_authors_have_the_models_steps_and_tasks_of_the_clone(config):
    plan = Authors.of(config)
    assert plan.models == ["pythia-70m", "pythia-160m", "pythia-12b"]
    assert [model.name for model in plan.analysed] == ["pythia-70m", "pythia-160m"]
    assert [*plan.graphs("pythia-160m", "sva")] == [512, 999, 1000]
    assert plan.circuits("pythia-160m") == [
        f"results-pythia/published/circuits/pythia-160m/sva/step{step}.h5"
        for step in (512, 999, 1000)
    ]
    assert plan.circuits("pythia-12b") == []


def test_what_is_read_of_a_model_is_its_input(config):
    plan = Authors.of(config)
    read = plan.read("pythia-160m")
    assert (read["variant"], read["tokens_per_step"]) == ("pythia-160m", TOKENS_PER_STEP)
    sva = read["tasks"]["sva"]
    assert sva["metric"] == "prob_diff"
    assert read["tasks"]["gendered_pronoun"]["metric"] == "logit_diff"
    files = [*sva["baselines"], *sva["curves"].values(), *sva["graphs"].values()]
    assert plan.sources("pythia-160m") == files
    assert len(files) == 5


def test_tables_of_the_authors_are_made_from_what_was_read(config):
    plan = Authors.of(config)
    files = plan.files_of(AUTHORS["circuits"])
    assert len(files["records"]) == 1 + 3
    assert len(files["curves"]) == len(plan.files_of(AUTHORS["behaviour"])["behaviour"]) == 3
    found = results_of(Plan(config))["authors"].tables(["stability"])
    assert found == {"stability": "results-pythia/published/tables/stability.parquet"}


def test_circuits_are_compared_at_steps_that_both_have(config):
    """Step 999 is not analysed in this run."""
    plan = Agreement(config, Authors.of(config))
    files = plan.files_of(COMPARISONS["agreement"])
    both = [
        ("pythia-70m", "ioi", 143000),
        ("pythia-160m", "sva", 512),
        ("pythia-160m", "sva", 1000),
    ]
    assert files == {
        argument: [f"{folder}/circuits/{m}/{task}/step{step}.h5" for m, task, step in both]
        for argument, folder in (
            ("records", "results-pythia"),
            ("published_records", "results-pythia/published"),
        )
    }


def test_the_table_published_is_among_those_of_the_authors(config):
    found = results_of(Plan(config))["agreement"].tables(["published", "circuit_summary"])
    assert found == {
        "published": "results-pythia/published/tables/published.parquet",
        "circuit_summary": "results-pythia/tables/circuit_summary.parquet",
    }


def test_a_variant_whose_original_is_not_there_stands_for_itself(root, tmp_path):
    planted = Planted(tmp_path)
    planted.graph("pythia-160m-seed1", "ioi", 1000, **SHAPE)
    config = config_of(root, "pythia-seeds", compare={"published": str(tmp_path)})
    plan = Authors.of(config)
    assert [model.variant_of for model in plan.originals] == [None]
    assert len(plan.figure_settings["labels"]) == 1
