"""What the rules of the workflow ask for: paths, parameters, memory.

`workflow/rules/*.smk` say which rule makes which file. What takes more than a line to decide is
here. Snakemake reads this module for every job, so it imports neither torch nor pandas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any

from circuitlapse.config.schema import Config
from circuitlapse.errors import UnknownNameError, read_json, unknown_name
from circuitlapse.paths import Paths
from circuitlapse.plan.cost import width_of
from circuitlapse.plan.requests import CUDA_MB, FORWARD_MB, REQUESTS, loading_mb, memory_mb
from circuitlapse.settings.base import PYTHIA_PREFIX
from circuitlapse.settings.suite import Model
from circuitlapse.tables.registry import Files, Job
from circuitlapse.tasks.registry import BUILDERS

SCHEDULING = {"tasks_per_job", "gpus", "jobs_per_gpu"}
"""Keys of `compute` that divide the work into jobs on GPUs; no result depends on them."""


@dataclass(frozen=True)
class Plan:
    """The jobs of one configuration."""

    config: Config

    @cached_property
    def paths(self) -> Paths:
        """Where everything lies."""
        return Paths(self.config.results)

    @cached_property
    def models(self) -> list[str]:
        """Names of all models."""
        return [model.name for model in self.config.models]

    @cached_property
    def analysed(self) -> list[Model]:
        """The models whose circuits are found; of others only the behaviour is measured."""
        return [model for model in self.config.models if model.circuits]

    @cached_property
    def originals(self) -> list[Model]:
        """The analysed models that repeat no other one with other seeds."""
        return [model for model in self.analysed if not model.variant_of]

    @cached_property
    def published(self) -> bool:
        """Whether checkpoints are downloaded rather than trained."""
        return any(model.hub for model in self.config.models)

    @cached_property
    def tasks(self) -> list[str]:
        """Names of all tasks."""
        return [task.name for task in self.config.tasks]

    @cached_property
    def prompts(self) -> list[str]:
        """The file of every task."""
        return paths(self.paths.task, suite=self.config.suite, task=self.tasks)

    @cached_property
    def compute(self) -> dict[str, Any]:
        """The settings of `compute` that a result can depend on."""
        return self.config.compute.model_dump(mode="json", exclude=SCHEDULING)

    @cached_property
    def one_task(self) -> bool:
        """Whether a job runs a model on one task, the wildcard {task} of its rule, or on all."""
        return self.config.compute.tasks_per_job == 1

    def of_job(self, template: str) -> list[str]:
        """Return the files of such a job: one with the wildcard {task}, or one per task."""
        if self.one_task:
            return [template]
        return [template.replace("{task}", task) for task in self.tasks]

    def job_name(self, rule: str) -> str:
        """Return the name of such a job for its log and timings, with the wildcards of its rule."""
        return f"{rule}/{{model}}/{'{task}/' if self.one_task else ''}step{{step}}"

    @cached_property
    def verified(self) -> str:
        """The record of `verify_model` that a checkpoint needs before it is analysed, if any.

        If it is about the first step of a model, its name has no step: otherwise one more step in
        a schedule would make Snakemake analyse every other step again.
        """
        records = {"first": self.paths.verified, "all": self.paths.verified_step, "none": ""}
        return records[self.config.checkpoints.verify]

    @cached_property
    def verify_job(self) -> str:
        """The name of such a job for its log and timings, with the wildcards of its rule."""
        return f"verify_model/{{model}}{'/step{step}' if '{step}' in self.verified else ''}"

    def verified_step(self, model: str, step: int | str | None = None) -> int:
        """Return the step that a record is about, from the wildcards in its name.

        A record about the first step stays valid when an earlier one is added or it is removed: for
        results that need a new file only as `ancient`, Snakemake sees no other change.
        """
        if step is not None:
            return int(step)
        record, found = Path(self.verified.format(model=model)), self.config.model(model)
        known = None
        with suppress(OSError, ValueError, LookupError, TypeError):  # of a broken record, or none
            known = int(read_json(record)["step"])
        listed = (
            self.config.training.save_steps if found.train else found.hub and found.hub.revisions
        )
        lasting = not listed or known in listed
        return known if known is not None and lasting else found.steps[0]

    @cached_property
    def gpus(self) -> int:
        """GPUs of a job that runs models."""
        return int(self.config.compute.device == "cuda")

    @cached_property
    def forward_mb(self) -> int:
        """Host memory for a forward pass; with a GPU, what the pass holds lies there."""
        return CUDA_MB if self.gpus else self.config.compute.memory_mb or FORWARD_MB

    def memory_mb(self, rule: str, folders: Iterable[str | Path], attempt: int) -> int:
        """Return the memory that a job of one of the `REQUESTS` asks for.

        Args:
            rule: its name.
            folders: the models among its input.
            attempt: 1, or more for a retry.
        """
        request = REQUESTS[rule]
        models_mb = request.models * loading_mb(folders)
        return memory_mb(request.memory_mb + self.forward_mb + models_mb, attempt)

    def per_step(
        self, template: str, models: Iterable[Model] | None = None, **values: Any
    ) -> list[str]:
        """Return a path per step of each model, by default of those with circuits."""
        return [
            path
            for model in (self.analysed if models is None else models)
            for path in paths(template, model=model.name, step=model.steps, **values)
        ]

    def per_model(self, template: str) -> list[str]:
        """Return a path per model with circuits; of exchanges, per model with steps for them."""
        of: dict[str, Callable[[str], Any]] = {self.paths.swaps: self.config.swap_pairs}
        of |= {self.paths.transfer: self.config.transfer_steps}
        exchanging = of.get(template, self.config.model)
        return paths(template, model=[one.name for one in self.analysed if exchanging(one.name)])

    def files_of(self, job: Job) -> dict[str, list[str]]:
        """Return the files of other jobs that tables are made from, by argument."""
        return {argument: self._files(source) for argument, source in job.files.items()}

    def _files(self, source: Files) -> list[str]:
        template = getattr(self.paths, source.path)
        if source.path == "audited":
            return [template] * any(one.hub and not one.hub.folder for one in self.config.models)
        if "{step}" not in template:
            return self.per_model(template)
        models = self.config.models if source.every_model else self.analysed
        return self.per_step(template, models, task=self.tasks, table=source.table)

    def diagrams(self, template: str) -> list[str]:
        """Return the diagrams drawn by default: each task's, the last original's last step."""
        return [
            path
            for model in self.originals[-1:]
            for path in paths(template, model=model.name, task=self.tasks, step=model.steps[-1])
        ]

    def check_diagram(self, model: str, task: str, step: str) -> None:
        """Check that there is such a circuit to draw.

        Raises:
            UnknownNameError: naming what is unknown and what there is.
        """
        steps = {each.name: [str(step) for step in each.steps] for each in self.analysed}
        choices = {"model": (model, [*steps]), "task": (task, self.tasks)}
        choices["step"] = (step, steps.get(model, []))
        for kind, (asked, names) in choices.items():
            if asked not in names:
                wrong = unknown_name(kind, asked, names)
                raise UnknownNameError(f"circuit_diagram/{model}/{task}/step{step}: {wrong}")

    def results_of(self, model: str, step: int) -> list[str]:
        """Return everything that is made from one checkpoint by itself."""
        templates = [self.paths.behaviour]
        if self.config.model(model).circuits:
            templates += [self.paths.circuit, self.paths.heads, self.paths.algorithm]
        values = {"model": model, "step": step, "task": self.tasks, "table": "effects"}
        return [path for template in templates for path in paths(template, **values)]

    def before_fetching(self, model: str, step: int | str) -> list[str]:
        """Return what has to be there before a checkpoint is downloaded.

        These are the results of the checkpoint `checkpoints.at_once` positions earlier, which is
        deleted then.
        """
        every = [(each.name, step) for each in self.config.models for step in each.steps]
        if (model, int(step)) not in every:  # verified, but no longer analysed
            return []
        earlier = every.index((model, int(step))) - self.config.checkpoints.at_once
        return self.results_of(*every[earlier]) if earlier >= 0 else []

    def text(self) -> str | list[str]:
        """Return the running text that heads are scored on; an empty list if there is none."""
        heads, suite = self.config.heads, self.config.suite
        if heads.text:
            return heads.text
        if self.published:
            return self.paths.text.format(suite=suite) if heads.dataset else []
        return self.paths.held_out_text.format(suite=suite)

    def kept_activations(self) -> list[str]:
        """Return all files of activations if they are kept, else none."""
        keep = self.config.activations.keep
        return self.per_step(self.paths.activations, task=self.tasks) if keep else []

    def where(self, model: str, step: int | str) -> dict[str, Any]:
        """Return the columns that identify a checkpoint in every table."""
        return {
            "model": model,
            "variant": self.config.model(model).variant,
            "step": int(step),
            "tokens": self.config.tokens_at(model, int(step)),
        }

    def transfer_inputs(self, model: str) -> dict[str, list[str]]:
        """Return the checkpoints of a model that exchange their circuits, and these circuits.

        If other models repeat it with other seeds, their circuits at these steps are there too, as
        a control.
        """
        values: dict[str, Any] = {"model": model, "step": self.config.transfer_steps(model)}
        circuits = paths(self.paths.circuit, task=self.tasks, **values)
        inputs = {"models": paths(self.paths.model, **values), "circuits": circuits}
        original = self.config.model(model).variant_of or model
        for each in self.analysed:
            if original in (each.name, each.variant_of) and each.name != model:
                here = {"model": each.name, "step": sorted({*values["step"]} & {*each.steps})}
                inputs.setdefault("seeds", []).extend(
                    paths(self.paths.circuit, task=self.tasks, **here)
                )
        return inputs

    def transferred(self, model: str) -> list[dict[str, Any]]:
        """Return `where` of the checkpoints in `transfer_inputs`."""
        return [self.where(model, step) for step in self.config.transfer_steps(model)]

    def swap_inputs(self, model: str) -> dict[str, list[str]]:
        """Return the checkpoints of a model that lend or borrow heads, and what names the heads.

        That is the circuits at the lending steps, and for IOI the roles there, for Greater-Than
        the head scores.
        """
        lending = sorted({source for source, _ in self.config.swap_pairs(model)})
        values: dict[str, Any] = {"model": model, "step": lending}
        inputs = {
            "models": paths(self.paths.model, model=model, step=self._swapping_steps(model)),
            "circuits": paths(self.paths.circuit, task=self.tasks, **values),
        }
        if self.config.built_by("ioi") is not None:
            inputs["roles"] = paths(self.paths.algorithm, table="roles", **values)
        if self.config.built_by("greater_than") is not None:
            inputs["heads"] = paths(self.paths.heads, **values)
        return inputs

    def swapped(self, model: str) -> list[dict[str, Any]]:
        """Return `where` of the checkpoints in `swap_inputs`."""
        return [self.where(model, step) for step in self._swapping_steps(model)]

    def _swapping_steps(self, model: str) -> list[int]:
        return sorted({step for pair in self.config.swap_pairs(model) for step in pair})

    def ioi_prompts(self, model: str, step: int | str) -> dict[str, str]:
        """Return the IOI task and the activations on it, if there is such a task."""
        found = self._of_task("ioi", model, step)
        return {name: found[name] for name in ("task", "activations") if name in found}

    def known_tasks(self, model: str, step: int | str) -> dict[str, str]:
        """Return the inputs about the tasks whose algorithms are known: IOI and Greater-Than."""
        ioi, gt = (self._of_task(name, model, step) for name in ("ioi", "greater_than"))
        ioi.pop("activations", None)  # its patched runs start from new ones
        return {f"ioi_{name}": path for name, path in ioi.items()} | {
            f"gt_{name}": path for name, path in gt.items()
        }

    def _of_task(self, builder: str, model: str, step: int | str) -> dict[str, str]:
        """Return the prompts, circuit and activations of the first task of a builder."""
        task = self.config.built_by(builder)
        if task is None:
            return {}
        kinds = {kind: getattr(self.paths, kind) for kind in ("task", "circuit", "activations")}
        values = {"suite": self.config.suite, "task": task, "model": model, "step": step}
        return {kind: template.format(**values) for kind, template in kinds.items()}

    def prompt_file(self, task: str) -> dict[str, str]:
        """Return the user's own file of prompts, for a task that has one."""
        file = self.config.task(task).file
        return {"file": str(file)} if file else {}

    def pythia_sizes(self) -> dict[str, str]:
        """Return the name of the model of each standard Pythia size, such as `160m`."""
        repos = {model.hub.repo: model.name for model in self.config.models if model.hub}
        return {
            repo.removeprefix(PYTHIA_PREFIX): name
            for repo, name in repos.items()
            if re.fullmatch(rf"{PYTHIA_PREFIX}[\d.]+[mb]", repo)
        }

    @property
    def _variants(self) -> dict[str, list[str]]:
        """Every model that is no variant, with all that differ from it only in a seed."""
        of = {model.name: model.variant_of or model.name for model in self.config.models}
        return {name: [one for one in of if of[one] == name] for name in dict.fromkeys(of.values())}

    @cached_property
    def table_settings(self) -> dict[str, Any]:
        """The value of every setting in the registry of tables."""
        config, ioi = self.config, self.config.built_by("ioi")
        return {
            "models": self.models,
            "duplicates": config.checkpoints.duplicates,
            "bootstrap": config.bootstrap.model_dump(mode="json"),
            "originals": [model.name for model in self.originals],
            "variants": self._variants,
            "tasks": self.tasks,
            "threshold": config.circuits.threshold,
            "seed": config.seed,
            "task_of_builder": {builder: config.built_by(builder) for builder in BUILDERS},
            "pythia_sizes": self.pythia_sizes(),
            "stability": config.stability.model_dump(mode="json"),
            "min_step": config.stability.min_step,
            "lengths": config.heads.lengths,
            "role_rule": config.algorithm.rule,
            "corruption": config.task(ioi).corruption if ioi else None,
            "copy_ln": config.heads.copy_ln,
        }

    @cached_property
    def figure_settings(self) -> dict[str, Any]:
        """The value of every setting in the registry of figures, but those of diagrams."""
        config = self.config
        labels = {model.name: model.label for model in config.models}
        shared = ("variants", "tasks", "threshold", "lengths", "role_rule")
        return {name: self.table_settings[name] for name in shared} | {
            "labels": {name: labels[name] for name in self._variants},
            "run_labels": labels,
            "ioi_task": config.built_by("ioi"),
            "greater_than_task": config.built_by("greater_than"),
            "min_step": config.figures.min_step,
        }

    @cached_property
    def explorer_settings(self) -> dict[str, Any]:
        """What the explorer needs besides tables."""
        config = self.config
        facts = {each.name: (each.label, each.variant_of, width_of(each)) for each in config.models}
        shared = {name: self.table_settings[name] for name in ("tasks", "threshold")}
        return {"title": config.suite, "models": facts} | shared


def paths(template: str, **values: Any) -> list[str]:
    """Fill in a template with every combination of values, the last name varying fastest.

    Args:
        template: a path with wildcards.
        values: one value or several, by wildcard; names without a wildcard are ignored.
    """
    names = {name for _, name, *_ in Formatter().parse(template) if name}
    choices = {name: _listed(value) for name, value in values.items() if name in names}
    return [
        template.format(**dict(zip(choices, chosen, strict=True)))
        for chosen in product(*choices.values())
    ]


def _listed(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str | int) else list(value)


def pattern_of(names: Iterable[str]) -> str:
    """Return a regular expression that matches these names only; without any, nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"
