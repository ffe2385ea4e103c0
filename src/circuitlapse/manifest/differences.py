"""What differs between a folder of results and its manifest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from circuitlapse.manifest.job_record import (
    SEALED,
    TIMESTAMP,
    JobRecord,
    Manifest,
    content_of_model,
)
from circuitlapse.errors import ArtifactError
from circuitlapse.io.atomic import is_scratch
from circuitlapse.io.provenance import PROVENANCE, file_hash
from circuitlapse.io.seal import check_seal, digest_in
from circuitlapse.paths import Paths

READ_HOWEVER_OLD = ("verified", "audit")
"""Folders of results that may be made again without what was made from them."""


class Kind(StrEnum):
    """How a file differs."""

    CHANGED = "changed"
    MISSING = "missing"
    UNKNOWN = "unknown"
    NO_RECORD = "no_record"
    HALF_WRITTEN = "half_written"
    RECORD = "record"


@dataclass(frozen=True)
class Difference:
    """One file that is not as it was written.

    Attributes:
        path: below the folder of results.
        kind: how it differs.
        text: what was found.
    """

    path: str
    kind: Kind
    text: str

    def __str__(self) -> str:
        """Return one line, whatever is in the name of the file."""
        name = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in self.path)
        return f"{name}: {self.text}"


@dataclass(frozen=True)
class Expected:
    """What a configuration asks of a folder of results; all paths are below it.

    Attributes:
        final: what a whole run is asked for.
        on_request: what else there is a job for, such as diagrams of all circuits.
        deleted: path templates of what the workflow deletes when it is used.
    """

    final: frozenset[str] = frozenset()
    on_request: frozenset[str] = frozenset()
    deleted: tuple[str, ...] = ()

    def may_be_gone(self, path: str) -> bool:
        """Return whether the workflow deletes this file, or the folder that it is in."""
        return any(_pattern(template).match(path) for template in self.deleted)


def _pattern(template: str, end: str = r"(?:/|\Z)") -> re.Pattern[str]:
    """Return what matches the paths of a template, and everything below them."""
    parts = re.split(r"\\\{\w+\\\}", re.escape(template))
    return re.compile("[^/]+".join(parts) + end)


@dataclass
class Comparison:
    """A folder of results beside its manifest.

    Args:
        manifest: of the folder.
        expected: what its configuration asks for.
    """

    manifest: Manifest
    expected: Expected = field(default_factory=Expected)

    @cached_property
    def writers(self) -> Mapping[str, JobRecord]:
        """The last job that wrote each file, by path."""
        return self.manifest.writers()

    @cached_property
    def present(self) -> dict[str, Path]:
        """Every file that is there, links included, by path."""
        return dict(files_below(self.manifest.root, self.writers.keys() | self.asked_for))

    @cached_property
    def asked_for(self) -> set[str]:
        """Every path that the final files were made from, as far as records tell, and these."""
        found: set[str] = set()
        waiting = [*self.expected.final]
        while waiting:
            path = waiting.pop()
            if path in found:
                continue
            found.add(path)
            if (job := self.writers.get(path)) is not None:
                waiting += job.outputs
                waiting += [name for name in job.inputs if not Path(name).is_absolute()]
        return found

    @cached_property
    def differences(self) -> list[Difference]:
        """Everything that differs, sorted by path."""
        found = [Difference(path, Kind.RECORD, why) for path, why in self.manifest.broken.items()]
        with ThreadPoolExecutor() as pool:  # hashing leaves Python to the other threads
            found += [one for one in pool.map(self._of_output, self.writers) if one]
        found += [*self._not_made(), *self._unknown()]
        named = {one.path for one in found}
        found += [one for one in self._made_from_others() if one.path not in named]
        return sorted(found, key=lambda one: one.path)

    @property
    def n_files(self) -> int:
        """How many files were compared."""
        return sum(path in self.present for path in self.writers)

    def _of_output(self, path: str) -> Difference | None:
        """Return how a file differs from its record."""
        job, place = self.writers[path], self.manifest.root / path
        n_bytes, digest = job.outputs[path]
        if not os.path.lexists(place):
            if self._deleted_on_purpose(path, job):
                return None
            return Difference(path, Kind.MISSING, f"missing; made by {job.rule}")
        text = _unlike_file(place) or _unlike_content(place, n_bytes, digest)
        return Difference(path, Kind.CHANGED, text) if text else None

    def _deleted_on_purpose(self, path: str, job: JobRecord) -> bool:
        """Return whether the workflow, or somebody who no longer needs the job, deleted a file."""
        if self.expected.may_be_gone(path):
            folder = next((one for one in job.folders if path.startswith(f"{one}/")), path)
            return not os.path.lexists(self.manifest.root / folder)
        gone = not any(os.path.lexists(self.manifest.root / one) for one in job.outputs)
        return gone and path not in self.asked_for

    def _not_made(self) -> Iterator[Difference]:
        """Yield what is asked for and is neither there nor in a record."""
        for path in self.asked_for - self.writers.keys():
            outside = ".." in Path(path).parts or self.expected.may_be_gone(path)
            if not outside and not os.path.lexists(self.manifest.root / path):
                yield Difference(path, Kind.MISSING, "missing; no record says that it was made")

    def _unknown(self) -> Iterator[Difference]:
        """Yield what no record knows."""
        root = self.manifest.root
        parts = [_pattern(template, "/") for template in _below("left_over", root)]
        results = [_pattern(template) for template in _below("without_list", root)]
        folders = {folder for job in self.writers.values() for folder in job.folders}
        for path in self.present.keys() - self.writers.keys():
            above = {str(folder) for folder in Path(path).parents}
            asked, names = path in self.asked_for, Path(path).parts
            if not above.isdisjoint(self.writers):
                continue  # the folder is already named, since it should be a file
            left_over = any(map(is_scratch, names)) or any(one.match(path) for one in parts)
            if left_over and not asked:
                yield Difference(path, Kind.HALF_WRITTEN, "half-written, by a job that was stopped")
            elif any(name.startswith(".") for name in names) and not asked:
                continue  # of the user, or of another program
            elif self._is_older(asked, path, results) and above.isdisjoint(folders):
                yield Difference(path, Kind.NO_RECORD, "no record: made before the manifest")
            else:
                yield Difference(path, Kind.UNKNOWN, "unknown to the manifest")

    def _is_older(self, asked: bool, path: str, results: Iterable[re.Pattern[str]]) -> bool:
        """Return whether a job of a version without a manifest may have made a file.

        If a record is damaged, what is asked for may be of its job, and is to be made again.
        """
        if asked:
            return not self.manifest.broken
        return any(one.match(path) for one in results)

    def _made_from_others(self) -> Iterator[Difference]:
        """Yield what was made from a file whose content was then another one."""
        for path, job in self.writers.items():
            if not os.path.lexists(self.manifest.root / path):
                continue
            for name, digest in job.inputs.items():
                maker = self.writers.get(name)
                old = Path(name).parts[0] in READ_HOWEVER_OLD
                if maker is not None and not old and digest not in maker.digests(name):
                    text = f"of another run: made from {name} with other content"
                    yield Difference(path, Kind.CHANGED, text)
                    break


LISTED = 20
"""At most this many files are named at the start of a run."""


def refuse_replaced_inputs(root: str | Path) -> None:
    """Check that what jobs read is what jobs wrote here, before another one reads it.

    A file of another run may be whole, so that its reader finds nothing wrong. Only files that were
    touched after their job had ended are looked at. Those whose digest is inside are not read.

    Raises:
        ArtifactError: names the files, and says what to do.
    """
    manifest = Manifest.read(root)
    used = {name for job in manifest.records.values() for name in job.inputs}
    writers = manifest.writers()
    found = sorted(path for path in used & writers.keys() if _is_replaced(path, writers, manifest))
    if found:
        more = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
        lines = [f"{manifest.root / path}: not as it was written" for path in found[:LISTED]]
        raise ArtifactError(
            "\n".join([*lines, *more])
            + "\nResults would be made from files that were changed, or that are of another run. "
            "Put the old ones back, or let `make verify REPAIR=1` make them again."
        )


def _is_replaced(path: str, writers: Mapping[str, JobRecord], manifest: Manifest) -> bool:
    """Return whether a file was replaced by another whole one since its job ended."""
    place, job = manifest.root / path, writers[path]
    try:
        if not place.is_file() or place.stat().st_ctime_ns <= job.ended_ns:
            return False
        if place.suffix in SEALED:
            found = digest_in(place)
        else:
            model = str(Path(path).parent) in job.folders and place.name == PROVENANCE
            found = (content_of_model(place.parent) if model else None) or file_hash(place)
    except (OSError, ArtifactError):
        return False
    return found is not None and found not in job.digests(path)


def _unlike_file(place: Path) -> str:
    """Return in which way a path is no file that can be read; or ""."""
    if place.is_dir():
        return "a folder, expected a file"
    if place.is_symlink() and not place.exists():
        return "a link that leads nowhere"
    return "" if place.is_file() else "no regular file"


def _unlike_content(place: Path, n_bytes: int, digest: str) -> str:
    """Return in which way the content of a file is not what was written; or ""."""
    try:
        found = place.stat().st_size
        if found != n_bytes:
            return f"of another size: {found} bytes, expected {n_bytes}"
        inside = digest_in(place) if place.suffix in SEALED else None
        if inside is None:
            return "" if file_hash(place) == digest else "changed: its SHA-256 is another one"
        check_seal(place)
    except ArtifactError:
        return "changed: its content does not fit the digest in it"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if inside == digest else "of another run: whole, but not what was written here"


def files_below(root: Path, named: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield every file that may be a result, with its path below `root`.

    Links to folders are followed only if `named`, the paths of results, has one behind them.
    """
    aside = [_pattern(template) for template in _below("aside", root)]
    known, above = _names(root), {root / one for path in named for one in Path(path).parents}
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        try:
            about = here.stat()
        except FileNotFoundError:  # an active run has just deleted it
            continue
        if (about.st_dev, about.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        below = [here / one for one in folders if _is_result(here / one, root, aside, known)]
        folders[:] = [one.name for one in below if one in above or not one.is_symlink()]
        for name in files:
            path = here / name
            if name != TIMESTAMP and _is_result(path, root, aside, known):
                yield str(path.relative_to(root)), path


def _is_result(path: Path, root: Path, aside: Iterable[re.Pattern[str]], known: set[str]) -> bool:
    name = path.relative_to(root)
    unwanted = any(pattern.match(str(name)) for pattern in aside)
    return not unwanted and name.parts[0] in known


def _below(kind: str, root: Path) -> list[str]:
    """Return paths of one of the lists in `Paths`, below the folder of results."""
    return [str(Path(path).relative_to(root)) for path in getattr(Paths(str(root)), kind)]


def _names(root: Path) -> set[str]:
    """Return the names of everything that the workflow puts into the folder of results."""
    templates = [one for one in vars(Paths(str(root))).values() if isinstance(one, str)]
    return {Path(template).relative_to(root).parts[0] for template in templates}
