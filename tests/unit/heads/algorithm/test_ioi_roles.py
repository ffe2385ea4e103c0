import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from circuitlapse.circuits.selection import Circuit
from circuitlapse.heads.algorithm import ioi_roles as module, trace_ioi
from circuitlapse.heads.algorithm.case import Case
from circuitlapse.heads.algorithm.shares import (
    N_PERMUTATIONS,
    Effects,
    Panel,
    RoleTest,
)
from circuitlapse.heads.naming import Naming
from circuitlapse.heads.s_inhibition import FlipTest
from circuitlapse.heads.scoring import score_heads
from circuitlapse.models.activations import cache_activations
from circuitlapse.models.batching import AUTOMATIC
from circuitlapse.models.graph import Graph
from circuitlapse.models.load import load_decoder
from circuitlapse.schemas import ALGORITHM_CONSISTENCY, CONSISTENCY_NUMBERS, HEAD_SCORES, ROLES, S2I
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.types import Role, RoleRule
from tests.conftest import bridge_of
from tests.planted_ioi import (
    DUPLICATE,
    INHIBIT,
    MOVERS,
    plant_duplicate,
    plant_inhibit,
    plant_uniform,
    planted_ioi_pairs,
    save_planted_ioi,
)

SHAPE = (3, 8)
BOOTSTRAP = Bootstrap(samples=100, level=0.95, seed=0)
EDGES = ("input->a0.h1<v>", "a0.h1->a1.h2<v>", "a1.h2->a2.h0<q>", "a2.h0->logits")
EDGES += ("input->a2.h7<v>", "a2.h7->logits")
TURNED, WEAKENED = (
    (math.tanh(score) - math.tanh(1.5)) / (2 * math.tanh(1.5)) for score in (-0.5, 0.5)
)
"""Effects on the queries of a2.h0 and a2.h3, of a1.h2 and of a1.h5; see `tests.planted_ioi`."""
UNIFORM_LENGTHS = (2, 3)
ON_QUERIES = Effects(-np.ones((24, 60)), np.ones(60))


def circuit_of_edges(*edges, graph=None):
    graph = graph or Graph(*SHAPE, parallel=False)
    mask = np.zeros_like(graph.exists)
    for edge in edges:
        mask[graph.edge_index(edge)] = True
    return Circuit(graph, mask)


@pytest.fixture(scope="module")
def scores(score_frame):
    """a2.h0 and a2.h3 copy, a2.h4 copies negatively, a2.h3 and a2.h4 suppress copies."""
    return score_frame(
        SHAPE,
        copy={(2, 0): 100, (2, 3): 10.5, (2, 1): 100},
        copy_neg={(2, 4): 80},
        cspa={(2, 3): 0.2, (2, 4): 0.5},
        duplicate={(0, 1): 1},
        induction={(0, 2): 1},
    )


@pytest.fixture(scope="module")
def trace(planted, scores):
    def run(pairs=None, **changes):
        given = {"scores": scores, "circuit": circuit_of_edges(*EDGES), "bootstrap": BOOTSTRAP}
        return trace_ioi(planted, pairs or planted_ioi_pairs(), **given | {"seed": 0} | changes)

    return run


@pytest.fixture(scope="module")
def found(trace):
    return trace()


def effects_of(found, score):
    """Return the effects that are not zero: (layer, head) -> value."""
    rows = found.effects[found.effects["score"] == score]
    return {(r.layer, r.head): r.value for r in rows.itertuples() if abs(r.value) > 1e-4}


def roles_of(found):
    roles = found.roles.groupby("role", sort=False)
    return {role: set(zip(rows["layer"], rows["head"], strict=True)) for role, rows in roles}


def share(found, panel, denominator, sign="both"):
    rows = found.consistency[found.consistency["sign"] == sign]
    return rows[(rows["panel"] == panel) & (rows["denominator"] == denominator)].squeeze()


def test_effects_in_a_planted_circuit_are_those_worked_out_by_hand(found):
    movers = {(2, 0): -4 / 6, (2, 3): -2 / 6, (2, 4): 1 / 6, (2, 7): -1 / 6}
    assert effects_of(found, "e_logits") == pytest.approx(movers, abs=1e-4)
    on_queries = {(1, 2): TURNED, (1, 5): WEAKENED}
    assert effects_of(found, "e_nm_q") == pytest.approx(on_queries, abs=1e-4)
    assert effects_of(found, "e_s2i_v") == pytest.approx({(0, 1): TURNED}, abs=1e-4)
    assert set(found.effects["status"]) == {"ok"}


