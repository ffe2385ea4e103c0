"""Every table, what it is made from, and the function that makes it.

The Snakefile imports this module, so it needs neither pandas nor torch. The tables of one entry
are made by one job, whose rule is called `aggregate_` and the name of the entry. A new table is

- a schema in `circuitlapse.schemas`;
- a function, and an entry here;
- a mask in `masking.MASKS`, if some numbers are undefined where a model does not do the task;
- a section of `docs/tables.md`, and a row in `docs/workflow.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Files(NamedTuple):
    """Result files of other jobs: one per model, and per step and task if their path has these.

    Attributes:
        path: name of the path template, an attribute of `circuitlapse.paths.Paths`.
        schema: of each Parquet file; empty for files of another kind.
        table: what the template has in place of `{table}`, if anything.
        every_model: also of models of which only the behaviour is measured.
    """

    path: str
    schema: str = ""
    table: str = ""
    every_model: bool = False


@dataclass(frozen=True)
class Job:
    """One or several tables that are made together.

    Attributes:
        message: what Snakemake says when the job starts.
        make: "module:function" in this package. The function takes the files, the inputs and the
            settings as keyword arguments of the same name. It returns one table, or a named tuple
            of several with the names of `tables`.
        tables: table -> what it holds, in one line.
        files: argument -> result files of other jobs. The function gets an iterator over their
            contents: a DataFrame or a `CircuitRecord` per file.
        inputs: other tables that these are made from.
        settings: what else they depend on; `plan.workflow` has the values.
    """

    message: str
    make: str
    tables: Mapping[str, str]
    files: Mapping[str, Files] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ("models", "tasks")

    @property
    def audited(self) -> bool:
        """Whether results of checkpoints that the table `audit` leaves out are dropped."""
        return bool(self.files) and "audit" not in self.tables

    def function(self) -> Callable[..., Any]:
        """Import and return the function that makes the tables."""
        module, _, name = self.make.partition(":")
        function: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return function

    def run(self, **given: Any) -> dict[str, pd.DataFrame]:
        """Make the tables.

        Args:
            given: the contents of files, the tables and the settings, by name.

        Returns:
            Table by name, in the order of `tables`.
        """
        made = self.function()(**given)
        if len(self.tables) == 1:
            return dict.fromkeys(self.tables, made)
        by_name = made._asdict()
        return {name: by_name[name] for name in self.tables}


PUBLISHED = "published_"
"""The names of rules about the authors' results have this after their first word."""

