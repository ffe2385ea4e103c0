from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from circuitlapse.tables.claims.evidence_in_algorithm import (
    MARGIN,
    PATH_MARGIN,
    algorithm_across_sizes,
    algorithm_remains,
    heads_change,
    shares_remain,
)
from tests.unit.tables.claims_given import AT_MOST, N_DRAWS, given, rows_of


def turnover(changed, *, model="s") -> pd.DataFrame:
    known = pd.array(changed, "boolean")
    return pd.DataFrame({"model": model, "role": "NM", "changed": known, "floor_low": 0.5})


def test_heads_that_change_as_prompts_make_them_are_called_changed_at_the_nominal_rate():
    generator = np.random.default_rng(0)
    models = [f"m{draw}" for draw in range(N_DRAWS)]
    rows = [turnover(generator.random(40) < 0.05, model=model) for model in models]
    found = [*heads_change(given(models=models, sizes=range(N_DRAWS), turnover=pd.concat(rows)))]
    assert len(found) == N_DRAWS
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST


def test_three_changes_of_twelve_are_more_than_prompts_would_make():
    (one,) = heads_change(given(turnover=turnover([True] * 3 + [False] * 9 + [None])))
    assert (one.subject, one.n, one.value) == ("NM in s", 12, 0.25)
    assert one.p_for == pytest.approx(0.0196, abs=1e-4)  # tail of the binomial distribution
    assert np.isnan(one.p_against)


def test_pairs_at_which_scores_alone_decide_do_not_count():
    """A pair with a floor of 0 cannot be called changed, but counts: so the rate stays nominal."""
    rows = turnover([True, True, False, False])
    rows["floor_low"] = [1.0, 0.5, 0.0, 0.5]
    (one,) = heads_change(given(turnover=rows))
    assert (one.n, one.value) == (3, pytest.approx(1 / 3))


def shares(pct, error, *, p=0.001, model="s") -> pd.DataFrame:
    rows = [
        {"model": model, "panel": "direct", "denominator": "all", "sign": "both", "status": "ok"}
        | {"step": step, "pct": value, "null_high": 40.0, "p": p}
        | {"pct_low": value - 1.96 * error, "pct_high": value + 1.96 * error}
        for step, value in enumerate(pct)
    ]
    return rows_of("algorithm_consistency", rows)


def remains(table, **settings):
    (one,) = shares_remain(given(algorithm_consistency=table, **settings))
    return one


@pytest.mark.parametrize("lower_at", [1, 6], ids=["one step", "all earlier steps"])
def test_a_fall_by_the_margin_is_called_kept_or_lost_at_the_nominal_rate(lower_at):
    generator, models = np.random.default_rng(1), [f"m{draw}" for draw in range(N_DRAWS)]
    truth = np.full(7, 90.0)
    truth[:lower_at] -= MARGIN
    rows = [shares(truth + generator.normal(0, 4, 7), 4.0, model=model) for model in models]
    source = given(models=models, sizes=range(N_DRAWS), algorithm_consistency=pd.concat(rows))
    found = [*shares_remain(source)]
    assert len(found) == N_DRAWS
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST
    assert np.mean([one.p_against <= 0.05 for one in found]) <= AT_MOST


def test_an_algorithm_that_remains_or_goes_is_found():
    assert remains(shares([91, 88, 90, 92], 2.0)).p_for <= 0.01
    gone = remains(shares([91, 30, 90, 92], 2.0))
    assert gone.p_against <= 0.01
    assert gone.value == 30


def test_shares_that_permuted_scores_reach_too_are_no_evidence():
    assert remains(shares([91, 88, 90, 92], 2.0, p=0.3)).p_for == 0.3


def test_one_step_shows_no_change():
    assert remains(shares([91], 2.0)).status == "too_few_steps"


EDGES = [
    *(("NM", "logits", ""), ("CS", "logits", ""), ("S2I", "NM", "q")),
    *(("Dup", "S2I", "v"), ("Prev", "Ind", "k")),
]
"""One edge of each path."""
N_EDGES = len(EDGES)


