"""What the audit of the hub means for a run: which checkpoints are left out, and what is said.

`hub.audit` writes the records that this module reads. Snakemake reads it for every job, so it
imports neither torch nor pandas.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitlapse.config.schema import Config
from circuitlapse.errors import ConfigError
from circuitlapse.paths import Paths
from circuitlapse.records import known_records
from circuitlapse.types.status import LEFT_OUT, CheckpointStatus

Record = Mapping[str, Any]
Place = tuple[str, int]


@dataclass(frozen=True)
class Audit:
    """A configuration after the last audit of its checkpoints on the hub.

    Attributes:
        config: without the steps that are left out.
        asked: every checkpoint that comes from a hub; see `asked_of`.
        left_out: model and step of those that are not analysed.
        formats: by model and step, the weight file to fetch if not that of the preferred format.
        warnings: one line per model.
    """

    config: Config
    asked: list[dict[str, Any]]
    left_out: list[Place]
    formats: Mapping[Place, str]
    warnings: list[str]

    def source(self, model: str, step: int | str) -> dict[str, str]:
        """Return where the files of a checkpoint are, and in which file its weights are."""
        hub = self.config.model(model).hub
        if hub is None:
            raise ConfigError(f"{model} does not come from a hub")
        weights = self.formats.get((model, int(step)))
        return hub.source(int(step)) | ({"weights": weights} if weights else {})


def audited(config: Config) -> Audit:
    """Return a configuration without what the last audit leaves out.

    Raises:
        ConfigError: if `checkpoints.duplicates` is `refuse` and something has to be left out, or a
            model has no step left.
        ArtifactError: if the last audit cannot be read.
    """
    records, policy = records_for(config), config.checkpoints.duplicates
    out = left_out(records, policy)
    formats = {
        (one["model"], one["step"]): one["files"][0]["name"] for one in records if one["instead_of"]
    }
    asked = asked_of(config)
    return Audit(without(config, out), asked, out, formats, warnings(records, policy))


def asked_of(config: Config) -> list[dict[str, Any]]:
    """Return every checkpoint that comes from a hub: what names it in tables, and its revision."""
    found = []
    for model in config.models:
        if model.hub is None or model.hub.folder is not None:
            continue
        pattern = model.hub.revision if model.hub.revisions is None else ""
        for step in model.steps:
            named = {"model": model.name, "variant": model.variant, "step": step}
            named |= {"tokens": config.tokens_at(model.name, step), "pattern": pattern}
            found.append(named | model.hub.source(step))
    return found


def records_for(config: Config) -> list[Record]:
    """Return the records of the last audit that are about checkpoints of a configuration."""
    stored = known_records(Paths(config.results).audit_found)
    names = ("model", "step", "repo", "revision")
    wanted = {tuple(one[name] for name in names) for one in asked_of(config)}
    return [one for one in stored if tuple(one[name] for name in names) in wanted]


def left_out(records: Iterable[Record], policy: str) -> list[Place]:
    """Return the model and step of every checkpoint that is not analysed.

    Raises:
        ConfigError: if there are any, and `checkpoints.duplicates` is `refuse`.
    """
    wrong = [one for one in records if one["status"] in LEFT_OUT]
    if wrong and policy == "refuse":
        raise ConfigError(
            "checkpoints.duplicates is refuse, and the hub serves checkpoints without weights of "
            "their own:\n" + "\n".join(warnings(wrong, policy))
        )
    return [] if policy == "keep" else [(one["model"], one["step"]) for one in wrong]


def without(config: Config, places: Iterable[Place]) -> Config:
    """Return a configuration whose models lack the steps that are left out.

    Raises:
        ConfigError: if a model has no step left.
    """
    out = {*places}
    models = []
    for model in config.models:
        steps = tuple(step for step in model.steps if (model.name, step) not in out)
        if not steps:
            raise ConfigError(
                f"models: {model.name}: no step has weights of its own on the hub, so nothing is "
                "left to analyse; remove the model, or set checkpoints.duplicates to keep"
            )
        models.append(model if steps == model.steps else model.model_copy(update={"steps": steps}))
    return config.model_copy(update={"models": tuple(models)})


_SAID = {
    CheckpointStatus.DUPLICATE: "the weights of {same} at {steps}",
    CheckpointStatus.NO_WEIGHTS: "no weights at {steps}",
    CheckpointStatus.SUSPECT: "some weights of {same} at {steps} (marked suspect)",
}
_DONE = {"skip": "left out", "keep": "analysed and marked", "refuse": "refused"}


def warnings(records: Iterable[Record], policy: str) -> list[str]:
    """Return one line per model that has steps without weights of their own."""
    by_model: dict[str, list[Record]] = defaultdict(list)
    for one in records:
        by_model[one["model"]].append(one)
    return [line for several in by_model.values() if (line := _warning(several, policy))]


def _warning(records: Sequence[Record], policy: str) -> str:
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in records:
        if one["status"] != CheckpointStatus.OK:
            kinds[one["status"], one["same_as"]].append(one["step"])
    said = [
        _SAID[CheckpointStatus(status)].format(steps=steps_in_words(steps), same=same)
        for (status, same), steps in kinds.items()
    ]
    if other := [one["step"] for one in records if one["instead_of"]]:
        said.append(f"weights of their own only in another format at {steps_in_words(other)}")
    if not said:
        return ""
    wrong = sum(one["status"] in LEFT_OUT for one in records)
    done = f"; of {len(records)} steps, {wrong} {_DONE[policy]}" if wrong else ""
    better = next((one["alternative"] for one in records if one["alternative"]), "")
    return f"{records[0]['model']}: the hub serves {'; '.join(said)}{done}" + (
        f"; try {better}" * bool(better)
    )


def steps_in_words(steps: Sequence[int]) -> str:
    """Return for instance "steps 0, 1 and 2"."""
    *first, last = map(str, sorted(steps))
    return f"steps {', '.join(first)} and {last}" if first else f"step {last}"
