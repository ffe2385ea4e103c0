"""Revisions of every suite in `config/`, against names that were read from the hub."""

import json
import math
import re

import pytest
import yaml

from circuitlapse.errors import HubError
from circuitlapse.hub import RetryPolicy, fetch_snapshot
from circuitlapse.hub.revisions import by_step, matching_revision, nearest, resolve
from circuitlapse.settings.base import PUBLISHED
from tests.unit.hub.conftest import REPO
from tests.unit.plan.conftest import config_of

OLMO = "stage1-step{step}-tokens{tokens}B"
NAMES = ["main", "stage1-step0-tokens0B", "stage1-step300-tokens1B", "stage1-step10000-tokens21B"]
NAMES += ["stage2-ingredient1-step5000-tokens11B"]


@pytest.fixture(scope="module")
def recorded(root):
    """The names of every repository."""
    groups = yaml.safe_load((root / "tests/unit/hub/revisions.yaml").read_text())
    return {repo: group["names"].split() for group in groups for repo in group["repos"].split()}


@pytest.fixture(scope="module")
def models(root):
    """The published models of all configurations."""
    files = sorted(root.glob("config/*.yaml"))
    configs = [config_of(root, file.stem) for file in files]
    return [model for config in configs for model in config.models if model.hub]


def test_every_suite_of_the_configurations_is_recorded(models, recorded):
    used = {model.hub.repo for model in models}
    assert used <= {*recorded}
    assert {repo.partition("/")[0] for repo in used} == {
        "EleutherAI",
        "HuggingFaceTB",
        "allenai",
        "stanford-crfm",
    }


def test_every_step_of_every_suite_has_one_revision(models, recorded):
    n_steps = 0
    for model in models:
        hub = model.hub
        found = resolve(hub.repo, hub.revision, model.steps, recorded[hub.repo])
        assert [*found] == [*model.steps]
        n_steps += len({*found.values()})
    assert n_steps > 1000


def test_tokens_in_the_name_of_a_revision_are_those_of_the_configuration(models, recorded):
    """OLMo rounds billions up. Most suites do not name them."""
    n_names = 0
    for hub in (model.hub for model in models):
        for step, (name,) in by_step(hub.revision, recorded[hub.repo]).items():
            if tokens := re.search(r"tokens(\d+)B", name):
                assert math.ceil(step * hub.tokens_per_step / 1e9) == int(tokens[1]), name
                n_names += 1
    assert n_names > 20


def test_the_steps_of_pythia_are_its_branches(recorded):
    assert sorted(by_step("step{step}", recorded["EleutherAI/pythia-70m"])) == [*PUBLISHED]


def test_steps_may_be_written_with_leading_zeros(recorded):
    names = recorded["LLM360/Amber"]
    assert resolve("LLM360/Amber", "ckpt_{step:03}", [0, 7, 358], names) == {
        0: "ckpt_000",
        7: "ckpt_007",
        358: "ckpt_358",
    }
    assert by_step("ckpt_{step}", names).keys() == {*range(100, 359)}


def test_without_tokens_the_names_are_not_needed():
    assert resolve("a/b", "checkpoint-{step}", [0, 10], []) == {
        0: "checkpoint-0",
        10: "checkpoint-10",
    }


def test_steps_that_do_not_exist_are_named_with_the_nearest():
    with pytest.raises(HubError) as error:
        resolve("a/b", OLMO, [300, 5000], NAMES)
    assert str(error.value) == (
        f"a/b: '{OLMO}' fits no revision on huggingface.co at step 5000 (nearest: 0, 300, 10000)"
    )
    with pytest.raises(HubError, match=r"at step 1 \(n.*\), 2 \(n.*\), 3 \(n.*\) and 7 more$"):
        resolve("a/b", OLMO, range(1, 11), NAMES)
    with pytest.raises(HubError, match=r"at step 1 \(nearest: none\)$"):
        resolve("a/b", OLMO, [1], ["main"])


def test_a_step_with_several_revisions_is_refused():
    with pytest.raises(HubError) as error:
        resolve("a/b", OLMO, [300], [*NAMES, "stage1-step300-tokens2B"])
    assert str(error.value) == (
        f"a/b: '{OLMO}' fits 2 revisions on huggingface.co at step 300 (stage1-step300-tokens1B, "
        "stage1-step300-tokens2B), expected one; list them in hub.revisions"
    )


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("step3", ["main", "step1", "step2", "step16", "step4"], "step2, step4, step1"),
        ("mian", ["main", "step1"], "main, step1"),
        ("step3", ["main"], "main"),
        ("step3", [], "none"),
        (
            "stage1-step3000-tokens{tokens}B",
            ["stage2-step3000-tokens7B", "stage1-step1000-tokens5B", "stage1-step4000-tokens17B"],
            "stage1-step4000-tokens17B, stage1-step1000-tokens5B",
        ),
        ("checkpoint-15", ["checkpoint-100", "checkpoint-10"], "checkpoint-10, checkpoint-100"),
        ("ckpt_009", ["ckpt_002", "ckpt_010", "ckpt_090"], "ckpt_010, ckpt_002, ckpt_090"),
    ],
)
def test_nearest_revisions_are_those_of_near_steps_or_with_similar_names(wanted, known, expected):
    assert nearest(wanted, known) == f"nearest: {expected}"


def test_the_number_of_tokens_in_the_name_of_a_revision_is_asked_of_the_hub(
    hub, published, tmp_path
):
    for revision in ("stage1-step10-tokens1B", "stage1-step100-tokens5B"):
        hub.add(REPO, revision, published)
    folder = tmp_path / "b" / "model"
    folder.parent.mkdir()
    fetch_snapshot(REPO, "stage1-step100-tokens{tokens}B", folder, retry=RetryPolicy(attempts=1))
    origin = json.loads((folder / "provenance.json").read_text())["settings"]
    assert origin["revision"] == "stage1-step100-tokens5B"
    assert origin["commit"] == hub.commit(REPO, "stage1-step100-tokens5B")


def test_a_name_with_tokens_must_fit_one_revision():
    known = ["step1-tokens1B", "step2-tokens1B", "step2-tokens2B"]
    assert matching_revision("a/b", "step1-tokens{tokens}B", known) == "step1-tokens1B"
    with pytest.raises(HubError, match=r"no revision 'step0-tokens.*; nearest: step1-tokens1B"):
        matching_revision("a/b", "step0-tokens{tokens}B", known)
    with pytest.raises(HubError) as error:
        matching_revision("a/b", "step2-tokens{tokens}B", known)
    assert str(error.value) == (
        "a/b: 'step2-tokens{tokens}B' fits 2 revisions (step2-tokens1B, step2-tokens2B), "
        "expected one; list them in hub.revisions"
    )
