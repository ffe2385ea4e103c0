import numpy as np
import pytest
from tokenizers import Tokenizer

from circuitlapse import load_decoder
from circuitlapse.circuits.faithfulness import (
    Curve,
    does_the_task,
    faithfulness,
    find_small,
    grid_sizes,
    largest_size,
    size_interval,
)
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.metrics import per_prompt_metric
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Bootstrap, Circuits
from circuitlapse.tasks.builtin import build_task
from circuitlapse.tasks.registry import BUILDERS
from tests.conftest import save_random_model

M_MODEL = np.array([1.0, 3.0])  # mean 2
ONE = np.array([1])
SETTINGS = Circuits(threshold=0.8, max_fraction=0.5, min_cap=1, grid_ratio=2.0, refine_points=3)


def search(faithfulness, *, pruned=0, **changes):
    """Search on a model of 64 edges whose F_raw is a given function of the size."""
    settings = SETTINGS.model_copy(update=changes)

    def evaluate(sizes):
        metric = np.array([[2 * faithfulness(n), 2 * faithfulness(n)] for n in sizes])
        return Curve(np.array(sizes), np.array(sizes) - pruned, metric, M_MODEL)

    return find_small(evaluate, n_parts=64, settings=settings)


def test_the_grid_is_geometric_and_ends_at_the_cap():
    assert grid_sizes(32, ratio=2.0) == [1, 2, 4, 8, 16, 32]
    assert grid_sizes(20, ratio=1.6) == [1, 2, 3, 5, 8, 13, 20]
    assert grid_sizes(1, ratio=2.0) == [1]


@pytest.mark.parametrize(
    ("n_edges", "largest"),
    [(358, 358), (3_580, 1600), (16_000, 1600), (40_000, 4_000), (1_600_000, 160_000)],
)
def test_small_models_are_not_capped_at_smaller_circuits_than_large_ones(n_edges, largest):
    """A tenth of a small model is few edges; circuits cut off there would grow with scale."""
    assert largest_size(n_edges, Circuits(max_fraction=0.1, min_cap=1600)) == largest


def test_the_smallest_size_is_refined_inside_the_last_interval():
    curve, size, status = search(lambda n: n / 15)  # passes from n = 12 on
    assert (size, status) == (12, "ok")
    assert curve.sizes.tolist() == [1, 2, 4, 8, 10, 12, 14, 16, 32]


def test_a_size_that_passes_alone_does_not_count():
    curve, size, _ = search(lambda n: 0.9 if n == 2 or n >= 16 else 0.1)
    assert size == 16
    assert curve.faithfulness[curve.sizes == 2] == pytest.approx(0.9)


def test_a_refined_size_needs_a_passing_neighbour_too():
    _, size, _ = search(lambda n: 0.9 if n in (10, 14) or n >= 16 else 0.1)
    assert size == 14


def test_a_circuit_better_than_the_model_by_a_fifth_is_flagged():
    assert search(lambda n: 1.3)[1:] == (1, "overshoot")
    assert search(lambda n: 1.1)[1:] == (1, "ok")


def test_without_a_faithful_circuit_the_cap_is_reported():
    curve, size, status = search(lambda n: 0.5)
    assert (size, status) == (32, "not_reached")
    assert curve.sizes.tolist() == [1, 2, 4, 8, 16, 32]


def test_no_refinement_when_none_is_asked_for():
    assert search(lambda n: n / 15, refine_points=0)[1] == 16


def test_f_raw_divides_means_and_not_prompts():
    assert Curve(ONE, ONE, np.array([[2.0, 2.0]]), M_MODEL).faithfulness.tolist() == [1.0]


def test_a_circuit_without_edges_is_never_faithful():
    assert search(lambda n: 1.0, pruned=3)[1] == 4


