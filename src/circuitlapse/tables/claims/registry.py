"""Every claim: the sentence, what is measured, and the control.

The sentences are those of Tigges et al. 2024 (arXiv 2407.10827), in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

EVERY_SUBJECT = "all"
"""The subject of the row that sums up a claim."""


@dataclass(frozen=True)
class Claim:
    """One sentence that a run can support or contradict.

    Attributes:
        sentence: what is claimed, of all subjects.
        measured: what is measured of each subject.
        unit: of what is measured.
        control: what the value is held against.
        subject: what the sentence is tested on, one by one.
        counts: what n counts.
        evidence: what measures it, as "module:function" in this package.
    """

    sentence: str
    measured: str
    unit: str
    control: str
    subject: str
    counts: str
    evidence: str

    def function(self) -> Callable[..., Iterator[Any]]:
        """Import and return the function that yields the evidence."""
        module, _, name = self.evidence.partition(":")
        function: Callable[..., Iterator[Any]] = getattr(
            import_module(f"{__package__}.{module}"), name
        )
        return function


CLAIMS: Mapping[str, Claim] = {
    "emergence_across_sizes": Claim(
        "Tasks and components emerge after similar numbers of tokens in all sizes",
        measured="slope of log tokens at half level on log parameters",
        unit="log10 tokens per log10 parameters",
        control="a factor of two in tokens over a factor of ten in parameters",
        subject="task or component",
        counts="models",
        evidence="evidence_over_time:across_sizes",
    ),
    "emergence_together": Claim(
        "Components emerge together with the task that needs them",
        measured="mean lag of the component behind the task",
        unit="log10 tokens",
        control="a factor of two in tokens",
        subject="component",
        counts="models",
        evidence="evidence_over_time:together",
    ),
    "heads_change": Claim(
        "The heads that implement a role change over training",
        measured="share of neighbouring steps at which the heads of a role to the logits changed",
        unit="share",
        control="5 %: changes of the prompts alone, from halves of them",
        subject="role in a model",
        counts="pairs of steps",
        evidence="evidence_in_algorithm:heads_change",
    ),
    "shares_remain": Claim(
        "Heads with a known role do the task at every step",
        measured="lowest share of an effect that heads with a role explain, over steps",
        unit="%",
        control="permuted scores at each step; 20 points below the last step",
        subject="panel in a model",
        counts="steps",
        evidence="evidence_in_algorithm:shares_remain",
    ),
    "algorithm_remains": Claim(
        "The algorithm remains while heads change",
        measured="largest change of the effect of a path between roles, from the last step",
        unit="share of the drop to the corrupted level",
        control="a quarter of the drop",
        subject="model",
        counts="steps",
        evidence="evidence_in_algorithm:algorithm_remains",
    ),
    "algorithm_across_sizes": Claim(
        "All sizes have the same algorithm",
        measured="mean distance of two sizes in the effects of the paths between roles",
        unit="distance",
        control="effects exchanged over paths at random; seeds of one size",
        subject="task",
        counts="models",
        evidence="evidence_in_algorithm:algorithm_across_sizes",
    ),
    "larger_circuits": Claim(
        "Larger models have larger circuits",
        measured="correlation of circuit size with log parameters",
        unit="correlation",
        control="sizes permuted over models",
        subject="task",
        counts="models",
        evidence="evidence_in_circuits:larger_circuits",
    ),
    "stabler_circuits": Claim(
        "Larger models have more stable circuits",
        measured="correlation of overlap above the noise floor with log parameters",
        unit="correlation",
        control="overlaps permuted over models",
        subject="task",
        counts="models",
        evidence="evidence_in_circuits:stabler_circuits",
    ),
    "faithful_circuits": Claim(
        "Circuits are faithful",
        measured="mean faithfulness on held-out prompts",
        unit="ratio",
        control="the threshold of the search; against it, 0.1 less",
        subject="task",
        counts="models",
        evidence="evidence_in_circuits:faithful_circuits",
    ),
    "complement_does_nothing": Claim(
        "What is left without the circuit does not do the task",
        measured="mean faithfulness of the complement (normalised) on held-out prompts",
        unit="ratio",
        control="10 % of what corruption takes away",
        subject="task",
        counts="models",
        evidence="evidence_in_circuits:complement_does_nothing",
    ),
    "small_circuits": Claim(
        "Most edges of a circuit are needed",
        measured="mean share of edges that matter more than a random edge",
        unit="share",
        control="half of the edges tested",
        subject="task",
        counts="models",
        evidence="evidence_in_circuits:small_circuits",
    ),
}
"""Claim by name, in the order of tables and figures."""
