"""Every figure: its title, what it is drawn from, and the function that draws it.

The Snakefile and the command line read this module, so it imports neither matplotlib nor pandas.
A new figure is a function, an entry here, and a caption `workflow/report/NAME.rst`. Tables of
figures in the pages are written from these entries by `python -m circuitlapse.config --write`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from circuitlapse.tables.registry import AUTHORS, PUBLISHED


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        title: its label in the report.
        shows: what it shows, for the table in the README.
        draw: "module:function" in this package. The function takes every table and every setting
            as a keyword argument of the same name, and returns a matplotlib figure.
        tables: the tables it is drawn from, in `results/tables/`.
        settings: what else it needs; `plan.workflow` has their values.
    """

    title: str
    shows: str
    draw: str
    tables: tuple[str, ...]
    settings: tuple[str, ...]

    def function(self) -> Callable[..., Any]:
        """Import and return the function that draws this figure."""
        module, _, name = self.draw.partition(":")
        function: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return function


FIGURES = {
    "claims": Figure(
        "claims of the study",
        shows="what this run says about each claim of the study",
        draw="claims:claims_figure",
        tables=("claims",),
        settings=(),
    ),
    "behaviour": Figure(
        "abilities over training",
        shows="how well each model does each task over training",
        draw="behaviour:behaviour_figure",
        tables=("behaviour",),
        settings=("labels", "tasks", "min_step"),
    ),
    "circuits": Figure(
        "circuit size and faithfulness over training",
        shows="circuit size and faithfulness over training",
        draw="circuits:circuits_figure",
        tables=("circuit_summary",),
        settings=("labels", "tasks", "threshold", "min_step"),
    ),
    "certificates": Figure(
        "tests of circuits on other prompts",
        shows="how many circuits pass tests on prompts that did not choose them",
        draw="certificates:certificates_figure",
        tables=("circuit_summary",),
        settings=("labels", "tasks", "min_step"),
    ),
    "faithfulness": Figure(
        "faithfulness against circuit size",
        shows="faithfulness against circuit size at the last step",
        draw="faithfulness:faithfulness_figure",
        tables=("faithfulness_curve", "ranking_curve", "circuit_summary"),
        settings=("labels", "tasks", "threshold"),
    ),
    "faithfulness_over_training": Figure(
        "faithfulness against size, per step",
        shows="faithfulness against circuit size at every step",
        draw="faithfulness:faithfulness_over_training_figure",
        tables=("faithfulness_curve", "circuit_summary"),
        settings=("labels", "tasks", "threshold", "min_step"),
    ),
    "components": Figure(
        "heads over training, by three rules",
        shows="when successor, induction, copy-suppression and copying heads emerge",
        draw="components:components_figure",
        tables=("components",),
        settings=("labels", "tasks", "lengths", "role_rule", "min_step"),
    ),
    "components_per_model": Figure(
        "heads of each model over training",
        shows="the same scores for the heads of each model",
        draw="components:components_per_model_figure",
        tables=("components",),
        settings=("labels", "tasks", "lengths", "role_rule", "min_step"),
    ),
    "emergence": Figure(
        "emergence of tasks and components",
        shows="when tasks and components emerge, with intervals",
        draw="emergence:emergence_figure",
        tables=("emergence",),
        settings=("labels",),
    ),
    "tertiary_heads": Figure(
        "induction, duplicate and previous-token heads",
        shows="the best induction, duplicate-token and previous-token heads",
        draw="components:tertiary_heads_figure",
        tables=("components",),
        settings=("labels", "lengths", "role_rule", "min_step"),
    ),
    "ioi_components": Figure(
        "heads of the IOI circuit over training",
        shows="what the heads of the IOI circuit do",
        draw="ioi_components:ioi_components_figure",
        tables=("components", "s2i"),
        settings=("labels", "ioi_task", "min_step"),
    ),
    "algorithm": Figure(
        "IOI algorithm over training",
        shows="what share of the effects in the IOI algorithm has a known role, against chance",
        draw="algorithm:algorithm_figure",
        tables=("algorithm_consistency",),
        settings=("labels", "ioi_task", "min_step"),
    ),
    "role_graph": Figure(
        "graph of roles in the IOI algorithm",
        shows="what the heads of a role do to those of another, at a middle step and at the last",
        draw="role_graph:role_graph_figure",
        tables=("role_graph",),
        settings=("labels",),
    ),
    "turnover": Figure(
        "turnover of roles in the IOI algorithm",
        shows="how much the heads of each role change between steps, against the noise floor",
        draw="turnover:turnover_figure",
        tables=("turnover",),
        settings=("labels", "min_step"),
    ),
    "self_repair": Figure(
        "self-repair of roles in the IOI algorithm",
        shows="how much of the direct effect of a role others make up for when it is ablated",
        draw="self_repair:self_repair_figure",
        tables=("self_repair",),
        settings=("labels", "min_step"),
    ),
    "greater_than": Figure(
        "Greater-Than algorithm over training",
        shows="how far nodes of Greater-Than circuits do what the known algorithm says",
        draw="algorithm:greater_than_figure",
        tables=("gt_algorithm", "circuit_summary"),
        settings=("labels", "greater_than_task", "min_step"),
    ),
    "stability": Figure(
        "stability of circuits",
        shows="how much circuits of equal size change, against the noise floor",
        draw="stability:stability_figure",
        tables=("stability", "circuit_summary"),
        settings=("labels", "tasks", "min_step"),
    ),
    "stability_edges": Figure(
        "stability of circuits, edges",
        shows="the same for edges, unweighted and weighted by score",
        draw="stability:stability_edges_figure",
        tables=("stability", "circuit_summary"),
        settings=("labels", "tasks", "min_step"),
    ),
    "stability_reference": Figure(
        "stability of circuits, against one step",
        shows="how much the circuit of each step and that of the last step share",
        draw="stability:stability_reference_figure",
        tables=("stability", "circuit_summary"),
        settings=("labels", "tasks", "min_step"),
    ),
    "change_sources": Figure(
        "where the change of circuits comes from",
        shows="how much of the change of circuits is training, prompts, or their size",
        draw="change_sources:change_sources_figure",
        tables=("change_sources",),
        settings=("labels", "tasks"),
    ),
    "transfer": Figure(
        "circuits in models of other steps",
        shows="how faithful the circuit of each step is in the models of all other steps",
        draw="exchange:transfer_figure",
        tables=("transfer",),
        settings=("labels", "tasks", "threshold", "min_step"),
    ),
    "transfer_tasks": Figure(
        "circuits on other tasks",
        shows="how faithful the circuit of each task is on the other tasks",
        draw="exchange:transfer_tasks_figure",
        tables=("transfer",),
        settings=("labels", "tasks", "threshold"),
    ),
    "swaps": Figure(
        "component swaps",
        shows="how well earlier steps do a task with heads of the last step",
        draw="exchange:swaps_figure",
        tables=("swaps",),
        settings=("labels", "tasks"),
    ),
    "circuit_sizes": Figure(
        "circuit size in edges and nodes",
        shows="circuit size over training, in edges and in nodes",
        draw="sizes:circuit_sizes_figure",
        tables=("circuit_summary",),
        settings=("labels", "tasks", "min_step"),
    ),
    "size_correlation": Figure(
        "circuit size against model size",
        shows="circuit size against model size",
        draw="sizes:size_correlation_figure",
        tables=("circuit_summary", "behaviour", "size_correlation"),
        settings=("labels", "tasks"),
    ),
    "size_and_performance": Figure(
        "circuit size and performance",
        shows="circuit size and task performance together",
        draw="sizes:size_and_performance_figure",
        tables=("circuit_summary",),
        settings=("labels", "tasks", "min_step"),
    ),
    "seeds": Figure(
        "differences between seeds",
        shows="how much runs of one size differ with other weights or other data",
        draw="seeds:seeds_figure",
        tables=("behaviour", "circuit_summary"),
        settings=("labels", "variants", "run_labels", "tasks", "min_step"),
    ),
    "audit": Figure(
        "weights of every checkpoint",
        shows="which checkpoints have the same weights",
        draw="audit:audit_figure",
        tables=("audit",),
        settings=("run_labels",),
    ),
    "checkpoints": Figure(
        "weights over training",
        shows="how close the weights of neighbouring steps are",
        draw="checkpoints:checkpoints_figure",
        tables=("checkpoints",),
        settings=("run_labels", "min_step"),
    ),
}
"""The figures that are drawn once per run, in the order of the README."""