def test_all_that_writes_to_the_logits_together_carries_the_whole_effect(found):
    assert sum(effects_of(found, "e_logits").values()) == pytest.approx(-1, abs=1e-4)
    assert sum(effects_of(found, "e_nm_q").values()) == pytest.approx(-1, abs=1e-4)


def test_roles_in_a_planted_circuit_are_those_planted(found):
    """a2.h1 copies but has no effect; a1.h5 has one but no edge in the circuit."""
    assert roles_of(found) == {
        "NM": {(2, 0), (2, 3)},
        "NegNM": {(2, 4)},
        "CS": {(2, 3)},
        "NegCS": {(2, 4)},
        "S2I": {(1, 2)},
        "Dup": {(0, 1)},
    }
    effects = found.roles.set_index("role")["effect"]
    assert effects["S2I"] == pytest.approx(TURNED, abs=1e-4)
    assert effects["NegNM"] == pytest.approx(1 / 6, abs=1e-4)


def test_shares_in_a_planted_circuit_are_those_worked_out_by_hand(found):
    """a2.h7 writes to the logits but has no role; a2.h3 and a2.h4 are not in the circuit."""
    expected = {
        ("direct", "all", "both"): (7 / 6, 8 / 6, 3),
        ("direct", "all", "negative"): (6 / 6, 7 / 6, 2),
        ("direct", "all", "positive"): (1 / 6, 1 / 6, 1),
        ("direct", "circuit", "both"): (4 / 6, 5 / 6, 1),
        ("s2i", "all", "both"): (-TURNED, 1, 1),
        ("s2i", "circuit", "both"): (-TURNED, -TURNED, 1),
        ("tertiary", "all", "both"): (-TURNED, -TURNED, 1),
    }
    for (panel, denominator, sign), (explained, total, n_heads) in expected.items():
        row = share(found, panel, denominator, sign)
        assert row["explained"] == pytest.approx(explained, abs=1e-4)
        assert row["total"] == pytest.approx(total, abs=1e-4)
        assert row["pct"] == pytest.approx(100 * explained / total, abs=0.01)
        assert row["pct_low"] == pytest.approx(row["pct"], abs=0.1)
        assert row["pct_high"] == pytest.approx(row["pct"], abs=0.1)
        assert (row["n_heads"], row["n"], row["status"]) == (n_heads, 60, "ok")


def test_a_head_that_moves_places_is_found_by_flips_of_the_place_and_by_no_others(found):
    """The name movers that listen then look at S with a score of 1 where they had IO with 3."""
    rows = found.s2i.set_index("flip")
    assert set(zip(rows["layer"], rows["head"], strict=True)) == {(1, 2)}
    assert rows["is_s2i"].all()
    assert rows["by_position"].all()
    assert not rows["by_token"].any()

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    for flip in ("same_opposite", "random_opposite", "opposite_opposite"):
        row = rows.loc[flip]
        assert row["d_logit_diff"] == pytest.approx(2 * TURNED, abs=1e-3)
        assert row["d_attn_io"] == pytest.approx(sigmoid(-1) / sigmoid(3) - 1, abs=1e-3)
        assert row["d_attn_s1"] == pytest.approx(sigmoid(1) / sigmoid(-3) - 1, abs=1e-2)
    for flip in ("random_same", "opposite_same"):
        changes = rows.loc[flip, ["d_logit_diff", "d_attn_io", "d_attn_s1"]].to_numpy(float)
        assert changes == pytest.approx(0, abs=1e-3)


def test_without_a_circuit_only_effects_and_other_denominators_are_known(trace):
    found = trace(circuit=None)
    assert share(found, "direct", "all")["pct"] == pytest.approx(87.5, abs=0.01)
    status = found.consistency.groupby("panel")["status"].agg(list)
    assert status["direct"] == ["no_circuit"] * 3 + ["ok"] * 3
    assert set(status["s2i"]) == set(status["tertiary"]) == {"no_circuit"}
    assert effects_of(found, "e_nm_q").keys() == {(1, 2), (1, 5)}
    assert roles_of(found).keys() == {"NM", "NegNM", "CS", "NegCS"}
    assert found.s2i.empty


def test_without_name_movers_nothing_that_listens_to_them_is_defined(trace):
    found = trace(settings=Algorithm(min_copy=100.0))
    status = found.effects.groupby("score")["status"].agg(set)
    assert status.to_dict() == {
        "e_logits": {"ok"}, "e_nm_q": {"no_name_movers"}, "e_s2i_v": {"no_name_movers"},
    }  # fmt: skip
    assert share(found, "direct", "all")["pct"] == pytest.approx(100 * 3 / 8, abs=0.01)
    later = found.consistency.query("panel != 'direct'")
    assert set(later["status"]) == {"no_name_movers"}
    assert later[list(CONSISTENCY_NUMBERS)].isna().all(axis=None)


