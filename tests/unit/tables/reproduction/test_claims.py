import numpy as np
import pandas as pd
import pytest

from circuitlapse.tables.reproduction import STATEMENTS, Found, Run, judged

STATEMENT = {one.name: one for one in STATEMENTS}
NAMED = {"160m": "p160", "410m": "p410", "70m": "p70"}
TASKS = {name: name for name in ("ioi", "greater_than", "gendered_pronoun", "sva")}
SETTINGS = {"pythia_sizes": NAMED, "tasks": TASKS, "lengths": (100,)}
SETTINGS |= {"corruption": "s2_to_io", "copy_ln": "folded"}


def run_with(settings=SETTINGS, **tables):
    return Run({name: pd.DataFrame(rows) for name, rows in tables.items()}, **settings)


def behaviour(model, task, values, **more):
    rows = [{"model": model, "task": task, "step": s, "value": v} for s, v in values.items()]
    return [row | {"accuracy": 0.9, "value_corrupted": -row["value"]} | more for row in rows]


def verdict_of(name, run):
    (row,) = judged(run, [STATEMENT[name]]).to_dict("records")
    return row["verdict"], row["measured"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({1000: 0.1, 6000: 0.9, 7000: 1.6, 80_000: 3.0, 143_000: 3.0}, ("pass", "step 7000")),
        ({1000: 1.6, 7000: 2.0, 80_000: 3.0, 143_000: 3.0}, ("fail", "step 1000")),
        ({1000: 0.0, 80_000: -1.0, 143_000: -1.0}, ("fail", "late mean -1")),
        ({1000: 0.1, 7000: 1.6}, ("not_applicable", "")),
        ({1000: 0.1, 8000: 0.2, 20_000: 3.0, 143_000: 3.0}, ("fail", "step 20000")),
        ({1000: 0.1, 4000: 0.2, 20_000: 3.0, 143_000: 3.0}, ("not_applicable", "")),
        ({143_000: 3.0}, ("not_applicable", "")),
    ],
)
def test_the_half_level_is_half_of_the_mean_of_the_second_half_of_training(values, expected):
    run = run_with(behaviour=behaviour("p160", "ioi", values))
    assert verdict_of("emergence_ioi_160m", run) == expected


def test_a_peak_is_looked_for_where_a_step_was_analysed():
    def run(*steps):
        values = {6000: 3.0, 7000: 4.0, 10_000: 3.5, 143_000: 3.0}
        return run_with(behaviour=behaviour("p410", "ioi", {step: values[step] for step in steps}))

    assert verdict_of("peak_ioi_410m", run(6000, 7000, 143_000)) == ("pass", "step 7000")
    assert verdict_of("peak_ioi_410m", run(10_000, 143_000)) == ("not_applicable", "")


def accuracies(values, n=100):
    rows = behaviour("p160", "ioi", dict.fromkeys(values, 0.0), n=n)
    return [row | {"accuracy": values[row["step"]]} for row in rows]


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (0.39, 0.61, 100, "pass"),  # fair coins are within 0.4 to 0.6
        (0.41, 0.90, 100, "fail"),
        (0.30, 0.59, 100, "fail"),
        (0.41, 0.90, 400, "pass"),  # within 0.45 to 0.55
        (0.05, 0.95, 4, "fail"),
    ],
)
def test_below_chance_is_below_what_coins_give_and_is_followed_by_more(low, high, n, verdict):
    values = {1: 0.5, 512: 0.5, 1000: 0.45, 4000: low, 8000: high, 10_000: high}
    assert verdict_of("below_chance_160m", run_with(behaviour=accuracies(values, n)))[0] == verdict


def test_accuracy_falls_below_chance_before_it_rises_and_not_afterwards():
    values = {1: 0.5, 512: 0.5, 1000: 0.9, 2000: 0.95, 9000: 0.2, 10_000: 0.5}
    measured = "0.20 at step 9000, later up to 0.50; chance is 0.5 +- 0.10"
    run = run_with(behaviour=accuracies(values))
    assert verdict_of("below_chance_160m", run) == ("fail", measured)
    run = run_with(behaviour=accuracies(values | {9000: 0.9, 10_000: 0.2, 20_000: 0.9}))
    assert verdict_of("below_chance_160m", run)[0] == "fail"


