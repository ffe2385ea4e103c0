from dataclasses import replace
from functools import partial

import pytest

from circuitlapse.errors import UnknownNameError
from circuitlapse.plan import cost
from circuitlapse.plan.cost import (
    PYTHIA_SHAPES,
    Prompts,
    Work,
    forward,
    prompts_of,
    shape_of,
    width_of,
)
from circuitlapse.settings.suite import Model
from circuitlapse.tasks.registry import BUILDERS
from tests.unit.plan.conftest import PUBLISHED, config_of


@pytest.mark.parametrize("size", PYTHIA_SHAPES)
def test_every_size_has_its_published_number_of_parameters(size):
    assert PYTHIA_SHAPES[size].parameters == PUBLISHED[size]


@pytest.mark.parametrize(
    ("repo", "published"),
    [
        ("stanford-crfm/alias-gpt2-small-x21", 124_439_808),
        ("HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", 134_515_008),
        ("HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints", 361_821_120),
        ("HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints", 1_711_376_384),
        ("allenai/OLMo-2-0425-1B", 1_484_916_736),
        ("EleutherAI/pythia-2.8b-deduped", PUBLISHED["2.8b"]),
        ("EleutherAI/pythia-160m-weight-seed1", PUBLISHED["160m"]),
    ],
)
def test_other_suites_have_about_their_published_number_of_parameters(repo, published):
    """Only positions, biases and norms are counted as if they were GPT-NeoX."""
    model = Model(name="a", hub={"repo": repo, "tokens_per_step": 1})
    assert shape_of(model).parameters == pytest.approx(published, rel=0.01)


def test_every_configuration_of_the_repository_has_a_plan(root):
    for file in sorted(root.glob("config/*.yaml")):
        for model in config_of(root, file.stem).models:
            assert shape_of(model).parameters > 0


def test_operations_of_a_forward_pass_are_those_of_its_matrix_products():
    """Two per weight of a layer and token; queries to outputs 4 d^2, the MLP 8 d^2."""
    shape = PYTHIA_SHAPES["160m"]
    weights = 12 * (4 + 8) * 768**2
    work = forward(shape, Prompts(count=3, tokens=5))
    assert work.operations == 3 * (5 * 2 * weights + 2 * 768 * 50304)
    assert work.passes == 1


@pytest.mark.parametrize(
    ("builder", "sets"), [("ioi", 5), ("greater_than", 2), ("sva", 1), (None, 1)]
)
def test_a_swap_is_a_pass_for_every_set_and_every_draw_of_the_control(root, builder, sets):
    shape, (task, *_) = PYTHIA_SHAPES["160m"], config_of(root, "pythia").tasks
    task = task.model_copy(update={"builder": builder})
    work = cost.swapping(shape, [task], 3)
    assert work.passes == 1 + 4 * sets


def test_integration_steps_cost_two_passes_each_and_a_noise_floor_two_more_searches(root):
    config = config_of(root, "pythia")
    shape, tasks = PYTHIA_SHAPES["160m"], config.tasks[:1]

    def passes(**changes):
        return cost.discovery(shape, tasks, config.circuits.model_copy(update=changes)).passes

    steps = passes(method="eap_ig_inputs", ig_steps=6) - passes(method="eap_ig_inputs", ig_steps=5)
    assert steps == pytest.approx(2)
    assert passes(method="eap") == passes(method="eap_ig_inputs", ig_steps=1)
    assert passes(method="clean_corrupted") == passes(method="eap_ig_inputs", ig_steps=2)
    both_ends = passes(method="eap_ig_inputs", ig_steps=1, ig_rule="trapezoid")
    assert both_ends == passes(method="clean_corrupted")
    groups = 1 + 2 * shape.layers  # the embedding, and the heads and the MLP of each layer
    for method in ("eap_ig_activations", "eap_ig_activations_pooled"):
        steps = passes(method=method, ig_steps=6) - passes(method=method, ig_steps=5)
        assert steps == pytest.approx(2 * groups)
    sources = 1 + shape.layers * (shape.heads + 1)
    assert passes(method="eap_qk") - passes(method="eap") == pytest.approx(sources / 8)
    passes = partial(passes, certificates=False)
    searches = passes(noise_floor=True) - passes(noise_floor=False)
    # The halves are searched, and their circuits run on the other half.
    assert searches == pytest.approx(2 * cost.CIRCUIT_PASSES * cost.SEARCH_SIZES)


def test_certificates_need_halves_and_cost_more_the_more_edges_are_tested(root):
    config = config_of(root, "pythia")
    shape, tasks = PYTHIA_SHAPES["160m"], config.tasks[:1]

    def passes(**changes):
        return cost.discovery(shape, tasks, config.circuits.model_copy(update=changes)).passes

    assert passes(noise_floor=False) == passes(noise_floor=False, certificates=False)
    more = passes(knockouts=20) - passes(knockouts=10)
    assert more == pytest.approx(10 * cost.KNOCKOUT_PASSES)
    assert passes(knockouts=1) > passes(certificates=False)


def test_roles_cost_passes_that_do_not_grow_with_the_number_of_heads(root):
    """But for the random heads, of which a layer of two has one set to draw."""
    tasks = [task for task in config_of(root, "pythia").tasks if task.builder == "ioi"]
    small, large = (PYTHIA_SHAPES["70m"], PYTHIA_SHAPES["160m"])
    two = replace(small, heads=2)
    passes = [cost.tracing(shape, tasks).passes - 3 * shape.layers for shape in (two, small, large)]
    assert passes == pytest.approx([26, 70, 70])
    assert cost.tracing(small, []) == Work()


@pytest.mark.parametrize("builder", [*BUILDERS, None])
def test_prompts_are_as_long_as_the_task_says(root, builder):
    task = config_of(root, "pythia").tasks[0]
    tokens = BUILDERS[builder].prompt_tokens if builder else cost.FILE_PROMPT_TOKENS
    some = task.model_copy(update={"builder": builder, "n_prompts": 7})
    assert prompts_of(some) == Prompts(7, tokens)
    every = task.model_copy(update={"builder": builder, "n_prompts": None})
    assert prompts_of(every) == Prompts(cost.ALL_PROMPTS, tokens)


def test_work_adds_up():
    assert (Work(1.0, 2.0, 3.0) + Work(10.0)) * 2.0 == Work(22.0, 4.0, 6.0)


def test_a_published_model_of_unknown_size_is_named_with_the_known_ones(root):
    hub = {"repo": "allenai/OLMo-1B-hf", "tokens_per_step": 4_194_304}
    config = config_of(root, "pythia", models=[{"name": "olmo", "hub": hub}])
    with pytest.raises(UnknownNameError, match=r"'allenai/OLMo-1B-hf'.*EleutherAI/pythia-70m"):
        shape_of(config.models[0])
    assert width_of(config.models[0]) is None
