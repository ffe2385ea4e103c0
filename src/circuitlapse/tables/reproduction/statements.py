"""The registry of statements that a run on Pythia can confirm or contradict."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pandas as pd

from circuitlapse.tables.reproduction.base import Run, Statement, judged
from circuitlapse.tables.reproduction.claims import (
    attends_by_chance,
    below_chance_first,
    copy_score_by,
    half_level,
    heads_have_roles,
    larger_models_have_larger_circuits,
    late_peak,
    mostly_below,
    no_circuit_untrained,
    opposite_when_corrupted,
    sizes_jump,
    stable_by,
    unable,
)
from circuitlapse.types import Role

STUDY = "arXiv 2407.10827"

_CODE = f"code and results of {STUDY}"
_REVIEW = "OpenReview Czu86eIuWb"
_MODEL_FREE = "follows from the definition"
_S2_TO_IO = "with the corruption s2_to_io"
_FOLDED = "with copy_ln folded"
_NEAR_CHANCE = 0.4
"""Share of chance; for 100 tokens: 0.025 within 0.01, and 0.007 within 0.003."""


def _emerges(size: str, builder: str, low: int, high: int) -> Statement:
    when = f"between steps {low} and {high}" if low else f"by step {high}"
    return Statement(
        f"emergence_{builder}_{size}",
        f"{size} reaches half of its late level on {builder}",
        when,
        _CODE,
        half_level(size, builder, low, high),
    )


def _roles(name: str, size: str, roles: tuple[Role, ...], *heads: tuple[int, int]) -> Statement:
    listed = ", ".join(f"({layer},{head})" for layer, head in heads)
    return Statement(
        f"{name}_{size}",
        f"{name.replace('_', ' ')} of {size} at the end of training",
        f"include {listed}",
        _CODE,
        heads_have_roles(size, roles, heads),
    )


def _at_chance(score: str) -> Statement:
    return Statement(
        f"untrained_{score}",
        f"mean {score} of the heads of every untrained model",
        f"that of uniform attention, within {100 * _NEAR_CHANCE:g} %",
        _MODEL_FREE,
        attends_by_chance(score, _NEAR_CHANCE),
    )


def _no_ability(builder: str, bound: float) -> Statement:
    return Statement(
        f"untrained_{builder}",
        f"metric of {builder} of every untrained model",
        f"{-bound:g} to {bound:g}, or within three standard errors of 0",
        _MODEL_FREE,
        unable(builder, bound),
    )


STATEMENTS: tuple[Statement, ...] = (
    _emerges("160m", "greater_than", 3000, 4000),
    _emerges("160m", "ioi", 6000, 8000),
    _emerges("410m", "ioi", 4000, 5000),
    _emerges("2.8b", "ioi", 0, 3000),
    Statement(
        "peak_ioi_410m",
        "ioi of 410m peaks early and is lower afterwards",
        "largest between steps 6000 and 8000",
        _CODE,
        late_peak("410m", "ioi", 6000, 8000),
    ),
    Statement(
        "below_chance_160m",
        "ioi accuracy of 160m first falls below chance and then recovers",
        "clearly below 0.5 before step 10000, clearly above it later",
        _REVIEW,
        below_chance_first("160m"),
    ),
    Statement(
        "opposite_160m",
        f"corrupted over clean logit difference of 160m on ioi, {_S2_TO_IO}",
        "-1, within 15 %, at the end of training",
        _CODE,
        opposite_when_corrupted("160m"),
    ),
    _roles("name_movers", "160m", (Role.NAME_MOVER,), (8, 2), (8, 10)),
    _roles(
        "copy_suppression_heads",
        "160m",
        (Role.COPY_SUPPRESSION, Role.NEGATIVE_COPY_SUPPRESSION),
        (8, 9),
    ),
    _roles("s_inhibition_heads", "160m", (Role.S_INHIBITION,), (6, 6), (7, 2), (7, 9)),
    _roles(
        "induction_and_duplicate_heads",
        "160m",
        (Role.INDUCTION, Role.DUPLICATE_TOKEN),
        (4, 6),
        (4, 11),
    ),
    _roles("name_movers", "410m", (Role.NAME_MOVER,), (12, 8), (13, 5), (17, 6)),
    Statement(
        "copy_13_5_410m_early",
        f"copy score of head (13,5) of 410m, {_FOLDED}",
        "above 10 by step 4000",
        _CODE,
        copy_score_by("410m", (13, 5), 10.0, 4000),
    ),
    Statement(
        "copy_13_5_410m",
        f"copy score of head (13,5) of 410m, {_FOLDED}",
        "above 90 by step 6000",
        _CODE,
        copy_score_by("410m", (13, 5), 90.0, 6000),
    ),
    Statement(
        "size_jumps_160m",
        "ioi circuits of 160m jump in size between neighbouring steps",
        "somewhere by a factor of 2 or more",
        _CODE,
        sizes_jump("160m", "ioi"),
    ),
    Statement(
        "small_circuits_160m",
        "ioi circuits of 160m are small",
        "mostly below 500 edges",
        _CODE,
        mostly_below("160m", "ioi", 500),
    ),
    *(
        Statement(
            f"size_correlation_{builder}",
            f"larger models have larger circuits for {builder} (nodes, log parameters)",
            "r above 0, with p below 0.05",
            STUDY,
            larger_models_have_larger_circuits(builder),
        )
        for builder in ("ioi", "greater_than", "gendered_pronoun", "sva")
    ),
    *(
        Statement(
            f"stability_gendered_pronoun_{size}",
            f"smoothed edge overlap of neighbouring circuits of {size} as found, gendered_pronoun",
            "0.7 or more by step 6000",
            _CODE,
            stable_by(size, "gendered_pronoun", 0.7, 6000),
        )
        for size in ("70m", "160m", "410m", "1.4b", "2.8b")
    ),
    *(_no_ability(builder, 0.1) for builder in ("ioi", "gendered_pronoun")),
    *(_no_ability(builder, 0.01) for builder in ("greater_than", "sva")),
    *(_at_chance(score) for score in ("prev_token", "induction", "duplicate")),
    Statement(
        "untrained_circuits",
        "no untrained model has a circuit for any task",
        "all without",
        _MODEL_FREE,
        no_circuit_untrained,
    ),
)
"""In the order in which they are reported."""

_log = logging.getLogger(__name__)


def reproduction_table(
    *,
    pythia_sizes: Mapping[str, str],
    task_of_builder: Mapping[str, str | None],
    lengths: Sequence[int],
    corruption: str | None,
    copy_ln: str,
    **tables: pd.DataFrame,
) -> pd.DataFrame:
    """Make the table `reproduction`: every statement, and what this run measured.

    Args:
        pythia_sizes: see `Run`.
        task_of_builder: `tasks` of a `Run`.
        lengths: see `Run`.
        corruption: see `Run`.
        copy_ln: see `Run`.
        tables: the tables of the run by name.
    """
    run = Run(
        tables,
        pythia_sizes,
        task_of_builder,
        lengths=lengths,
        corruption=corruption,
        copy_ln=copy_ln,
    )
    table = judged(run, STATEMENTS)
    for verdict, count in table["verdict"].value_counts().items():
        _log.info("%s: %d statements", verdict, count)
    return table