@pytest.mark.parametrize("missing", [{512}, {10_000}])
def test_a_dip_below_chance_needs_several_early_steps_and_a_late_one(missing):
    values = {1: 0.5, 512: 0.5, 1000: 0.45, 4000: 0.3, 8000: 0.9, 10_000: 0.9}
    assert verdict_of("below_chance_160m", run_with(behaviour=accuracies(values)))[0] == "pass"
    fewer = {step: value for step, value in values.items() if step not in missing}
    found = verdict_of("below_chance_160m", run_with(behaviour=accuracies(fewer)))
    assert found == ("not_applicable", "")


@pytest.mark.parametrize(("corrupted", "verdict"), [(-3.3, "pass"), (-2.0, "fail"), (3.0, "fail")])
def test_the_corrupted_metric_is_minus_the_clean_one_within_15_percent(corrupted, verdict):
    rows = behaviour("p160", "ioi", {143_000: 3.0}, value_corrupted=corrupted)
    assert verdict_of("opposite_160m", run_with(behaviour=rows))[0] == verdict


@pytest.mark.parametrize(
    ("corruption", "step"), [("s2_to_random", 143_000), (None, 143_000), ("s2_to_io", 512)]
)
def test_names_must_have_been_exchanged_and_training_must_have_ended(corruption, step):
    rows = behaviour("p160", "ioi", {step: 3.0}, value_corrupted=-1.0)
    run = run_with(SETTINGS | {"corruption": corruption}, behaviour=rows)
    assert verdict_of("opposite_160m", run) == ("not_applicable", "")


def circuits(model, sizes, status="ok"):
    rows = [{"model": model, "task": "ioi", "step": s, "n_edges": n} for s, n in sizes.items()]
    return [row | {"status": status if row["n_edges"] else "no_behaviour"} for row in rows]


def roles_of(model, heads):
    return [
        {"model": model, "task": "ioi", "step": step, "role": "NM", "layer": layer, "head": head}
        for step, at in heads.items()
        for layer, head in at
    ]


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ([(8, 2), (8, 10), (9, 1)], ("pass", "2 of 2: (8,2), (8,10)")),
        ([(8, 2)], ("fail", "1 of 2: (8,2)")),
        ([], ("fail", "0 of 2: none")),
    ],
)
def test_named_heads_are_looked_up_at_the_last_step(heads, expected):
    roles = roles_of("p160", {1000: [(8, 2), (8, 10)], 143_000: heads})
    run = run_with(roles=roles, circuit_summary=circuits("p160", {1000: None, 143_000: 9}))
    assert verdict_of("name_movers_160m", run) == expected


@pytest.mark.parametrize(
    ("model", "last", "verdict"),
    [
        ("p160", 143_000, "fail"),
        ("p160", 4000, "not_applicable"),
        ("p70", 143_000, "not_applicable"),  # behaviour alone was measured of the other
    ],
)
def test_a_model_without_any_role_fails_if_circuits_were_looked_for(model, last, verdict):
    run = run_with(
        roles=roles_of("p70", {last: [(0, 0)]}),
        circuit_summary=circuits(model, {1000: 9, last: 9}),
        behaviour=behaviour("p160", "ioi", {last: 3.0}),
    )
    assert verdict_of("name_movers_160m", run)[0] == verdict


def copy_scores(values):
    given = {"model": "p410", "score": "copy", "layer": 13, "head": 5}
    other = {"model": "p410", "score": "copy", "layer": 13, "head": 6, "value": 99.0}
    rows = [given | {"step": step, "value": value} for step, value in values.items()]
    return rows + [other | {"step": step} for step in values]


