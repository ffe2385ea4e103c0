"""Certificates: tests of what one claims by calling a set of edges the circuit of a task.

The tests are those of Shi et al. 2024 (arXiv 2410.13032), on prompts that no edge was chosen by:
the circuit of each half of the prompts is tested on the other half, and both together give one
result. They work on one value per group of prompts.

- Equivalence: circuit and model do better than each other equally often.
- Independence: the complement, all edges outside the circuit, does not know the answer.
- Minimality: each edge matters more than a random edge of an inflated circuit (see `minimality`).

Completeness (see `completeness`) is measured beside them: it is no test.

A small p speaks against the circuit in the first two, and for it in the third. The first two allow
for a margin. Without one, any difference becomes significant if there are enough prompts, and a
circuit of a given faithfulness always leaves one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from circuitlapse.circuits.discovery.completeness import Removals, removal_circuits
from circuitlapse.circuits.discovery.held_out import HeldOut
from circuitlapse.circuits.discovery.minimality import Knockouts, Trial
from circuitlapse.circuits.discovery.search import Search
from circuitlapse.circuits.discovery.split_half import SplitHalf
from circuitlapse.circuits.selection import Circuit
from circuitlapse.models.load import model_graph
from circuitlapse.settings.analysis import Bootstrap
from circuitlapse.statistics import (
    Groups,
    Interval,
    group_sums,
    group_values,
    p_of_share,
    ratio_interval,
    share_interval,
    sign_flip_p,
)
from circuitlapse.types import N_SUBSETS
from circuitlapse.types.status import CertificateStatus, HeldOutStatus

WIN_MARGIN = 0.1
"""The circuit may win on between 40 % and 60 % of the groups; epsilon of the source."""
KNOWN_MARGIN = 0.05
"""The complement may know this share of what corruption takes away."""
TIE = 1e-4
"""Metrics closer than this share of the model's mean metric are equal up to rounding."""


@dataclass(frozen=True, eq=False)
class Certificates:
    """What the tests of a circuit need.

    Attributes:
        status: whether there are certificates.
        m_complement: of the complement of the other half's circuit [prompt]; NaN without.
        knockouts: the loss of single edges of these circuits.
        removals: these circuits and the model without the same nodes; None without certificates.
    """

    status: CertificateStatus
    m_complement: Float[ndarray, " prompt"]
    knockouts: Knockouts
    removals: Removals | None = None


class Equivalence(NamedTuple):
    """How often the circuit does better than the model.

    Attributes:
        share: of the groups in which it does; one in which both are equal counts half.
        interval: of the share, at the level of the bootstrap.
        p: of a share between 1/2 - `WIN_MARGIN` and 1/2 + `WIN_MARGIN`.
    """

    share: float = np.nan
    interval: Interval = (np.nan, np.nan)
    p: float = np.nan


class Independence(NamedTuple):
    """How much the complement knows of the answer.

    Attributes:
        interval: bootstrap interval of (m(complement) - m(corrupted)) / (m(model) - m(corrupted)).
        p: of a share between -`KNOWN_MARGIN` and `KNOWN_MARGIN`.
    """

    interval: Interval = (np.nan, np.nan)
    p: float = np.nan