_TABLES = {table for job in AUTHORS.values() for table in job.tables}
OF_AUTHORS = {name: figure for name, figure in FIGURES.items() if {*figure.tables} <= _TABLES}
"""Those of them that can be drawn from the authors' results."""

COMPARISONS = {
    "agreement": Figure(
        "agreement with published results",
        shows="metric, size and edges of circuits beside the authors' results, if they are given",
        draw="agreement:agreement_figure",
        tables=("agreement",),
        settings=("labels", "tasks", "min_step"),
    ),
}
"""The figures about a run and the authors' results, if the configuration names them."""

DIAGRAMS = {
    "circuit_diagram": Figure(
        "circuit diagram",
        shows="one circuit as a graph, with the roles of its heads",
        draw="circuit_diagram:circuit_diagram",
        tables=("circuit_edges", "roles", "circuit_summary"),
        settings=("model", "task", "step", "label"),
    ),
}
"""The figures that are drawn per model, task and step, as `NAME/MODEL/TASK/stepSTEP`."""


def figure_of(rule: str) -> Figure:
    """Return the figure of a rule called `plot_NAME`, or `plot_published_NAME`."""
    name = rule.removeprefix("plot_").removeprefix(PUBLISHED)
    return (FIGURES | COMPARISONS | DIAGRAMS)[name]


def figure_rows() -> str:
    """Return the table of the figures of every run for README.md, in Markdown.

    Figures that show the same in another way, as `stability_edges`, share the row of the first.
    """
    rows: dict[str, tuple[list[str], str]] = {}
    for name, written, figure in _written("…"):
        if name not in FIGURES | DIAGRAMS:
            continue
        first = next((known for known in rows if name.startswith(f"{known}_")), name)
        names, _ = rows.setdefault(first, ([], figure.shows))
        names.append(f"`{written}`" if first == name else f"`…{name.removeprefix(first)}`")
    lines = [f"| {', '.join(names)} | {shows} |\n" for names, shows in rows.values()]
    return "| figure | shows |\n| --- | --- |\n" + "".join(lines)


def rule_rows() -> str:
    """Return the table of the rules that draw figures for docs/workflow.md, in Markdown."""
    rows = [
        f"| `plot_{name}` | `{written}` | {', '.join(f'`{table}`' for table in figure.tables)} |\n"
        for name, written, figure in _written("{model}/{task}/step{step}")
    ]
    header = "| rule | draws | from, in `results/tables/` |\n| --- | --- | --- |\n"
    return header + "".join(rows)


def _written(circuit: str) -> Iterator[tuple[str, str, Figure]]:
    """Yield the name, the path and the entry of every figure; `circuit` ends paths of diagrams."""
    for name, figure in (FIGURES | COMPARISONS | DIAGRAMS).items():
        yield name, f"{name}/{circuit}" if name in DIAGRAMS else name, figure