@pytest.mark.parametrize(
    ("clean", "corrupted", "expected"),
    [
        ([1.0, 1.2, 0.9, 1.1], [-1.0, 0.1, 0.0, 0.2], True),
        ([-1.0, 1.2, -0.9, 1.1], [-2.0, -2.0, -2.0, -2.0], False),
        ([-1.0, -1.2, -1.1], [-2.0, -2.0, -2.0], False),
        ([1.0, 1.2, 0.9, 1.1], [1.1, 1.1, 1.0, 1.0], False),
    ],
    ids=["does it", "unsure", "does the opposite", "ignores what is corrupted"],
)
def test_a_task_is_done_when_the_metric_is_surely_positive_and_above_the_corrupted_one(
    clean, corrupted, expected
):
    bootstrap = Bootstrap(seed=0)
    clean, corrupted = np.array(clean), np.array(corrupted)
    does = does_the_task(clean, corrupted, metric="logit_diff", bootstrap=bootstrap)
    assert does is expected


def test_two_groups_of_many_prompts_are_unsure_of_what_many_single_ones_are_sure_of():
    clean = np.repeat([3.0, -0.5], 20) + np.linspace(0, 0.1, 40)
    how = {"metric": "logit_diff", "bootstrap": Bootstrap(seed=0)}
    assert does_the_task(clean, -clean, **how)
    assert not does_the_task(clean, -clean, groups=np.repeat([0, 1], 20), **how)


@pytest.mark.parametrize(("left", "expected"), [(0.79, True), (0.8, False), (0.9, False)])
def test_where_corrupted_prompts_keep_what_a_circuit_must_reach_there_is_nothing_to_find(
    left, expected
):
    """The circuit without edges has exactly their metric, so it would pass."""
    clean = np.array([10.0, 10.5, 9.5])
    how = {"metric": "logit_diff", "bootstrap": Bootstrap(seed=0)}
    assert does_the_task(clean, left * clean, threshold=0.8, **how) is expected
    assert does_the_task(clean, left * clean, **how)


def test_what_an_untrained_model_reaches_by_chance_is_no_behaviour():
    clean, corrupted = np.array([0.05, 0.06, 0.05]), np.array([-0.05, -0.06, -0.05])
    bootstrap = Bootstrap(seed=0)
    assert not does_the_task(clean, corrupted, metric="logit_diff", bootstrap=bootstrap)
    assert does_the_task(clean, corrupted, metric="prob_diff", bootstrap=bootstrap)


def test_the_interval_of_the_size_is_that_of_a_bootstrap_done_by_hand():
    draw = np.random.default_rng(3)
    sizes, prompts = np.array([1, 2, 4, 8, 16]), 40
    m_model = draw.normal(2, 0.5, prompts)
    noise = draw.normal(0, 0.6, (5, prompts))
    metric = m_model * (sizes / (sizes + 1.2))[:, None] + noise
    curve = Curve(sizes, sizes - 1, metric, m_model)
    bootstrap = Bootstrap(samples=2000, level=0.8, seed=5)
    low, high = size_interval(curve, threshold=0.8, bootstrap=bootstrap)
    found = []
    for _ in range(2000):
        rows = draw.integers(0, prompts, prompts)
        passes = metric[:, rows].mean(1) >= 0.8 * m_model[rows].mean()
        lasting = [passes[i] and passes[min(i + 1, 4)] for i in range(1, 5)]  # size 1 is empty
        found.append(sizes[1 + lasting.index(True)] - 1 if any(lasting) else 15)
    assert (low, high) == tuple(np.percentile(found, [10, 90]))
    assert low < high


def test_a_resample_in_which_the_model_fails_has_no_faithful_circuit():
    """In a quarter of the resamples the model's mean is -1, which small metrics exceed."""
    m_model, sizes = np.array([-1.0, 3.0]), np.array([1, 2, 4])
    metric = np.array([[-0.5, 0.0], [-0.5, 3.0], [-0.5, 3.0]])
    curve = Curve(sizes, sizes, metric, m_model)
    assert size_interval(curve, threshold=0.8, bootstrap=Bootstrap(level=0.8, seed=0)) == (2, 4)