JOBS: Mapping[str, Job] = {
    "behaviour": Job(
        "Collect the behaviour of all models",
        "collected:behaviour_table",
        {"behaviour": "how well each model does each task"},
        files={"behaviour": Files("behaviour", "behaviour", every_model=True)},
    ),
    "circuits": Job(
        "Collect all circuits",
        "circuits:circuit_tables",
        {
            "circuit_summary": "size and faithfulness of each circuit",
            "faithfulness_curve": "faithfulness at every size that the search tried",
            "circuit_edges": "the edges of each circuit",
            "ranking_curve": "faithfulness at fixed sizes, for several orders of the edges",
            "ranking_area": "each of these curves in two numbers",
        },
        files={"records": Files("circuit")},
    ),
    "components": Job(
        "Collect the scores of all heads",
        "components:components_table",
        {"components": "the scores of every attention head"},
        files={"heads": Files("heads", "heads"), "effects": Files("algorithm", "heads", "effects")},
        inputs=("circuit_summary", "circuit_edges"),
        settings=("models", "task_of_builder"),
    ),
    "algorithm": Job(
        "Collect the traces of the known algorithms",
        "collected:algorithm_tables",
        {
            "s2i": "tests of S-inhibition heads",
            "roles": "heads with a role in the IOI algorithm",
            "algorithm_consistency": "shares of effects that heads with a role explain",
            "role_graph": "effects of the heads of a role on those of another, and on the logits",
            "self_repair": "how much of the effect of a role others make up for when it is ablated",
            "gt_algorithm": "tests of the Greater-Than algorithm",
        },
        files={
            name: Files("algorithm", name, name)
            for name in (
                *("s2i", "roles", "algorithm_consistency"),
                *("role_graph", "self_repair", "gt_algorithm"),
            )
        },
        inputs=("circuit_summary",),
    ),
    "turnover": Job(
        "Compare the heads of every role over training",
        "turnover:turnover_table",
        {"turnover": "how much the heads of a role change between steps, against the noise floor"},
        files={"splits": Files("algorithm", "role_splits", "role_splits")},
        inputs=("roles", "circuit_summary"),
        settings=("models", "task_of_builder"),
    ),
    "hand_over": Job(
        "Correlate turnover and self-repair over training",
        "hand_over:hand_over_table",
        {"hand_over": "whether heads of a role change more where more of its effect is repaired"},
        inputs=("turnover", "self_repair"),
        settings=("models", "tasks"),
    ),
    "stability": Job(
        "Compare circuits over training",
        "stability:stability_table",
        {"stability": "overlap of circuits: over training, and between halves of the prompts"},
        files={"records": Files("circuit")},
        inputs=("circuit_summary",),
        settings=("models", "tasks", "originals", "stability"),
    ),
    "change_sources": Job(
        "Find where the change of circuits comes from",
        "change_sources:change_sources_table",
        {"change_sources": "where the change of circuits between two steps comes from"},
        files={"records": Files("circuit")},
        inputs=("circuit_summary",),
        settings=("models", "tasks", "variants", "stability"),
    ),
    "transfer": Job(
        "Collect the transfers of all circuits",
        "collected:transfer_table",
        {"transfer": "how well circuits do at other steps and on other tasks"},
        files={"transfer": Files("transfer", "transfer")},
        inputs=("circuit_summary",),
    ),
    "size_correlation": Job(
        "Correlate circuit size with model size",
        "size_correlation:size_correlation_table",
        {"size_correlation": "circuit size against model size"},
        inputs=("circuit_summary", "behaviour"),
        settings=("originals", "tasks", "min_step"),
    ),
    "emergence": Job(
        "Find when tasks and components emerge",
        "emergence:emergence_tables",
        {
            "emergence": "when tasks and components reach half of their rise",
            "emergence_trends": "whether they do so at the same time in all sizes, and together",
        },
        files={"by_group": Files("by_group", "behaviour_by_group", every_model=True)},
        inputs=("behaviour", "components"),
        settings=(
            *("models", "variants", "tasks", "task_of_builder"),
            *("bootstrap", "lengths", "role_rule"),
        ),
    ),
    "swaps": Job(
        "Collect all swaps of heads",
        "collected:swaps_table",
        {"swaps": "how well models do with heads of another step"},
        files={"swaps": Files("swaps", "swaps")},
    ),
    "claims": Job(
        "Test the claims of the study",
        "claims:claims_table",
        {"claims": "the sentences of the study, and what this run says about each"},
        inputs=(
            *("behaviour", "circuit_summary", "emergence_trends", "size_correlation"),
            *("stability", "algorithm_consistency", "turnover", "role_graph"),
        ),
        settings=("originals", "tasks", "threshold", "min_step", "seed", "bootstrap"),
    ),
    "reproduction": Job(
        "Compare this run with published results",
        "reproduction.statements:reproduction_table",
        {"reproduction": "published results on Pythia, and this run"},
        inputs=(
            *("behaviour", "circuit_summary", "components"),
            *("roles", "stability", "size_correlation"),
        ),
        settings=("pythia_sizes", "task_of_builder", "lengths", "corruption", "copy_ln"),
    ),
    "checkpoints": Job(
        "Compare the weights of all checkpoints",
        "checkpoints:checkpoint_tables",
        {
            "audit": "whether checkpoints hold the weights of their steps",
            "checkpoints": "the matrices of each checkpoint beside those of other steps",
        },
        files={
            "fingerprints": Files("weights", every_model=True),
            "hub": Files("audited"),
        },
        settings=("models", "duplicates"),
    ),
}

AUTHORS: Mapping[str, Job] = {
    "behaviour": Job(
        "Collect the published behaviour of all models",
        "collected:behaviour_table",
        {"behaviour": JOBS["behaviour"].tables["behaviour"]},
        files={"behaviour": Files("baselines", "behaviour")},
    ),
    "circuits": Job(
        "Collect all published circuits",
        "published:published_tables",
        {"published": "what the authors published, by model, step and task"}
        | dict(JOBS["circuits"].tables),
        files={"records": Files("circuit"), "curves": Files("curves", "published_curve")},
        inputs=("behaviour",),
    ),
    "stability": JOBS["stability"],
    "size_correlation": JOBS["size_correlation"],
}
"""The tables of the authors' results, in a folder of their own; see docs/published.md."""

COMPARISONS: Mapping[str, Job] = {
    "agreement": Job(
        "Compare this run with the authors' results",
        "agreement:agreement_table",
        {"agreement": "this run beside the authors' results"},
        files={"records": Files("circuit"), "published_records": Files("circuit")},
        inputs=("circuit_summary", "published"),
    ),
}
"""The tables about a run and the authors' results."""


def job_of(rule: str) -> Job:
    """Return the job of a rule called `aggregate_NAME`, or `aggregate_published_NAME`."""
    name = rule.removeprefix("aggregate_")
    if name.startswith(PUBLISHED):
        return AUTHORS[name.removeprefix(PUBLISHED)]
    return {**JOBS, **COMPARISONS}[name]


TABLES: Mapping[str, str] = {
    name: text for job in JOBS.values() for name, text in job.tables.items()
}
"""Every table of a run, and what it holds in one line."""

ALL_TABLES: Mapping[str, str] = {
    name: text
    for jobs in (JOBS, AUTHORS, COMPARISONS)
    for job in jobs.values()
    for name, text in job.tables.items()
}
"""The same with those about the authors' results."""