def graphs(effects) -> pd.DataFrame:
    """Role graphs of models, by the effect of every edge; an earlier step has another graph."""
    rows = [
        {"model": model, "task": "ioi", "step": step, "source": source, "target": target}
        | {"port": port, "effect": effect if step else 9.0, "status": "ok"}
        | {"effect_low": effect, "effect_high": effect}
        for model, values in effects.items()
        for (source, target, port), effect in zip(EDGES, values, strict=True)
        for step in (0, 5)
    ]
    return pd.DataFrame(rows)


def known(generator) -> np.ndarray:
    """Effects of an algorithm: some paths matter, each by another amount."""
    return np.where(generator.random(N_EDGES) < 0.6, -generator.random(N_EDGES), 0.0)


def over_steps(effects, *, model="s", error=0.05) -> pd.DataFrame:
    """A role graph at several steps, [step, edge]; NaN where a role has no heads."""
    rows = [
        {"model": model, "task": "ioi", "step": step, "source": source, "target": target}
        | {"port": port, "effect": effect}
        | {"effect_low": effect - 1.96 * error, "effect_high": effect + 1.96 * error}
        | {"status": "no_source" if np.isnan(effect) else "ok"}
        for step, values in enumerate(effects)
        for (source, target, port), effect in zip(EDGES, values, strict=True)
    ]
    nothing = {"model": model, "step": -1, "status": "no_behaviour"}
    return pd.DataFrame([*rows, nothing])


def graph_remains(effects):
    (one,) = algorithm_remains(given(role_graph=over_steps(effects)))
    return one


def test_a_rival_algorithm_contradicts_the_claim_and_a_hand_over_supports_it():
    """As in the zoo: roles that are gone have no effect; a role with other heads has the same."""
    noise = np.random.default_rng(0).normal(0, 0.02, (6, N_EDGES))
    graph = np.zeros((6, N_EDGES))
    graph[:, [0, 2]] = -1.0
    same = graph_remains(graph + noise)
    assert (same.subject, same.n) == ("s", 6)
    assert same.p_for < 0.05
    assert same.p_against == 1.0
    graph[3:, [0, 2]] = np.nan
    graph[3:, 1] = -1.0
    rival = graph_remains(graph + noise)
    assert rival.value == pytest.approx(1.0, abs=0.1)
    assert rival.p_against < 0.01
    assert rival.p_for > 0.99


def test_steps_of_duplicates_say_nothing():
    graph = np.zeros((4, N_EDGES))
    graph[:, 0] = -1.0
    rows = over_steps(graph)
    numbers = ["effect", "effect_low", "effect_high"]
    rows.loc[rows["step"] == 2, numbers] = np.nan
    rows.loc[rows["step"] == 2, "status"] = "duplicate"
    (one,) = algorithm_remains(given(role_graph=rows))
    assert (one.n, one.value) == (3, 0.0)
    assert one.p_for < 0.01


def test_a_model_without_roles_has_no_algorithm_that_could_remain():
    one = graph_remains(np.full((4, N_EDGES), np.nan))
    assert (one.status, one.n) == ("no_roles", 4)
    assert np.isnan([one.p_for, one.p_against]).all()


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_intervals_are_read_at_their_level(level):
    """The same noise, told by intervals of another level: the same p values."""
    table, z = shares([75, 90, 91], 4.0), NormalDist().inv_cdf((1 + level) / 2)
    other = table.assign(pct_low=table["pct"] - 4.0 * z, pct_high=table["pct"] + 4.0 * z)
    assert remains(other, level=level).p_for == pytest.approx(remains(table).p_for, abs=1e-3)


def test_models_without_roles_at_the_end_count_as_they_are():
    """One that lost its roles is compared as it is now, not at an earlier step, nor left out."""
    generator, graph = np.random.default_rng(8), np.array([-1.0, 0.0, -0.8, -0.4, 0.0])
    effects = {model: graph + generator.normal(0, 0.05, N_EDGES) for model in "sml"}
    assert across(effects).p_for < 0.01
    lost = graphs(effects)
    gone = (lost["model"] == "l") & (lost["step"] == 5)
    lost.loc[gone, "effect"], lost.loc[gone, "status"] = np.nan, "no_source"
    (one,) = algorithm_across_sizes(given(role_graph=lost))
    assert one.n == 3
    assert one.value == pytest.approx(2 / 3 * np.sqrt((graph**2).mean()), rel=0.2)


