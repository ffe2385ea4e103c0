"""The jobs about the authors' results: a run whose circuits are read instead of found.

`compare.published` names a clone of their repository. Its tables and figures are made by the same
functions as those of a run, in a folder of their own, and `Agreement` holds both side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from circuitlapse.config.schema import Config
from circuitlapse.figures.registry import COMPARISONS as COMPARED, FIGURES, OF_AUTHORS, Figure
from circuitlapse.paths import Clone
from circuitlapse.plan.workflow import Plan, paths
from circuitlapse.settings.base import TOKENS_PER_STEP
from circuitlapse.settings.suite import Model
from circuitlapse.tables.registry import AUTHORS, COMPARISONS, JOBS, PUBLISHED, Files, Job
from circuitlapse.types import Metric

METRICS = {
    "ioi": Metric.LOGIT_DIFF,
    "gendered_pronoun": Metric.LOGIT_DIFF,
    "greater_than": Metric.PROB_DIFF,
    "sva": Metric.PROB_DIFF,
}
"""Built-in task -> its metric in the paper."""


@dataclass(frozen=True)
class Authors(Plan):
    """The tables and figures of the authors' results.

    Attributes:
        config: with the models, tasks and steps of the clone, and its own folder of results.
        clone: where the files are.
    """

    clone: Clone

    @classmethod
    def of(cls, config: Config) -> Authors:
        """Return the plan for the models and tasks of a configuration that the clone has.

        Its `compare.published` must be set.
        """
        clone = Clone(config.compare.published or "")
        tasks = tuple(task for task in config.tasks if task.builder in Clone.TASKS)
        builders = [str(task.builder) for task in tasks]
        models = [model for model in config.models if any(_files_of(clone, model, builders))]
        names = {model.name for model in models}
        for place, model in enumerate(models):
            graphs, *_ = _files_of(clone, model, builders)
            update: dict[str, Any] = {"circuits": bool(graphs), "steps": graphs or model.steps}
            update |= {} if model.variant_of in names else {"variant_of": None}
            models[place] = model.model_copy(update=update)
        update = {
            "results": Plan(config).paths.authors,
            "models": tuple(models),
            "tasks": tasks,
            # null takes the last step of each model; the clone may lack that of the configuration
            "stability": config.stability.model_copy(update={"reference_step": None}),
        }
        return cls(config.model_copy(update=update), clone)

    def graphs(self, model: str, task: str) -> dict[int, str]:
        """Return the file of the graph, by step."""
        found = self.clone.graphs(self._name(model), self._builder(task))
        return {step: str(file) for step, file in found.items()}

    def circuits(self, model: str) -> list[str]:
        """Return the circuit files of a model, task by task and step by step."""
        return [
            self.paths.circuit.format(model=model, task=task, step=step)
            for task in self.tasks
            for step in self.graphs(model, task)
        ]

    def read(self, model: str) -> dict[str, Any]:
        """Return what is read of a model, for `io.clone.PublishedModel`."""
        found = self.config.model(model)
        per_step = found.hub.tokens_per_step if found.hub else TOKENS_PER_STEP
        given = {"model": model, "variant": found.variant, "tokens_per_step": per_step}
        return given | {"tasks": {task: self._task(model, task) for task in self.tasks}}

    def sources(self, model: str) -> list[str]:
        """Return every file that is read of a model."""
        tasks = self.read(model)["tasks"].values()
        return [
            file
            for task in tasks
            for file in (*task["baselines"], *task["curves"].values(), *task["graphs"].values())
        ]

    def _task(self, model: str, task: str) -> dict[str, Any]:
        name, builder = self._name(model), self._builder(task)
        curves = self.clone.curves(name, builder)
        return {
            "metric": str(METRICS[builder]),
            "baselines": [str(file) for file in self.clone.baselines(name, builder)],
            "curves": {step: str(file) for step, file in curves.items()},
            "graphs": self.graphs(model, task),
        }

    def _name(self, model: str) -> str:
        hub = self.config.model(model).hub
        return Clone.name_of(model, hub.repo if hub else None)

    def _builder(self, task: str) -> str:
        return str(self.config.task(task).builder)

    def _files(self, source: Files) -> list[str]:
        if source.path != "circuit":
            return paths(getattr(self.paths, source.path), model=self.models)
        return [path for model in self.models for path in self.circuits(model)]


def _files_of(clone: Clone, model: Model, tasks: Sequence[str]) -> tuple[tuple[int, ...], bool]:
    """Return the steps with a graph of any task, and whether there is any metric."""
    name = Clone.name_of(model.name, model.hub.repo if model.hub else None)
    steps = {step for task in tasks for step in clone.graphs(name, task)}
    return tuple(sorted(steps)), any(clone.baselines(name, task) for task in tasks)


@dataclass(frozen=True)
class Agreement(Plan):
    """The table and the figure that hold a run beside the authors' results.

    Attributes:
        config: of the run.
        authors: the plan for their results.
    """

    authors: Authors

    def files_of(self, job: Job) -> dict[str, list[str]]:
        """Return the circuits of both that are of the same model, task and step, by argument."""
        plans = dict(zip(job.files, (self, self.authors), strict=True))
        return {
            argument: [plan.paths.circuit.format(**where) for where in self.shared]
            for argument, plan in plans.items()
        }

    @cached_property
    def shared(self) -> list[dict[str, Any]]:
        """Model, task and step of the circuits that both have."""
        analysed = {model.name: model.steps for model in self.analysed}
        return [
            {"model": model, "task": task, "step": step}
            for model in self.authors.models
            for task in self.authors.tasks
            for step in self.authors.graphs(model, task)
            if step in analysed.get(model, ())
        ]


class Results(NamedTuple):
    """Tables and figures that are made in the same way.

    Attributes:
        prefix: what the names of their rules have after the first word.
        plan: where they lie, and what they are made from.
        jobs: of the tables.
        figures: those that are drawn once.
        elsewhere: the path of a table that is not among the plan's, by name.
    """

    prefix: str
    plan: Plan
    jobs: Mapping[str, Job]
    figures: Mapping[str, Figure]
    elsewhere: Mapping[str, str]

    def tables(self, names: Iterable[str]) -> dict[str, str]:
        """Return the path of each table by name."""
        template = self.plan.paths.table
        return {name: template.format(table=name) for name in names} | {
            name: self.elsewhere[name] for name in names if name in self.elsewhere
        }

    @property
    def table_files(self) -> list[str]:
        """The files of all tables."""
        names = [table for job in self.jobs.values() for table in job.tables]
        templates = (self.plan.paths.table, self.plan.paths.table_csv)
        return [file for template in templates for file in paths(template, table=names)]

    @property
    def figure_files(self) -> list[str]:
        """The files of all figures that are drawn once."""
        templates = (self.plan.paths.figure_pdf, self.plan.paths.figure_png)
        return [file for template in templates for file in paths(template, figure=self.figures)]


def results_of(plan: Plan) -> dict[str, Results]:
    """Return the tables and figures of a run, and those about the authors' results if it has any.

    The keys are `run`, `authors` and `agreement`.
    """
    run = {"run": Results("", plan, JOBS, FIGURES, {})}
    if plan.config.compare.published is None:
        return run
    authors = Authors.of(plan.config)
    own = Results(PUBLISHED, authors, AUTHORS, OF_AUTHORS, {})
    both = Agreement(plan.config, authors)
    elsewhere = own.tables(["published"])
    return run | {"authors": own, "agreement": Results("", both, COMPARISONS, COMPARED, elsewhere)}


def final_files(results: Mapping[str, Results]) -> list[str]:
    """Return everything that a whole run is asked for; the rest is made on the way."""
    plan = results["run"].plan
    diagrams = (plan.paths.diagram_pdf, plan.paths.diagram_png)
    return [
        plan.paths.explorer,
        *(file for made in results.values() for file in (*made.table_files, *made.figure_files)),
        *(file for template in diagrams for file in plan.diagrams(template)),
        *plan.kept_activations(),
    ]


def deleted_after_use(plan: Plan) -> list[str]:
    """Return the kinds of results, as path templates, that a run deletes when they are used.

    Snakemake deletes them: the rules mark them with `temp`.
    """
    kept = {
        plan.paths.activations: plan.config.activations.keep,
        plan.paths.model: plan.config.checkpoints.keep or not plan.published,
    }
    return [template for template, keep in kept.items() if not keep]


def jobs_of(results: Mapping[str, Results]) -> list[tuple[Results, str, Job]]:
    """Return every job of tables, with its name and what it belongs to."""
    return [(made, name, job) for made in results.values() for name, job in made.jobs.items()]


def figures_of(results: Mapping[str, Results]) -> list[tuple[Results, str, Figure]]:
    """Return every figure that is drawn once, with its name and what it belongs to."""
    return [(made, name, one) for made in results.values() for name, one in made.figures.items()]