@pytest.fixture(scope="module")
def uniform(tmp_path_factory):
    """A model with uniform attention, and its scores; `cspa` of every head is as if it had text."""
    folder = save_planted_ioi(tmp_path_factory.mktemp("uniform") / "ioi", more=plant_uniform)
    words = {f"word{at}": at for at in range(9)}
    Tokenizer(WordLevel(words, unk_token="word8")).save(str(folder / "tokenizer.json"))
    model, pairs = load_decoder(folder, dtype="float64"), planted_ioi_pairs()
    names = ("copy", "copy_neg", "induction", "duplicate", "prev_token")
    frame = score_heads(model, scores=names, pairs=pairs, lengths=UNIFORM_LENGTHS)
    cspa = frame[frame["score"] == "copy"].assign(score="cspa", value=np.float32(0))
    return model, pd.concat([frame, cspa])


def trace_uniform(uniform, rule):
    model, scores = uniform
    return trace_ioi(
        model,
        planted_ioi_pairs(),
        scores=scores,
        circuit=Circuit.full(Graph(*SHAPE)),
        settings=Algorithm(rule=rule),
        lengths=UNIFORM_LENGTHS,
        bootstrap=BOOTSTRAP,
        seed=0,
    )


def test_a_model_with_uniform_attention_has_no_role_and_no_share(uniform):
    """By the rule of the paper, a head of layer 0 is a name mover and explains it all."""
    found = trace_uniform(uniform, "controlled")
    assert found.roles.empty
    assert not (found.consistency["pct"] > 0).any()
    by_paper = trace_uniform(uniform, "paper")
    assert set().union(*roles_of(by_paper).values()) == {(0, 0)}
    assert share(by_paper, "direct", "all")["pct"] == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize(("rule", "n_named"), [("controlled", 0), ("paper", 1)])
def test_the_best_of_heads_at_chance_has_a_role_by_the_rule_of_the_paper_alone(
    planted, rule, n_named
):
    """Induction scores around the chance level of 16 tokens; DUPLICATE has the highest of all."""
    chance = Naming(RoleRule.CONTROLLED, (16,)).least("induction") / 2
    values = chance * np.random.default_rng(0).uniform(0.9, 1.1, 24)
    values[DUPLICATE[1]] = 1.2 * chance
    known = {"induction": values, "duplicate": values}
    settings = Algorithm(rule=rule)
    case = Case(planted, planted_ioi_pairs(), known, None, settings, BOOTSTRAP, 0, AUTOMATIC, (16,))
    test = RoleTest(np.arange(24) == 8 + 2)
    second = Panel("s2i", "e_nm_q", ON_QUERIES, {Role.S_INHIBITION: test})
    tertiary = module._tertiary(case, second, np.zeros(24, dtype=bool))
    for mask in tertiary.roles.values():
        assert mask.sum() == n_named


DUPLICATES = (DUPLICATE, (0, 4), (0, 6))
INHIBITORS = (*INHIBIT, (1, 0), (1, 7))
TOO_WEAK = ((1, 1), (1, 3), (1, 4), (1, 6))


def share_the_work(model):
    """Have three heads do the work of DUPLICATE, and four that of the two INHIBIT heads.

    Four more do the same as these, with an effect that is too small to count.
    """
    for at in DUPLICATES:
        plant_duplicate(model, at, 1 / len(DUPLICATES))
    for at in INHIBITORS:
        plant_inhibit(model, at, 3 / len(INHIBITORS))
    for at in TOO_WEAK:
        plant_inhibit(model, at, 0.015)