def test_curves_are_compared_by_identity():
    curve = Curve(ONE, ONE, np.array([[2.0, 2.0]]), M_MODEL)
    assert curve == curve
    assert curve != Curve(ONE, ONE, np.array([[2.0, 2.0]]), M_MODEL)


def test_faithfulness_is_a_share_of_the_metric_or_of_what_corruption_costs():
    f_raw, f_norm = faithfulness(np.array([-1.0, 1.5, 2.0]), m_model=2.0, m_corrupted=-1.0)
    assert f_raw.tolist() == [-0.5, 0.75, 1]
    assert f_norm == pytest.approx([0, 2.5 / 3, 1])


def test_faithfulness_is_not_defined_where_there_is_nothing_to_be_faithful_to():
    f_raw, f_norm = faithfulness(np.array([1.0]), m_model=0.0, m_corrupted=1e-7)
    assert np.isnan([f_raw[0], f_norm[0]]).all()


@pytest.mark.parametrize("n_groups", [50, 100, 200])
def test_intervals_of_size_cover_the_truth_over_groups_and_not_over_prompts(n_groups):
    """Faithfulness grows evenly with size and is 0.8 at 20 edges; twins share their deviations."""
    draw, n, hits = np.random.default_rng(n_groups), 200, np.zeros(2)
    sizes, groups = np.arange(1, 41), np.repeat(np.arange(n_groups), 2)
    for seed in range(n):
        m_model = 3 + draw.normal(size=n_groups)[groups]
        own = 1 + 0.15 * draw.normal(size=n_groups)[groups]
        metric = (0.6 + sizes / 100)[:, None] * m_model * own
        curve = Curve(sizes, sizes, metric, m_model)
        how = {"threshold": 0.8, "bootstrap": Bootstrap(samples=200, seed=seed)}
        for at, known in enumerate((groups, None)):
            low, high = size_interval(curve, groups=known, **how)
            hits[at] += low <= 20 <= high
    assert hits[0] / n == pytest.approx(0.95, abs=0.03)
    assert hits[1] / n < 0.92


@pytest.mark.parametrize(("how", "size"), [("raw", 2), ("normalised", 7)])
def test_a_normalised_threshold_is_above_what_corrupted_prompts_keep(how, size):
    """Corrupted prompts keep 0.75, and eight edges bring the rest: raw 0.8 is two, normalised 7."""
    m_model = np.full(4, 2.0)
    floor = 0.75 * m_model if how == "normalised" else None

    def evaluate(sizes):
        sizes = np.array(sizes)
        metric = (0.75 + 0.25 * np.minimum(sizes, 8) / 8)[:, None] * m_model
        return Curve(sizes, sizes, metric, m_model, floor)

    settings = Circuits(grid_ratio=1.01, refine_points=0, max_fraction=1.0, threshold=0.8)
    curve, found, status = find_small(evaluate, n_parts=20, settings=settings)
    assert (found, status) == (size, "ok")
    ends = size_interval(curve, threshold=0.8, bootstrap=Bootstrap(seed=0))
    assert ends == (found, found)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model with random weights, and the vocabulary of Pythia."""
    folder = tmp_path_factory.mktemp("untrained") / "model"
    save_random_model(folder, vocab_size=50304, num_hidden_layers=2)
    return load_decoder(folder)


@pytest.mark.parametrize("builder", BUILDERS)
def test_an_untrained_model_does_none_of_the_tasks(untrained, shared_data, builder):
    """So its circuits have the status `no_behaviour`."""
    tokenizer = Tokenizer.from_file(str(shared_data / "pythia_tokenizer.json"))
    task = build_task(builder, tokenizer, builder=builder, n_prompts=40, seed=0)
    pairs = PromptPairs.from_task(task)
    clean, corrupted = (
        per_prompt_metric(logits, pairs, metric=task.metric).double().numpy()
        for logits in cache_activations(untrained, pairs).end_logits
    )
    bootstrap = Bootstrap(samples=200, seed=0)
    how = {"metric": task.metric, "bootstrap": bootstrap, "groups": pairs.groups}
    assert not does_the_task(clean, corrupted, **how)
