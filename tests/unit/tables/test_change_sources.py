"""Simulated circuits whose change has known sources."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.overlap import Parts, Shares
from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import CHANGE_SOURCES
from circuitlapse.tables.change_sources import Halves, change_sources_table, sources_of
from circuitlapse.tables.circuits import circuit_tables
from circuitlapse.types import Level
from tests.unit.tables.test_stability import HEAD, K, V, circuit, halves, settings

N_EDGES, SIZE = 3000, 100


def largest(scores, n) -> Parts:
    edges = np.sort(np.argsort(-np.abs(scores))[:n])
    return Parts(*[Shares(edges, np.full(n, 1 / n))] * 2)


def at_step(scores, noise, size, generator) -> Halves:
    """Both halves measure the scores with noise, and find circuits of some size."""
    measured = [scores + generator.normal(0, noise, N_EDGES) for _ in range(2)]
    found, matched = ([largest(half, n) for half in measured] for n in (size, SIZE))
    return Halves(0, tuple(found), tuple(matched))


def change(generator, *, noise=1e-3, kept=1.0, sizes=(SIZE, SIZE), seed_kept=None):
    """Edges outside `kept` get the scores of others; return the parts, a mean over 30 draws."""
    drawn = []
    for _ in range(30):
        scores = generator.pareto(1.2, N_EDGES)
        after = exchanged(scores, kept, generator)
        one, other = (
            at_step(values, noise, size, generator)
            for values, size in zip((scores, after), sizes, strict=True)
        )
        seeds = []
        if seed_kept is not None:
            seeds = [at_step(exchanged(after, seed_kept, generator), noise, SIZE, generator)]
        drawn.append(sources_of(one, other, seeds, level=Level.EDGE))
    return pd.DataFrame(drawn)[["size_rule", "prompts", "training", "seed", "total"]].mean()


def exchanged(scores, kept, generator):
    moved = np.flatnonzero(generator.random(N_EDGES) > kept)
    after = scores.copy()
    after[moved] = scores[generator.permutation(moved)]
    return after


@pytest.mark.parametrize(
    ("sources", "part"),
    [
        ({"noise": 3.0}, "prompts"),
        ({"kept": 0.6}, "training"),
        ({"sizes": (60, 200)}, "size_rule"),
    ],
)
def test_a_change_with_one_source_is_attributed_to_it(sources, part):
    found = change(np.random.default_rng(0), **sources)
    assert found[part] >= 0.9 * found["total"]
    assert found["total"] > 0.15


@pytest.mark.parametrize(("noise", "kept"), [*product((1.5, 3.0, 6.0), (0.5, 0.8))])
def test_training_and_prompts_are_told_apart_within_10_percent(noise, kept):
    """The truth of each part is the change by that source alone."""
    together = change(np.random.default_rng(1), noise=noise, kept=kept)
    prompts = change(np.random.default_rng(2), noise=noise)["total"]
    training = change(np.random.default_rng(3), kept=kept)["total"]
    assert together["prompts"] == pytest.approx(prompts, abs=0.1 * together["total"])
    assert together["training"] == pytest.approx(training, abs=0.1 * together["total"])
    assert abs(together["size_rule"]) <= 0.1 * together["total"]


def test_sizes_leave_the_other_parts_as_they_are():
    how = {"noise": 3.0, "kept": 0.6}
    alike, apart = (
        change(np.random.default_rng(4), sizes=sizes, **how) for sizes in ((SIZE, SIZE), (60, 200))
    )
    for part in ("prompts", "training"):
        assert apart[part] == pytest.approx(alike[part], abs=0.1 * apart["total"])
    assert apart["size_rule"] > 0.3 * apart["total"]


def test_another_seed_comes_on_top():
    found = change(np.random.default_rng(5), noise=1.5, kept=0.8, seed_kept=0.3)
    alone = change(np.random.default_rng(6), kept=0.3)["total"]
    assert found["seed"] == pytest.approx(alone, abs=0.1 * (found["total"] + alone))


def shifted(parts: Parts) -> Parts:
    """As many other edges."""
    edges = Shares(parts.edge.part + N_EDGES, parts.edge.share)
    return Parts(edges, edges)


def test_parts_add_up_and_without_overlap_there_are_none():
    generator = np.random.default_rng(7)
    one = at_step(generator.pareto(1.2, N_EDGES), 1.0, 150, generator)
    row = sources_of(one, one, level=Level.NODE)
    assert row["size_rule"] + row["prompts"] + row["training"] == pytest.approx(row["total"])
    assert np.isnan(row["seed"])
    none = Parts(*[Shares(np.zeros(0, dtype=int), np.zeros(0))] * 2)
    empty = Halves(0, (none, none), (none, none))
    assert sources_of(one, empty, level=Level.EDGE)["status"] == "no_overlap"
    assert "total" not in sources_of(one, empty, level=Level.EDGE)
    apart = Halves(0, one.found, tuple(shifted(part) for part in one.matched))
    row = sources_of(one, apart, level=Level.EDGE)
    assert row["status"] == "no_overlap"
    assert row["total"] > 0  # circuits as found do overlap
    assert "training" not in row


def table(records, variants):
    models = list(dict.fromkeys(record.model for record in records))
    order = {"models": models, "tasks": ["ioi"]}
    summary = circuit_tables(iter(records), **order).circuit_summary
    how = {"circuit_summary": summary, "variants": variants, "stability": settings()}
    found = change_sources_table(iter(records), **order, **how)
    CHANGE_SOURCES.check(found, where="test")
    return found[found["level"] == "edge"]


def test_neighbouring_steps_with_circuits_of_halves_are_compared():
    other = {**HEAD, K: 0.9, V: 0.8}
    records = [
        circuit(1, HEAD, **halves(HEAD, HEAD)),
        circuit(2, HEAD),  # no halves
        circuit(4, HEAD, **halves(HEAD, other)),
    ]
    (row,) = table(records, {"small": ["small"]}).itertuples()
    assert (row.step, row.step_next, row.n_seeds, row.status) == (1, 4, 0, "ok")
    # 2 of 2 and 4 edges, and 2 of 2 and 2
    assert row.overlap_found == pytest.approx((4 / 6 + 1) / 2)
    assert np.isnan(row.overlap_seeds)


def test_a_variant_is_the_other_seed_and_has_rows_of_its_own():
    twin = {"model": "twin", "variant": "seed2"}
    records = [
        circuit(step, HEAD, **halves(HEAD, HEAD), **named)
        for named in ({}, twin)
        for step in (1, 2)
    ]
    found = table(records, {"small": ["small", "twin"]})
    assert list(found["model"]) == ["small", "twin"]
    assert list(found["n_seeds"]) == [1, 0]
    assert found["overlap_seeds"].iloc[0] == 1.0


def test_a_variant_is_cut_at_the_size_of_its_original():
    """The same scores, but the variant's own circuit would be larger: the seed adds nothing."""
    larger = {**HEAD, K: 0.9, V: 0.8}
    twin = {"model": "twin", "variant": "seed2", "n_requested": 5}
    records = [
        circuit(step, larger, **halves(larger, larger), **named)
        for named in ({"n_requested": 2}, twin)
        for step in (1, 2)
    ]
    row = table(records, {"small": ["small", "twin"]}).iloc[0]
    assert row["overlap_seeds"] == 1.0
    assert row["seed"] == 0.0


def test_a_record_that_the_summary_lacks_is_refused_by_name():
    records = [circuit(step, HEAD, **halves(HEAD, HEAD)) for step in (1, 2)]
    summary = circuit_tables(iter(records[:1]), models=["small"], tasks=["ioi"]).circuit_summary
    how = {"circuit_summary": summary, "variants": {}, "stability": settings()}
    with pytest.raises(ArtifactError, match="not in circuit_summary"):
        change_sources_table(iter(records), models=["small"], tasks=["ioi"], **how)