def test_every_role_of_a_planted_model_is_found_and_beats_shuffled_scores(tmp_path, score_frame):
    """Of the queries only those of NM hear, with gains of 4, 2 and 1 of 6 in all.

    The least p values are those of the only right order: four of eight heads that were tested for
    S-inhibition, 1 in 70, and three of eight heads in layer 0, 1 in 56.
    """
    model = load_decoder(save_planted_ioi(tmp_path / "ioi", more=share_the_work), dtype="float64")
    movers = {at for at, gain in MOVERS.items() if gain > 0}
    scores = score_frame(
        SHAPE,
        copy=dict.fromkeys(movers, 100),
        copy_neg=dict.fromkeys(MOVERS.keys() - movers, 100),
        duplicate=dict.fromkeys(DUPLICATES, 1),
    )
    full = Circuit.full(Graph(*SHAPE, parallel=False))
    given = {"scores": scores, "circuit": full, "bootstrap": BOOTSTRAP, "seed": 0}
    found = trace_ioi(model, planted_ioi_pairs(), **given)
    assert roles_of(found) == {
        "NM": movers,
        "NegNM": MOVERS.keys() - movers,
        "S2I": set(INHIBITORS),
        "Dup": set(DUPLICATES),
    }
    expected = (("direct", 100, -1, 0.01), ("s2i", 99, -1.16, 0.03), ("tertiary", 100, -1, 0.03))
    for panel, pct, joint, p in expected:
        row = share(found, panel, "all")
        assert row["pct"] == pytest.approx(pct, abs=0.1)
        assert row["joint"] == pytest.approx(joint, abs=0.01)
        assert row["p"] <= p


@pytest.mark.parametrize(
    ("passing", "p"), [([(1, 2), (1, 5)], 1), ([(1, 2)], 1 / 2), ([(1, 5)], 1)]
)
def test_heads_are_tested_because_of_their_effect_so_that_alone_is_no_evidence(
    trace, monkeypatch, passing, p
):
    """Two of 16 heads have an effect on queries and are tested; a1.h2 has the larger one.

    Passing is chance here. Permuted over the 14 heads that were not tested, too, the scores would
    give a small p for nearly every outcome.
    """

    def by_chance(case, *, name_movers, candidates):
        assert set(candidates) == set(INHIBIT)
        rows = pd.DataFrame(candidates, columns=["layer", "head"]).assign(flip="same_opposite")
        rows["is_s2i"] = [at in passing for at in candidates]
        rows = rows.assign(by_position=rows["is_s2i"], by_token=False)
        table = rows.reindex(columns=list(S2I.columns)[5:]).fillna(0.0)
        return FlipTest(table, candidates, case.pairs, {}, case.settings, case.bootstrap)

    monkeypatch.setattr(Case, "test", by_chance)
    row = share(trace(circuit=Circuit.full(Graph(*SHAPE, parallel=False))), "s2i", "all")
    assert row["n_heads"] == len(passing)
    assert row["p"] == pytest.approx(p, abs=0.06)


@pytest.mark.parametrize(("rule", "stays"), [("controlled", True), ("paper", False)])
def test_an_s2i_head_does_not_hang_on_one_edge_of_a_circuit(trace, rule, stays):
    """The edge of a1.h2 has the third score of all; the circuit ends before it, or after it."""
    graph = Graph(*SHAPE, parallel=False)
    edge_scores = np.where(
        graph.exists, np.random.default_rng(0).uniform(0, 0.1, graph.exists.shape), np.nan
    )
    for edge, score in zip(EDGES, (-2, 1.9, -1.8, 1.7, 1.6, 1.5), strict=True):
        edge_scores[graph.edge_index(edge)] = score
    how = {"settings": Algorithm(rule=rule), "edge_scores": edge_scores}
    for edges in (EDGES, (*EDGES[:2], *EDGES[3:])):
        found = trace(circuit=circuit_of_edges(*edges), **how)
        assert ((1, 2) in roles_of(found).get("S2I", ())) == (stays or edges == EDGES)
    weak = edge_scores.copy()
    weak[graph.edge_index(EDGES[2])] = 0
    found = trace(circuit=circuit_of_edges(*EDGES), **how | {"edge_scores": weak})
    assert ((1, 2) in roles_of(found).get("S2I", ())) == (rule == "paper")


def test_an_s2i_head_that_also_suppresses_copies_receives_nothing(planted, found):
    of_head = np.zeros(24, dtype=bool)
    of_head[8 + 2] = True
    case = Case(planted, planted_ioi_pairs(), {}, None, Algorithm(), BOOTSTRAP, 0, AUTOMATIC)
    second = Panel("s2i", "e_nm_q", ON_QUERIES, {Role.S_INHIBITION: RoleTest(of_head)})
    assert share(found, "tertiary", "all")["status"] == "ok"
    assert module._tertiary(case, second, of_head).status == "no_s2i_heads"