def test_sizes_that_differ_as_seeds_do_are_called_different_at_the_nominal_rate():
    generator, found = np.random.default_rng(10), []
    names = {f"m{place}": 10 ** (5 + place // 3) for place in range(6)}
    for _ in range(N_DRAWS):
        effects = {model: generator.normal(-0.5, 0.2, N_EDGES) for model in names}
        one = across(effects, models=[*names], sizes=[*names.values()])
        found.append(one.p_against)
    assert np.mean(np.array(found) <= 0.05) <= AT_MOST


def test_a_head_that_gets_a_second_role_changes_nothing():
    """The head that suppresses a name is now also called a previous-token head, and CS as well."""
    graph = np.zeros((4, N_EDGES))
    graph[:2, 1] = -1.0
    rows = over_steps(graph)
    more = [("NegNM", "logits", 2, -1.0), ("NegNM", "logits", 3, -1.0), ("Prev", "logits", 3, -1.0)]
    place = {"model": "s", "task": "ioi", "port": "", "status": "ok"}
    for source, target, step, effect in more:
        row = {"source": source, "target": target, "step": step, "effect": effect}
        row |= {"effect_low": effect - 0.1, "effect_high": effect + 0.1}
        rows = pd.concat([rows, pd.DataFrame([place | row])])
    (one,) = algorithm_remains(given(role_graph=rows))
    assert one.value == pytest.approx(0.0)
    assert one.p_for < 0.01


def test_a_path_that_changes_by_the_margin_is_called_kept_or_lost_at_the_nominal_rate():
    generator, models = np.random.default_rng(9), [f"m{draw}" for draw in range(N_DRAWS)]
    truth = np.zeros((4, N_EDGES))
    truth[0, 3] = PATH_MARGIN
    drawn = [
        over_steps(truth + generator.normal(0, 0.05, truth.shape), model=model) for model in models
    ]
    source = given(models=models, sizes=range(N_DRAWS), role_graph=pd.concat(drawn))
    found = [*algorithm_remains(source)]
    assert len(found) == N_DRAWS
    assert np.mean([one.p_for <= 0.05 for one in found]) <= AT_MOST
    assert np.mean([one.p_against <= 0.05 for one in found]) <= AT_MOST


def across(effects, **settings):
    (one,) = algorithm_across_sizes(given(role_graph=graphs(effects), **settings))
    return one


def test_unrelated_graphs_are_called_the_same_algorithm_at_the_nominal_rate():
    generator = np.random.default_rng(3)
    drawn = [{model: known(generator) for model in "sml"} for _ in range(N_DRAWS)]
    found = [across(effects).p_for for effects in drawn]
    assert np.mean(np.array(found) <= 0.05) <= AT_MOST


def test_the_same_algorithm_in_three_sizes_is_found_in_spite_of_noise():
    generator = np.random.default_rng(4)
    graph = np.array([-1.0, 0.0, -0.8, -0.4, 0.0])
    one = across({model: graph + generator.normal(0, 0.05, N_EDGES) for model in "sml"})
    assert one.p_for <= 0.01
    assert one.value < one.control
    assert np.isnan(one.p_against)


def test_sizes_that_differ_more_than_seeds_contradict_it():
    generator = np.random.default_rng(5)
    own = {size: known(generator) for size in (10**5, 10**6, 10**7)}
    names = {f"m{place}": size for place, size in enumerate(sorted([*own] * 4))}
    effects = {m: own[size] + generator.normal(0, 0.02, N_EDGES) for m, size in names.items()}
    how = {"models": [*names], "sizes": [*names.values()]}
    assert across(effects, **how).p_against <= 0.01
    alike = {model: own[10**5] + generator.normal(0, 0.02, N_EDGES) for model in names}
    assert across(alike, **how).p_against > 0.05


def test_one_size_is_no_evidence():
    assert across({"s": known(np.random.default_rng(0))}).status == "too_few_models"
