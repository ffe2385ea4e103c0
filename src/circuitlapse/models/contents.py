"""Which checkpoints hold the same weights, judged by the hashes of their files.

Of checkpoints of one model with the same weights, the latest keeps them: a file in the place of an
earlier step is far more often the final one than the other way round. The others are duplicates.
The branch `main` counts as the last step that is published.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from circuitlapse.types.status import CheckpointStatus

FORMATS = (
    r"model\.safetensors",
    r"model-\d+-of-\d+\.safetensors",
    r"pytorch_model\.bin",
    r"pytorch_model-\d+-of-\d+\.bin",
)
"""Names of files with weights; of several formats, the first one is preferred."""


@dataclass(frozen=True)
class WeightFile:
    """A file with weights: its name, its hash and its size in bytes."""

    name: str
    hash: str
    n_bytes: int


Files = tuple[WeightFile, ...]


@dataclass(frozen=True)
class Contents:
    """What there is of one model at one step.

    Attributes:
        model: its name.
        step: its training step.
        formats: the weight files of every format, the preferred one first; empty without weights.
        label: what messages call it.
        analysed: whether the configuration names it; the branch `main` is only compared with.
    """

    model: str
    step: int
    formats: tuple[Files, ...]
    label: str
    analysed: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the hashes say of a checkpoint.

    Attributes:
        status: see `CheckpointStatus`.
        files: those to use.
        same_as: label of the checkpoint that has the same weights, or some of them; else empty.
        shared: names of the files that this other checkpoint has, too.
        instead_of: first file of the preferred format, if another format is used.
    """

    status: CheckpointStatus
    files: Files = ()
    same_as: str = ""
    shared: tuple[str, ...] = ()
    instead_of: str = ""


def formats_of(files: Iterable[WeightFile]) -> tuple[Files, ...]:
    """Return the weight files among `files` by format; other files are left out."""
    files = sorted(files, key=lambda file: file.name)
    found = (tuple(f for f in files if re.fullmatch(name, f.name)) for name in FORMATS)
    return tuple(of_format for of_format in found if of_format)


def classify(contents: Iterable[Contents]) -> dict[tuple[str, int], Verdict]:
    """Return a verdict on every analysed checkpoint, by model and step.

    - A duplicate has the weights of a later step of its model. If another format of the same
      revision has weights of its own, that format is used instead.
    - A suspect shares some files with a later step, or all of them with another model. Models may
      share their weights at step 0: those with other data start from the same ones.
    """
    by_model: dict[str, list[Contents]] = defaultdict(list)
    for one in contents:
        by_model[one.model].append(one)
    found: dict[tuple[str, int], Verdict] = {}
    for several in by_model.values():
        ordered = sorted(several, key=lambda one: (one.step, one.analysed))
        found |= {
            (one.model, one.step): _verdict(one, ordered[place + 1 :], ordered)
            for place, one in enumerate(ordered)
            if one.analysed
        }
    labels = {(one.model, one.step): one.label for one in _analysed(by_model)}
    return found | dict(_of_other_models(found, labels))


def _analysed(by_model: Mapping[str, Sequence[Contents]]) -> Iterator[Contents]:
    """Yield the analysed checkpoints of all models."""
    for several in by_model.values():
        yield from (one for one in several if one.analysed)


def _verdict(one: Contents, later: Sequence[Contents], every: Sequence[Contents]) -> Verdict:
    """Judge a checkpoint beside the later ones of its model."""
    if not one.formats:
        return Verdict(CheckpointStatus.NO_WEIGHTS)
    first = _compared(one.formats[0], later)
    if first.status == CheckpointStatus.OK:
        return first
    taken = {f.hash for other in every if other is not one for f in _files(other)}
    for files in one.formats[1:]:
        if not taken & {file.hash for file in files}:
            passed_over = one.formats[0][0].name
            return replace(
                first, status=CheckpointStatus.OK, files=files, shared=(), instead_of=passed_over
            )
    return first


def _compared(files: Files, later: Sequence[Contents]) -> Verdict:
    """Compare files with those of later steps; the last one that has them is named."""
    own = {file.hash for file in files}
    partly = None
    for other in reversed(later):
        for theirs in other.formats:
            both = own & {file.hash for file in theirs}
            if both == own and len(theirs) == len(files):
                names = tuple(file.name for file in files)
                return Verdict(CheckpointStatus.DUPLICATE, files, other.label, names)
            if both and partly is None:
                names = tuple(file.name for file in files if file.hash in both)
                partly = Verdict(CheckpointStatus.SUSPECT, files, other.label, names)
    return partly or Verdict(CheckpointStatus.OK, files)


def _files(one: Contents) -> Iterator[WeightFile]:
    for files in one.formats:
        yield from files


def _of_other_models(
    found: Mapping[tuple[str, int], Verdict], labels: Mapping[tuple[str, int], str]
) -> Iterator[tuple[tuple[str, int], Verdict]]:
    """Yield the verdicts on checkpoints that have the weights of another model."""
    owners: dict[frozenset[str], list[tuple[str, int]]] = defaultdict(list)
    for place, verdict in found.items():
        if verdict.status in (CheckpointStatus.OK, CheckpointStatus.SUSPECT):
            owners[frozenset(file.hash for file in verdict.files)].append(place)
    for places in owners.values():
        for place in places:
            others = [other for other in places if other[0] != place[0]]
            if others:
                model, step = others[0]
                start = step == place[1] == 0
                status = CheckpointStatus.OK if start else CheckpointStatus.SUSPECT
                same_as = f"{model} at {labels[model, step]}"
                yield place, replace(found[place], status=status, same_as=same_as)
