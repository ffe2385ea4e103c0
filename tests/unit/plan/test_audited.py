"""What a run does with the records of an audit."""

import pytest

from circuitlapse.config import load_config
from circuitlapse.errors import ArtifactError, ConfigError
from circuitlapse.plan.audited import asked_of, audited, steps_in_words
from circuitlapse.plan.workflow import Plan
from circuitlapse.records import read_records, records_text

STEPS = [0, 512, 1000, 2000]


@pytest.fixture
def study(tmp_path):
    """Return a function that audits two models; `found` has what is not `ok`."""

    def made(found, **checkpoints):
        repos = {"a": "EleutherAI/pythia-70m", "b": "EleutherAI/pythia-160m"}
        written = {
            "results": str(tmp_path / "results"),
            "suite": "pythia",
            "steps": STEPS,
            "models": [{"name": name, "hub": {"repo": repo}} for name, repo in repos.items()],
            "tasks": [{"name": "ioi"}],
            "transfer": {"steps": [512, 2000]},
            "checkpoints": checkpoints,
            "training": {"phases": [{"steps": 99}], "save_steps": [0]},
        }
        config = load_config(written, [])
        records = [
            {"status": "ok", "same_as": "", "files": [], "instead_of": "", "alternative": ""}
            | one
            | found.get((one["model"], one["step"]), {})
            for one in asked_of(config)
        ]
        path = tmp_path / "results/audit/hub.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(records_text(records))
        return config

    return made


COPY = {"status": "duplicate", "same_as": "step 2000", "alternative": "EleutherAI/better"}


def test_without_an_audit_nothing_is_left_out(study, tmp_path):
    config = study({})
    (tmp_path / "results/audit/hub.json").unlink()
    found = audited(config)
    assert (found.config, found.left_out, found.warnings) == (config, [], [])
    assert len(found.asked) == 8


def test_duplicates_and_steps_without_weights_are_in_no_job(study):
    found = audited(
        study({("a", 0): COPY, ("a", 512): COPY, ("b", 1000): {"status": "no_weights"}})
    )
    steps = {model.name: model.steps for model in found.config.models}
    assert steps == {"a": (1000, 2000), "b": (0, 512, 2000)}
    plan = Plan(found.config)
    made = plan.per_step("{model} {step}")
    assert made == ["a 1000", "a 2000", "b 0", "b 512", "b 2000"]
    assert plan.verified_step("a") == 1000
    assert [found.config.transfer_steps(model) for model in "ab"] == [(2000,), (512, 2000)]
    assert found.config.swap_pairs("a") == ()
    assert plan.per_model(plan.paths.swaps) == [plan.paths.swaps.format(model="b")]
    assert len(found.asked) == 8


def test_each_model_gets_one_line_that_names_the_steps_and_the_alternative(study):
    shared = {"status": "suspect", "same_as": "step 2000"}
    found = audited(study({("a", 0): COPY, ("a", 512): COPY, ("b", 0): shared}))
    assert found.warnings == [
        "a: the hub serves the weights of step 2000 at steps 0 and 512; of 4 steps, 2 left out; "
        "try EleutherAI/better",
        "b: the hub serves some weights of step 2000 at step 0 (marked suspect)",
    ]
    assert [step for model, step in found.left_out] == [0, 512]


def test_refuse_stops_and_keep_leaves_nothing_out(study):
    with pytest.raises(
        ConfigError, match=r"checkpoints\.duplicates is refuse.*\na: the hub serves"
    ):
        audited(study({("a", 0): COPY}, duplicates="refuse"))
    kept = audited(study({("a", 0): COPY}, duplicates="keep"))
    assert kept.config.model("a").steps == tuple(STEPS)
    assert kept.left_out == []
    assert "1 analysed and marked" in kept.warnings[0]


def test_a_model_without_any_step_is_refused_by_name(study):
    with pytest.raises(ConfigError, match="models: b: no step has weights of its own"):
        audited(study({("b", step): COPY for step in STEPS}))


def test_another_format_is_asked_for_at_its_step_only(study):
    other = {"instead_of": "model.safetensors", "files": [{"name": "pytorch_model.bin"}]}
    found = audited(study({("a", 512): other}))
    where = {"repo": "EleutherAI/pythia-70m", "revision": "step512"}
    assert found.source("a", "512") == where | {"weights": "pytorch_model.bin"}
    assert "weights" not in found.source("a", 0)
    assert "only in another format at step 512" in found.warnings[0]


def test_records_of_other_revisions_do_not_count(study, tmp_path):
    config = study({("a", 0): COPY})
    path = tmp_path / "results/audit/hub.json"
    records = read_records(path)
    path.write_text(records_text([one | {"revision": "other0"} for one in records]))
    assert audited(config).left_out == []


def test_a_damaged_audit_stops_the_run(study, tmp_path):
    """A checkpoint with the weights of another step would be analysed otherwise."""
    config = study({("a", 0): COPY})
    path = tmp_path / "results/audit/hub.json"
    path.write_text(path.read_text().replace("duplicate", "ok", 1))
    with pytest.raises(ArtifactError, match="does not fit its digest"):
        audited(config)


def test_models_in_folders_are_not_asked_for(study):
    config = study({})
    hub = config.models[0].hub.model_copy(update={"folder": "/data/step{step}"})
    models = (config.models[0].model_copy(update={"hub": hub}), config.models[1])
    asked = asked_of(config.model_copy(update={"models": models}))
    assert {one["model"] for one in asked} == {"b"}


def test_steps_are_listed_in_words():
    assert steps_in_words([5]) == "step 5"
    assert steps_in_words([9, 5, 7]) == "steps 5, 7 and 9"