def certify(whole: Search, split: SplitHalf, held_out: HeldOut) -> Certificates:
    """Run what the tests need: on each half, the circuit of the other half, changed in many ways.

    Args:
        whole: the search on all prompts.
        split: its halves.
        held_out: the circuits of these on the other half.
    """
    m_complement = np.full(len(whole.pairs), np.nan)
    status = _status(whole, held_out)
    if status != CertificateStatus.OK:
        return Certificates(status, m_complement, Knockouts.none())
    graph, knockouts, second_half = model_graph(whole.model), [], split.of_prompt == 1
    removed = np.full((2 * N_SUBSETS, len(whole.pairs)), np.nan)
    for half in (0, 1):
        rows, other = np.flatnonzero(split.of_prompt == half), 1 - half
        found = Circuit(graph, split.in_circuit[other])
        seed = (whole.bootstrap.seed, other)
        trial = Trial.of(found, n_edges=whole.settings.knockouts, seed=seed)
        without = removal_circuits(found, seed=seed)
        # All in one call, which shares what circuits have in common; [circuit, row]
        metric = whole.on(rows).evaluate([complement(found), *without, *trial.circuits])
        m_complement[rows], removed[:, rows] = metric[0], metric[1 : 1 + len(without)]
        knockouts.append(trial.result(metric[1 + len(without) :].mean(1), half=other))
    removals = Removals(removed[:N_SUBSETS], removed[N_SUBSETS:], second_half)
    return Certificates(status, m_complement, Knockouts.joined(knockouts), removals)


def complement(circuit: Circuit) -> Circuit:
    """Return all edges outside a circuit."""
    return Circuit(circuit.graph, circuit.graph.exists & ~circuit.mask)


def equivalence(
    m_circuit: Float[ndarray, " prompt"],
    m_model: Float[ndarray, " prompt"],
    *,
    bootstrap: Bootstrap,
    groups: Groups,
    margin: float = WIN_MARGIN,
) -> Equivalence:
    """Test whether circuit and model do better than each other equally often.

    The null hypothesis is |P(circuit does better) - 1/2| <= margin. Under it, a share as far from
    1/2 as the one found is likeliest at the margin, where p is exact (binomial).

    Args:
        m_circuit: on prompts that its edges were not chosen by.
        m_model: of the whole model.
        bootstrap: for the level of the interval, which is Wilson's.
        groups: of the prompts; means over a group are compared.
        margin: see above.

    Source: Shi et al. 2024 (arXiv 2410.13032), equivalence test.
    """
    sums, sizes = group_sums(m_circuit - m_model, groups)
    gains = sums / sizes  # [group]
    equal = np.abs(gains) <= TIE * abs(m_model.mean())
    share = float(np.where(equal, 0.5, gains > 0).mean())
    n_groups = len(gains)
    interval = share_interval(share, n_groups, level=bootstrap.level)
    return Equivalence(share, interval, p_of_share(share, n_groups, margin=margin))


def independence(
    m_complement: Float[ndarray, " prompt"],
    m_model: Float[ndarray, " prompt"],
    m_corrupted: Float[ndarray, " prompt"],
    *,
    bootstrap: Bootstrap,
    groups: Groups,
    margin: float = KNOWN_MARGIN,
) -> Independence:
    """Test whether the complement knows the answer.

    It knows nothing if clean inputs move its metric in either direction alike. The null hypothesis
    is that the mean over prompts moves by at most `margin` of what corruption takes away. For each
    end of this range, signs of the values of groups are flipped at random. That is exact if they
    lie symmetrically around the end, as they do around 0 if right and wrong answers are exchanged
    at random.

    Args:
        m_complement: with the edges of the circuit corrupted.
        m_model: of the whole model.
        m_corrupted: of the model on corrupted prompts.
        bootstrap: for the interval; its seed also draws the signs.
        groups: of the prompts.
        margin: see above.

    Source: after Shi et al. 2024 (arXiv 2410.13032), who test whether the metrics of complement
    and model depend on each other. Metrics of language models do in any case: both depend on how
    common the words of a prompt are. So what is tested here is whether it knows the answer.
    """
    known, gap = m_complement - m_corrupted, m_model - m_corrupted
    ends = [sign * known - margin * gap for sign in (1, -1)]
    p = min(sign_flip_p(group_values(end, groups), seed=bootstrap.seed) for end in ends)
    return Independence(ratio_interval(known, gap, bootstrap, groups), min(1.0, 2 * p))


def _status(whole: Search, held_out: HeldOut) -> CertificateStatus:
    if held_out.status == HeldOutStatus.OK and not whole.settings.certificates:
        return CertificateStatus.OFF
    return CertificateStatus(str(held_out.status))
