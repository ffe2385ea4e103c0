"""Lists of training steps that have a name: those of Pythia, and of the studies on it."""

from __future__ import annotations

from collections.abc import Mapping

from circuitlapse.settings import Schedule

_DOUBLING = tuple(2**power for power in range(10))


def _every(step: int, *, first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1, step))


SCHEDULES: Mapping[Schedule, tuple[int, ...]] = {
    "all": (0, *_DOUBLING, *_every(1000, first=1000, last=143_000)),
    "linear": _every(1000, first=1000, last=143_000),
    "exponential": (*_DOUBLING, *(1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 131_000)),
    "exp_plus_detail": (
        *(0, *_DOUBLING),
        *_every(1000, first=1000, last=15_000),
        *_every(5000, first=20_000, last=65_000),
        *_every(10_000, first=70_000, last=140_000),
        143_000,
    ),
    "sparse": (
        *(256, 512),
        *_every(1000, first=1000, last=9000),
        *_every(5000, first=10_000, last=45_000),
        *_every(10_000, first=50_000, last=90_000),
        *(100_000, 120_000, 140_000, 143_000),
    ),
    "quick": (0, 64, 512, 1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 100_000, 143_000),
}
"""Every step in them was published (Biderman et al. 2023, arXiv 2304.01373): 0, powers of two up
to 512, and every 1000. All but `quick` are those of Tigges et al. 2024 (arXiv 2407.10827), whose
`exp_plus_detail` lacks 0 and 143000."""

PUBLISHED = SCHEDULES["all"]
"""The steps that every Pythia model was published at."""
PUBLISHED_BY = "EleutherAI/pythia"
"""How the repositories of those models begin."""
