"""The result of one circuit search as plain arrays: the input of every circuit table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from circuitlapse.errors import ArtifactError, UnknownNameError, unknown_name
from circuitlapse.models.graph import HEAD_NAME, Head, split_target
from circuitlapse.types import METRIC_FACTS, Faithfulness, Level, Metric, Weighting
from circuitlapse.types.status import CertificateStatus, HeldOutStatus, Status


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitRecord:
    """The circuit of one model at one step for one task, and how it was found.

    Metrics are per prompt, in the unit of `metric`, on the clean prompts unless said
    otherwise. Intervals are bootstrap intervals over groups of prompts, at the configured level
    (95 % by default).

    Raises:
        ArtifactError: if two arrays disagree about the number of edges, sizes or prompts, or a
            status that needs a circuit comes without one.
        UnknownNameError: if `metric` or `status` is not in the vocabulary.
    """

    model: str
    variant: str
    step: int
    tokens: int
    task: str
    metric: str
    method: str
    ig_steps: int
    ig_rule: str
    selection: str
    threshold: float
    faithfulness: str
    """Which faithfulness had to reach the threshold, `raw` or `normalised`."""
    sources: tuple[str, ...]
    """Nodes that send, one per row of the matrices below."""
    targets: tuple[str, ...]
    """Inputs that receive, with their port (`a1.h2<q>`), one per column."""
    scores: Float[ndarray, "source target"]
    """Estimated effect of each edge on the metric; NaN where the graph has no edge."""
    order: Int[ndarray, "source target"]
    """Place of the edge in the order that `selection` gives, from 0; -1 where there is no edge."""
    in_circuit: Bool[ndarray, "source target"]
    status: str
    n_requested: int | None
    """Edges asked for, before pruning; None without a circuit."""
    n_eliminated: int | None
    """Edges of the pruned circuit that were dropped; None if none were tried."""
    m_model: Float[ndarray, " prompt"]
    m_model_low: float
    m_model_high: float
    m_corrupted: Float[ndarray, " prompt"]
    """The whole model on the corrupted prompts, scored with the clean answers."""
    m_circuit: Float[ndarray, " prompt"] | None
    group_of_prompt: Int[ndarray, " prompt"]
    """The group of each prompt, 0..n_groups-1; see `PromptPairs`."""
    f_raw_low: float
    f_raw_high: float
    m_held_out: Float[ndarray, " prompt"]
    """On each prompt, the circuit that the other half of the prompts gave; NaN without one."""
    f_raw_held_out_low: float
    f_raw_held_out_high: float
    held_out_status: str
    certificate_status: str
    m_complement: Float[ndarray, " prompt"]
    """On each prompt, all edges but those of the circuit of the other half; NaN without one."""
    win_share: float
    """Share of the groups of prompts on which that circuit does better than the model."""
    win_share_low: float
    win_share_high: float
    p_equivalence: float
    f_complement_low: float
    f_complement_high: float
    p_independence: float
    incompleteness: float
    """How differently that circuit and the model do without the same nodes; see `completeness`."""
    incompleteness_low: float
    incompleteness_high: float
    incompleteness_empty: float
    """The same of a circuit without edges."""
    knockout_half: Int[ndarray, " tested"]
    """Half whose circuit lost an edge, in tests of minimality."""
    knockout_source: Int[ndarray, " tested"]
    knockout_target: Int[ndarray, " tested"]
    """Row and column of the edge."""
    knockout_effect: Float[ndarray, " tested"]
    """|Change of the mean metric| on the prompts of the other half."""
    knockout_p: Float[ndarray, " tested"]
    n_edges_low: float
    n_edges_high: float
    curve_n_requested: Int[ndarray, " size"]
    curve_n_edges: Int[ndarray, " size"]
    curve_metric: Float[ndarray, "size prompt"]
    curve_held_out: Float[ndarray, "size prompt"]
    """The same for circuits along the order of edges that the other half gave."""
    ranking_name: tuple[str, ...]
    """What ranked the edges of a circuit with a fixed share of them, one name per row."""
    ranking_seed: Int[ndarray, " row"]
    """Seed of a random ranking; -1 for the others."""
    ranking_fraction: Float[ndarray, " row"]
    ranking_n_requested: Int[ndarray, " row"]
    ranking_n_edges: Int[ndarray, " row"]
    ranking_metric: Float[ndarray, "row prompt"]
    ranking_held_out: Bool[ndarray, " row"]
    """Whether no edge was ranked by a prompt that its circuit runs on."""
    half_of_prompt: Int[ndarray, " prompt"]
    """The half that each prompt is in, 0 or 1; -1 if the prompts were not split."""
    half_seed: int | None
    """Seed that split the prompts; None if they were not split."""
    half_scores: Float[ndarray, "half source target"]
    """Like `scores`, on each half alone; NaN if it was not searched."""
    half_in_circuit: Bool[ndarray, "half source target"]
    """The circuit of each half, found like that of all prompts."""
    half_status: tuple[str, ...]
    split_seed: int | None
    """Seed that all random splits follow from; None if there are none."""
    split_sizes: Int[ndarray, " compared"]
    """Numbers of edges taken for the circuits of two halves, before pruning; ascending."""
    split_overlap: Float[ndarray, "split compared level weighting"]
    """Overlap of these circuits; levels and weightings are in the order of their enums."""
    split_rank_correlation: Float[ndarray, " split"]
    """Spearman's correlation of |score| between the two halves, over all edges."""

    def __post_init__(self) -> None:
        names: list[tuple[str, str, Iterable[str]]] = [("metric", self.metric, Metric)]
        names += [("status", status, Status) for status in (self.status, *self.half_status)]
        names += [("faithfulness", self.faithfulness, Faithfulness)]
        names += [("status of held-out numbers", self.held_out_status, HeldOutStatus)]
        names += [("status of certificates", self.certificate_status, CertificateStatus)]
        for kind, name, known in names:
            if name not in set(known):
                raise UnknownNameError(f"{self.name}: {unknown_name(kind, name, known)}")
        for field, shape in self._shapes().items():
            found = np.shape(getattr(self, field))
            if found != shape:
                raise ArtifactError(f"{self.name}: {field} has shape {found}, expected {shape}")
        if self.m_circuit is None and self.status != Status.NO_BEHAVIOUR:
            raise ArtifactError(
                f"{self.name}: status {self.status} needs m_circuit; only "
                f"{Status.NO_BEHAVIOUR} goes without"
            )

    @property
    def name(self) -> str:
        """Say which circuit this is, for messages."""
        return f"circuit of {self.model} at step {self.step} for {self.task}"

    @property
    def unit(self) -> str:
        """Unit of every metric in here."""
        return METRIC_FACTS[Metric(self.metric)].unit

    @property
    def n_edges(self) -> int:
        """Number of edges in the circuit."""
        return int(self.in_circuit.sum())

    @property
    def n_groups(self) -> int:
        """Number of groups of prompts."""
        return len(np.unique(self.group_of_prompt))

    @property
    def n_edges_total(self) -> int:
        """Number of edges in the whole graph."""
        return int((~np.isnan(self.scores)).sum())

    @cached_property
    def target_names(self) -> tuple[tuple[str, str], ...]:
        """Node and port ("" when there is none) of each column."""
        return tuple(split_target(target) for target in self.targets)

    @property
    def n_nodes(self) -> int:
        """Number of nodes that an edge of the circuit touches, `input` and `logits` included."""
        rows, columns = np.nonzero(self.in_circuit)
        senders = {self.sources[row] for row in rows}
        return len(senders | {self.target_names[column][0] for column in columns})

    @property
    def heads(self) -> frozenset[Head]:
        """Layer and head of each attention head that an edge of the circuit touches."""
        rows, columns = np.nonzero(self.in_circuit)
        nodes = {self.sources[row] for row in rows}
        nodes |= {self.target_names[column][0] for column in columns}
        found = (re.match(HEAD_NAME, node) for node in nodes)
        return frozenset((int(head["layer"]), int(head["head"])) for head in found if head)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        edges = (len(self.sources), len(self.targets))
        prompts, sizes = np.shape(self.m_model), np.shape(self.curve_n_requested)
        shapes: dict[str, tuple[int, ...]]
        shapes = {"scores": edges, "order": edges, "in_circuit": edges}
        shapes |= {"group_of_prompt": prompts, "m_held_out": prompts}
        shapes |= {"m_complement": prompts}
        shapes |= {"curve_held_out": sizes + prompts}
        shapes |= {"m_corrupted": prompts, "curve_n_edges": sizes, "curve_metric": sizes + prompts}
        rows = (len(self.ranking_name),)
        shapes |= {f"ranking_{name}": rows for name in ("seed", "fraction", "n_edges", "held_out")}
        shapes |= {"ranking_n_requested": rows, "ranking_metric": rows + prompts}
        splits = np.shape(self.split_rank_correlation)
        compared = (*splits, len(self.split_sizes), len(Level), len(Weighting))
        shapes |= {"split_overlap": compared}
        tested = np.shape(self.knockout_p)
        shapes |= {f"knockout_{name}": tested for name in ("half", "source", "target", "effect")}
        halves = (len(self.half_status), *edges)
        shapes |= {"half_of_prompt": prompts, "half_scores": halves, "half_in_circuit": halves}
        return shapes if self.m_circuit is None else shapes | {"m_circuit": prompts}