@pytest.mark.parametrize(
    ("values", "copy_ln", "expected"),
    [
        ({1000: 0.5, 6000: 95.2, 143_000: 20.0}, "folded", ("pass", "95")),
        ({1000: 0.5, 6000: 60.0, 143_000: 95.0}, "folded", ("fail", "60")),
        ({1000: 0.5, 6000: 60.0}, "full", ("not_applicable", "")),
        ({1000: 0.5}, "folded", ("not_applicable", "")),
        ({1000: 0.5, 7000: 95.0}, "folded", ("not_applicable", "")),
    ],
)
def test_a_copy_score_is_looked_up_at_its_step_as_the_study_defines_it(values, copy_ln, expected):
    run = run_with(SETTINGS | {"copy_ln": copy_ln}, components=copy_scores(values))
    assert verdict_of("copy_13_5_410m", run) == expected


def test_a_jump_is_a_factor_of_two_in_either_direction():
    def sizes(*edges):
        return run_with(circuit_summary=circuits("p160", dict(enumerate(edges))))

    assert verdict_of("size_jumps_160m", sizes(100, 110, 50, 60, 70)) == (
        "pass",
        "largest factor 2.2",
    )
    assert verdict_of("size_jumps_160m", sizes(100, 110, 60, 60, 70))[0] == "fail"
    assert verdict_of("size_jumps_160m", sizes(100, 10))[0] == "not_applicable"


@pytest.mark.parametrize("dtype", ["float64", "Int32"])
def test_circuits_are_neighbours_only_if_no_step_lies_between_them(dtype):
    def run(*edges):
        table = pd.DataFrame(circuits("p160", dict(enumerate(edges)))).astype({"n_edges": dtype})
        return run_with(circuit_summary=table)

    first, second = (100, 110, 100), (300, 310, 300)
    assert verdict_of("size_jumps_160m", run(*first, *second)) == ("pass", "largest factor 3.0")
    found = verdict_of("size_jumps_160m", run(*first, None, *second))
    assert found == ("fail", "largest factor 1.1")
    assert verdict_of("size_jumps_160m", run(None, 9, None, 9, None, 9, None, 9, None, 9))[0] == (
        "not_applicable"
    )


def test_a_circuit_that_is_not_faithful_is_no_neighbour_and_does_not_count():
    rows = circuits("p160", {1: 100, 2: 110, 3: 100}) + circuits("p160", {4: 9000}, "not_reached")
    rows += circuits("p160", {5: 100, 6: 110, 7: 100})
    run = run_with(circuit_summary=rows)
    assert verdict_of("size_jumps_160m", run) == ("fail", "largest factor 1.1")
    assert verdict_of("small_circuits_160m", run) == ("pass", "median 100 edges")


def overlaps(values):
    given = {"model": "p160", "task": "gendered_pronoun", "comparison": "consecutive"}
    given |= {"level": "edge", "weighting": "none"}
    rows = [given | {"step": step, "ewma": value} for step, value in values.items()]
    return rows + [row | {"level": "node", "ewma": 0.1} for row in rows]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({1000: 0.4, 6000: 0.71, 7000: 0.2}, ("pass", "0.71")),
        ({1000: 0.4, 6000: 0.69, 7000: 0.9}, ("fail", "0.69")),
        ({1000: 0.4, 7000: 0.2}, ("not_applicable", "")),  # nothing at the step
    ],
)
def test_overlaps_are_looked_up_at_the_step_after_several_others(values, expected):
    between = {2000: 0.5, 3000: 0.6, 4000: 0.6}
    run = run_with(stability=overlaps(dict(sorted((values | between).items()))))
    assert verdict_of("stability_gendered_pronoun_160m", run) == expected


@pytest.mark.parametrize("steps", [(512,), (6000,), (1000, 2000, 3000, 6000)])
def test_few_overlaps_say_nothing_about_when_circuits_are_stable(steps):
    run = run_with(stability=overlaps(dict.fromkeys(steps, 0.2)))
    assert verdict_of("stability_gendered_pronoun_160m", run) == ("not_applicable", "")


def heads_of(score, values, step=0):
    """Rows of `components`: the mean over two heads of each model is what is given for it."""
    return [
        {"model": model, "step": step, "score": score, "value": value + by}
        for model, value in values.items()
        for by in (-0.001, 0.001)
    ]