def test_without_s2i_heads_the_share_is_zero_and_what_they_hear_is_not_defined(trace):
    found = trace(circuit=circuit_of_edges(*EDGES[3:]))
    row = share(found, "s2i", "all")
    assert (row["pct"], row["n_heads"], row["status"]) == (0, 0, "ok")
    assert share(found, "s2i", "circuit")["status"] == "no_effect"
    assert set(found.consistency.query("panel == 'tertiary'")["status"]) == {"no_s2i_heads"}
    rows = found.effects[found.effects["score"] == "e_s2i_v"]
    assert rows["value"].isna().all()


@pytest.mark.parametrize("change", ["answers the other way round", "nothing corrupted"])
def test_without_the_behaviour_nothing_is_defined_and_the_tables_say_so(trace, change):
    pairs = planted_ioi_pairs()
    if change == "nothing corrupted":
        pairs = replace(pairs, corrupted=pairs.clean)
    else:
        pairs = replace(pairs, correct=pairs.wrong, wrong=pairs.correct)
    found = trace(pairs=pairs)
    assert found.effects["value"].isna().all()
    assert found.consistency[list(CONSISTENCY_NUMBERS)].isna().all(axis=None)
    for table in (found.effects, found.consistency):
        assert set(table["status"]) == {"no_behaviour"}
    assert found.s2i.empty
    assert found.roles.empty


def test_tables_have_the_columns_of_their_schemas_without_those_that_say_which_model(trace, found):
    shared = {"model", "variant", "step", "tokens", "task"}
    for case in (found, trace(circuit=None), trace(settings=Algorithm(min_copy=100.0))):
        frames = (case.effects, case.s2i, case.roles, case.consistency)
        schemas = (HEAD_SCORES, S2I, ROLES, ALGORITHM_CONSISTENCY)
        for frame, schema in zip(frames, schemas, strict=True):
            own = {name: kind for name, kind in schema.columns.items() if name not in shared}
            assert {name: str(kind) for name, kind in frame.dtypes.items()} == own
            assert list(frame) == list(own)
        assert len(case.effects) == 3 * 24
        assert len(case.consistency) == 18


def test_a_random_model_gives_shares_or_says_why_not(random_model, random_pairs, score_frame):
    """A model that does not do the task, but does by its own answers."""
    logits = cache_activations(random_model, random_pairs).clean.logits_end
    best, worst = logits.argmax(1).tolist(), logits.argmin(1).tolist()
    places = torch.zeros(9, dtype=torch.int64)
    pairs = replace(
        random_pairs,
        correct=[[token] for token in best],
        wrong=[[token] for token in worst],
        roles={"io": places, "s1": places + 1, "s2": places + 2},
    )
    draw = np.random.default_rng(0)
    for _ in range(5):
        known = {
            name: {(layer, head): draw.normal() for layer in range(3) for head in range(2)}
            for name in ("copy", "copy_neg", "cspa", "induction", "duplicate")
        }
        found = trace_ioi(
            random_model,
            pairs,
            scores=score_frame((3, 2), **known),
            circuit=Circuit.full(Graph(3, 2)),
            settings=Algorithm(min_copy=0.0, min_cspa=0.0),
            bootstrap=BOOTSTRAP,
            seed=0,
        )
        rows = found.consistency
        defined = rows["status"] == "ok"
        assert set(rows["panel"][defined]) >= {"direct"}
        assert rows.loc[defined, "pct"].notna().all()
        assert rows.loc[defined, "p"].between(1 / (1 + N_PERMUTATIONS), 1).all()
        assert rows.loc[~defined, ["pct", "null_high", "p"]].isna().all(axis=None)


def test_a_bridge_is_traced_as_its_decoder(planted, scores, found):
    given = {"scores": scores, "circuit": circuit_of_edges(*EDGES), "bootstrap": BOOTSTRAP}
    traced = trace_ioi(bridge_of(planted), planted_ioi_pairs(), **given, seed=0)
    pd.testing.assert_frame_equal(traced.effects, found.effects)
    pd.testing.assert_frame_equal(traced.consistency, found.consistency)


def test_a_score_that_is_not_defined_gives_no_role(trace, scores):
    found = trace(scores=scores.assign(value=np.float32(np.nan)))
    assert found.roles.empty
    assert share(found, "direct", "all")["pct"] == 0


def test_scores_that_lack_a_head_and_circuits_of_other_models_are_refused(trace, scores):
    with pytest.raises(ValueError, match=r"one row of cspa for each of 3 layers of 8 heads.* 23"):
        trace(scores=scores.drop(index=scores[scores["score"] == "cspa"].index[:1]))
    with pytest.raises(ValueError, match="3 layers of 2 heads, but the model has 3 of 8"):
        trace(circuit=Circuit.full(Graph(3, 2)))
