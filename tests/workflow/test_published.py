"""The workflow on published models: fetched from a hub, analysed, and deleted again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tokenizers import Tokenizer

from circuitlapse.figures.registry import FIGURES
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.hdf5 import read_attributes
from circuitlapse.io.table_files import read_provenance
from circuitlapse.io.task_files import read_task
from tests.fake_hub import FakeHub
from tests.workflow.conftest import Workflow, new_workflow
from tests.workflow.published import REPO, SMALL, Watch, make_steps, watching

TASKS = ("ioi", "gendered_pronoun", "greater_than", "sva")
STEPS = {0: 0, 512: 4, 1000: 60}
COPY = 256
"""A step whose branch serves the files of the last one."""
EXCHANGING = (512, 1000)
TWINS = ("gendered_pronoun", "sva")
"""Tasks of which every prompt has a twin."""
N_PROMPTS = 10
RESULTS = "results-published"
TEXT = "The {} dog saw that John and Mary were at the store, and so he gave a bone to her. "


def settings(**changes: object) -> dict[str, object]:
    """Return the configuration of a run on all tasks."""
    return {
        "results": RESULTS,
        "suite": "pythia",
        "steps": sorted([*STEPS, COPY]),
        "models": [{"name": "pythia-70m", "label": "70 M", "hub": {"repo": REPO}}],
        "checkpoints": {"at_once": 1},
        "transfer": {"steps": list(EXCHANGING)},
        "tasks": [{"name": name, "n_prompts": N_PROMPTS} for name in TASKS],
        "circuits": {"ig_steps": 2, "refine_points": 0, "random_circuits": 1},
        "heads": {"text": "text.txt", "n_documents": 2, "n_mean": 4, "n_positions": 20}
        | {"lengths": [10], "n_sequences": 2},
        "bootstrap": {"samples": 100},
    } | changes


def configured(workflow: Workflow, name: str, **changes: object) -> str:
    """Write the configuration, with some keys changed, and the text that it needs."""
    words = ("old", "young", "brown", "loud", "thin", "slow")
    text = "\n\n".join(TEXT.format(word) * 4 for word in words)
    (workflow.folder / "text.txt").write_text(text)
    (workflow.folder / name).write_text(yaml.safe_dump(settings(**changes)))
    return name


def prompts(tokenizer: Path) -> list:
    """Return the prompts of the configuration."""
    from circuitlapse import PromptPairs
    from circuitlapse.io.corpus_files import read_tokenizer
    from circuitlapse.tasks.builtin import build_task

    known, shared = read_tokenizer(tokenizer), {"n_prompts": N_PROMPTS, "seed": 1234}
    return [
        PromptPairs.from_task(build_task(name, known, builder=name, **shared)) for name in TASKS
    ]


@dataclass(frozen=True)
class Run:
    """A finished run on models of a hub, and what could be seen of it meanwhile."""

    workflow: Workflow
    config: str
    hub: FakeHub
    published: dict[int, Path]
    watch: Watch

    @property
    def results(self) -> Path:
        return self.workflow.folder / RESULTS


@pytest.fixture(scope="module")
def published(shared_data, tmp_path_factory) -> dict[int, Path]:
    """Three steps of a small model with the tokenizer of Pythia."""
    tokenizer = shared_data / "pythia_tokenizer.json"
    folder = tmp_path_factory.mktemp("published")
    return make_steps(folder, tokenizer, tasks=prompts(tokenizer), lessons=STEPS, **SMALL)


@pytest.fixture(scope="module")
def run(published, tmp_path_factory) -> Iterator[Run]:
    with run_on(published, tmp_path_factory.mktemp("run")) as finished:
        yield finished


@contextmanager
def run_on(published: dict[int, Path], folder: Path) -> Iterator[Run]:
    """Run the workflow on models that a hub of this machine serves."""
    hub = FakeHub()
    for step, files in published.items():
        hub.add(REPO, f"step{step}", files)
    hub.add(REPO, f"step{COPY}", published[max(STEPS)])
    workflow = new_workflow(folder)
    config = configured(workflow, "published.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("HF_HOME", str(folder / "huggingface"))
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        with watching(folder / RESULTS / "models") as watch:
            first = workflow.run(f"{RESULTS}/audit/checkpoints.json", config=config, ok=False)
            assert f"the weights of step 1000 at step {COPY}" in first
            workflow.run(config=config)
        yield Run(workflow, config, hub, published, watch)
    hub.close()


def table(run: Run, name: str) -> pd.DataFrame:
    return pd.read_parquet(run.results / f"tables/{name}.parquet")


def test_every_table_has_every_step_and_task(run):
    every = {(step, task) for step in (*STEPS, COPY) for task in TASKS}
    for name in ("behaviour", "circuit_summary"):
        rows = table(run, name)
        assert Counter(zip(rows["step"], rows["task"], strict=True)) == dict.fromkeys(every, 1)
    behaviour = table(run, "behaviour")
    groups = dict.fromkeys(TASKS, N_PROMPTS) | dict.fromkeys(TWINS, N_PROMPTS // 2)
    assert behaviour.groupby("task")["n"].unique().map(list).to_dict() == {
        task: [n] for task, n in groups.items()
    }
    assert behaviour["tokens"].tolist() == (behaviour["step"] * 1024 * 2048).tolist()
    empty = behaviour[["value", "ci_low", "ci_high"]].isna()
    assert (empty.all(axis=1) == empty.any(axis=1)).all()
    assert set(behaviour.loc[empty.all(axis=1), "step"]) == {COPY}
    components = table(run, "components")
    n_heads = SMALL["num_hidden_layers"] * 8
    scored = components[components["score"] == "induction"].groupby("step").size()
    assert scored.to_dict() == dict.fromkeys((*STEPS, COPY), n_heads)
    assert not set(components["status"]) & {"no_prompts", "no_text", "no_words"}


def test_every_weight_is_counted_but_the_masks_that_old_files_carry(run):
    width, n_layers = SMALL["hidden_size"], SMALL["num_hidden_layers"]
    layer = 12 * width**2 + 13 * width
    expected = 2 * 50304 * width + n_layers * layer + 2 * width
    assert set(table(run, "behaviour")["n_parameters"]) == {expected}


def test_only_the_model_that_was_taught_the_tasks_has_circuits(run):
    status = table(run, "circuit_summary").groupby("step")["status"].agg(set)
    assert status.to_dict() == {
        **{0: {"no_behaviour"}, COPY: {"duplicate"}},
        **{512: {"no_behaviour"}, 1000: {"ok"}},
    }
    assert set(table(run, "circuit_edges")["step"]) == {1000}


def test_a_step_with_the_files_of_another_is_in_no_comparison(run):
    audit = table(run, "audit").set_index("step")
    assert audit.loc[COPY, ["status", "same_as", "left_out"]].tolist() == [
        *("duplicate", "step 1000"),
        True,
    ]
    assert audit["status"].drop(COPY).tolist() == ["ok"] * len(STEPS)
    assert set(table(run, "checkpoints")["step"]) == set(STEPS)
    for name, column in (("stability", "step"), ("stability", "step_next"), ("transfer", "step")):
        assert COPY not in set(table(run, name)[column])
    assert not run.hub.asked(f"/{REPO}/resolve/{run.hub.commit(REPO, f'step{COPY}')}/*")


def test_every_figure_is_drawn(run):
    for figure in FIGURES:
        assert (run.results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (run.results / f"figures/{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_checkpoints_come_one_after_the_other_and_are_deleted(run):
    """But those that exchange circuits stay until all of them are there."""
    assert run.watch.seen == [f"step{step}" for step in STEPS]
    exchanging = {f"step{step}" for step in EXCHANGING}
    assert [names for names in run.watch.together if len(names) > 1] == [exchanging]
    assert not list(run.results.glob("models/**/*.safetensors"))
    assert not list((run.workflow.folder / "huggingface").rglob("*.safetensors"))


def test_of_each_step_only_what_a_model_needs_is_fetched_once_and_without_a_token(run):
    small = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    weights = {0: "model.safetensors", 512: "pytorch_model.bin", 1000: "model.safetensors"}
    for step, files in run.published.items():
        commit = run.hub.commit(REPO, f"step{step}")
        asked = run.hub.asked(f"/{REPO}/resolve/{commit}/*")
        names = Counter(request.path.rpartition("/")[2] for request in asked)
        tokenizer = {"tokenizer.json": 2} if step == 0 else {}
        assert names == dict.fromkeys((*small, weights[step]), 1) | tokenizer
        stored = run.hub.asked(f"/storage/{REPO}/{commit}/*")
        assert [request.served for request in stored] == [(files / weights[step]).stat().st_size]
    assert not any(request.authorized for request in run.hub.requests)


def test_prompts_are_made_with_the_tokenizer_of_the_models(run, shared_data):
    tokenizer = Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))
    taken = run.results / "corpus/pythia/tokenizer.json"
    assert taken.read_bytes() == (shared_data / "pythia_tokenizer.json").read_bytes()
    for name in TASKS:
        task = read_task(run.results / f"tasks/pythia/{name}.parquet")
        assert len(task) == N_PROMPTS
        assert task.tokenizer_hash == hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
        for prompt, tokens in zip(task.frame["clean"], task.frame["clean_tokens"], strict=True):
            assert tokenizer.decode(list(tokens)) == prompt


@pytest.mark.parametrize("step", STEPS)
def test_every_result_of_a_model_names_the_commit_that_it_was(run, step):
    expected = {"model_repo": REPO, "model_revision": f"step{step}"}
    expected |= {"model_commit": run.hub.commit(REPO, f"step{step}")}
    tables = (
        f"{name}/step{step}.parquet" for name in ("behaviour/pythia-70m/ioi", "heads/pythia-70m")
    )
    found = [read_provenance(run.results / table) for table in tables]
    circuit = run.results / f"circuits/pythia-70m/ioi/step{step}.h5"
    for origin in (*found, read_attributes(circuit)):
        assert {name: origin[name] for name in expected} == expected
        assert origin["verified_step"] == "0"


def test_a_second_run_does_nothing(run):
    assert run.workflow.jobs(config=run.config) == {}


COMPUTED = ("fetch_step", "cache_activations", "discover_circuit", "score_heads")


def planned(run: Run, **changes: object) -> dict[str, int]:
    return run.workflow.jobs(config=configured(run.workflow, "changed.yaml", **changes))


def test_a_step_more_leaves_the_models_that_are_done_alone(run):
    """Also those whose place in the line it changes."""
    found = planned(run, steps=[0, 64, *list(STEPS)[1:]])
    assert [found[rule] for rule in COMPUTED] == [1, 1, 1, 1]
    assert not {"take_tokenizer", "make_task"} & set(found)


def test_more_models_on_the_disk_at_once_need_no_model_again(run):
    assert set(planned(run, checkpoints={"at_once": 2})) <= {"reserve_disk"}


def test_other_prompts_need_every_model_again_but_only_one_at_a_time(run):
    """Each is fetched when everything is made of the one before."""
    tasks = [{"name": name, "n_prompts": N_PROMPTS + 1} for name in TASKS]
    found = planned(run, tasks=tasks)
    assert [found[rule] for rule in COMPUTED] == [3, 3, 3, 3]
    assert found["reserve_disk"] == 2


def test_models_in_folders_need_no_hub(run, tmp_path, monkeypatch):
    """Linked, in half precision as they are; measured in float32, though computed in bfloat16."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    workflow = new_workflow(tmp_path)
    folder = str(run.published[1000].parent / "step{step}")
    changes = {
        "models": [{"name": "pythia-70m", "hub": {"repo": REPO, "folder": folder}}],
        "compute": {"dtype": "bfloat16"},
        "checkpoints": {"keep": True},
        "steps": [1000],
        "transfer": {"steps": None},
    }
    config = configured(workflow, "folders.yaml", **changes)
    assert workflow.jobs("circuits", config=config)["fetch_step"] == 1
    workflow.run("circuits", config=config)
    results = workflow.folder / RESULTS
    linked = results / "models/pythia-70m/step1000/model.safetensors"
    assert linked.readlink() == run.published[1000] / "model.safetensors"
    files = results.glob("behaviour/pythia-70m/*/step1000.parquet")
    found = pd.concat(map(pd.read_parquet, files)).set_index("task")
    expected = table(run, "behaviour").query("step == 1000").set_index("task")
    values = found["value"] - expected["value"]
    assert (found["dtype"] == "bfloat16").all()
    assert 0 < values.abs().max() < 0.05
    circuit = results / "circuits/pythia-70m/sva/step1000.h5"
    assert read_attributes(circuit)["model_folder"] == str(run.published[1000])
    assert read_circuit(circuit).status == "ok"


@pytest.mark.slow
def test_pythia_70m_in_its_real_size_goes_through_with_two_on_the_disk(shared_data, tmp_path):
    tokenizer = shared_data / "pythia_tokenizer.json"
    lessons = {0: 0, 512: 1, 1000: 8}
    made = make_steps(tmp_path, tokenizer, tasks=prompts(tokenizer), lessons=lessons)
    with run_on(made, tmp_path / "run") as finished:
        assert len(table(finished, "circuit_summary")) == (len(STEPS) + 1) * len(TASKS)
        assert set(table(finished, "behaviour")["n_parameters"]) == {70_426_624}
        # while weights are converted, they are there twice
        largest = max(path.stat().st_size for path in made[512].iterdir())
        assert finished.watch.bytes < 2.1 * largest