def test_untrained_models_are_looked_at_one_by_one():
    components = heads_of("induction", {"a": 0.007, "b": 0.02})
    components += heads_of("induction", {"a": 0.9, "b": 0.9}, step=5)
    run = run_with(components=components)
    measured = "0.007 to 0.02, chance is 0.00691"
    assert verdict_of("untrained_induction", run) == ("fail", measured)
    assert verdict_of("untrained_prev_token", run) == ("not_applicable", "")
    alone = run_with(components=heads_of("induction", {"b": 0.02}))
    assert verdict_of("untrained_induction", alone) == ("fail", "0.02, chance is 0.00691")
    run = run_with(components=heads_of("induction", {"a": 0.007}, step=5))
    assert verdict_of("untrained_induction", run) == ("not_applicable", "")


@pytest.mark.parametrize("length", [24, 100])
@pytest.mark.parametrize("score", ["prev_token", "induction", "duplicate"])
def test_chance_is_that_of_uniform_attention_to_the_tokens_that_the_heads_saw(score, length):
    """Each row of the pattern is 1 over the number of tokens that it can see."""
    tokens = 2 * length
    pattern = np.tril(np.ones((tokens, tokens))) / np.arange(1, tokens + 1)[:, None]
    if score == "prev_token":
        chance = np.diagonal(pattern, -1).mean()
    else:
        back = length if score == "duplicate" else length - 1
        chance = np.diagonal(pattern, -back)[-length:].mean()

    def verdict(factor):
        rows = heads_of(score, {"a": chance, "b": factor * chance})
        run = run_with(SETTINGS | {"lengths": (length,)}, components=rows)
        return verdict_of(f"untrained_{score}", run)[0]

    assert [verdict(factor) for factor in (0.55, 0.65, 1.35, 1.45)] == [
        *("fail", "pass", "pass", "fail")
    ]


@pytest.mark.parametrize(
    ("task", "value", "se", "verdict"),
    [
        ("ioi", 0.09, 0.001, "pass"),
        ("ioi", -0.15, 0.051, "pass"),
        ("ioi", -0.15, 0.049, "fail"),
        ("ioi", 0.15, np.nan, "fail"),
        ("sva", 0.015, 0.0051, "pass"),
        ("sva", 0.015, 0.0049, "fail"),
    ],
)
def test_an_untrained_model_may_miss_zero_by_the_noise_of_its_prompts(task, value, se, verdict):
    rows = behaviour("p160", task, {0: value}, se=se)
    rows += behaviour("p70", task, {0: 0.0}, se=0.5) + behaviour("p70", task, {5: 9.0}, se=0.0)
    assert verdict_of(f"untrained_{task}", run_with(behaviour=rows))[0] == verdict


def test_the_noise_of_the_prompts_is_reported_beside_what_was_measured():
    rows = behaviour("p160", "ioi", {0: -0.15}, se=0.08)
    rows += behaviour("p70", "ioi", {0: 0.02}, se=0.05)
    measured = "-0.15 to 0.02, se up to 0.08"
    assert verdict_of("untrained_ioi", run_with(behaviour=rows)) == ("pass", measured)


def test_a_correlation_that_is_not_defined_says_nothing():
    rows = [{"task": "ioi", "level": "node", "x": "log_params", "r": np.nan, "p": np.nan, "n": 2}]
    assert STATEMENT["size_correlation_ioi"].test(run_with(size_correlation=rows)) == Found(
        "", None
    )


@pytest.mark.parametrize(
    ("r", "p", "verdict"),
    [
        (0.4, 0.5, "inconclusive"),  # a coin flip passes "r above 0"
        (-0.4, 0.5, "inconclusive"),
        (0.99, 1 / 60, "pass"),
        (-0.99, 1 / 60, "fail"),
    ],
)
def test_a_correlation_of_few_models_needs_a_small_p(r, p, verdict):
    rows = [{"task": "ioi", "level": "node", "x": "log_params", "r": r, "p": p, "n": 5}]
    found, measured = verdict_of("size_correlation_ioi", run_with(size_correlation=rows))
    assert found == verdict
    assert measured == f"r = {r:.2f}, p = {p:.2f}, n = 5"
