"""The keys that say which tasks there are."""

from __future__ import annotations

from typing import Literal

from circuitlapse.config.fields import SEED, Section, key
from circuitlapse.types import MIN_PROMPTS, Metric

BUILDERS = {
    "ioi": Metric.LOGIT_DIFF,
    "gendered_pronoun": Metric.LOGIT_DIFF,
    "greater_than": Metric.PROB_DIFF,
    "sva": Metric.PROB_DIFF,
}
"""The tasks that come with Circuitlapse, and the metric that each is scored with."""

DRAWN_AT_RANDOM = ("ioi", "greater_than", "sva")
"""Builders whose prompts are drawn from too many for "all there are" to be of use."""

TaskMetric = Literal[Metric.LOGIT_DIFF, Metric.PROB_DIFF]
Builder = Literal["ioi", "gendered_pronoun", "greater_than", "sva"]
Corruption = Literal["s2_to_io", "s2_to_random"]


class Task(Section):
    """One task: pairs of a clean and a corrupted prompt, and the metric that scores them."""

    name: str = key(
        "Name in paths, tables and figures; each task has its own.",
        reruns="prompts of this task; activations and circuits of all",
        pattern=r"^[a-z][a-z0-9_]*$",
        allowed="small letters, digits and '_', with a letter first",
        examples=["ioi"],
    )
    builder: Builder | None = key(
        "The built-in task that makes the prompts; not together with file.",
        reruns="prompts",
        otherwise="`name`, unless there is a file",
    )
    file: str | None = key(
        "A file of your own prompts, relative to the working directory; not together with builder.",
        None,
        reruns="prompts",
        pattern=r"\.(csv|jsonl)$",
        allowed="a path that ends in .csv or .jsonl",
    )
    metric: TaskMetric = key(
        "How a prompt is scored; set it for a file only, because a builder fixes its own.",
        reruns="prompts",
        examples=["logit_diff"],
        otherwise="fixed by the builder; required with a file",
    )
    n_prompts: int | None = key(
        "Number of prompt pairs; null takes all there are, for gendered_pronoun and for a file; "
        "the prompts of the other tasks are drawn at random.",
        reruns="prompts",
        ge=MIN_PROMPTS,
        le=100_000,
        otherwise="100; null with a file",
    )
    seed: int = key(
        "Seed that draws the prompts of this task.",
        reruns="prompts",
        otherwise="`seed` of the top level",
        **SEED,
    )
    prepend_bos: bool = key(
        "Start every prompt with a begin-of-text token; Pythia was trained without one.",
        False,
        reruns="prompts",
    )
    corruption: Corruption | None = key(
        "For ioi: a corrupted prompt names, in place of the second subject, the indirect object "
        "(s2_to_io, the paper's) or a third person (s2_to_random).",
        reruns="prompts",
        otherwise="s2_to_io for ioi, else null",
    )

    @property
    def options(self) -> dict[str, str]:
        """Keyword arguments that only this task's builder understands."""
        return {"corruption": self.corruption} if self.corruption else {}
