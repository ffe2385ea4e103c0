"""The manifest of a run is a folder with one small record per job: what it wrote, and from what.

A job writes its record itself, once its outputs are complete. No two jobs share a record, so jobs
on many nodes need no lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from logging import Logger
from pathlib import Path
from typing import Any

from circuitlapse.jobs import job_logging
from circuitlapse.errors import ArtifactError, read_json, require_file
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.provenance import (
    DIGEST,
    FILES,
    PROVENANCE,
    hash_of,
    known_hash,
    read_record,
)
from circuitlapse.io.seal import digest_in
from circuitlapse.paths import Paths, place_of

SEALED = (".h5", ".parquet")
"""Files of these kinds hold their digest; it is the one in the manifest, too."""
TIMESTAMP = ".snakemake_timestamp"
"""What Snakemake puts into a folder that a job has made."""


@dataclass(frozen=True)
class JobRecord:
    """What one job wrote. Paths are relative to the folder of results; others are as given.

    Attributes:
        job: its name: that of its log.
        rule: that ran.
        ended_ns: when its outputs were complete, in nanoseconds of the epoch.
        outputs: bytes and SHA-256 of every file, by path; files in folders one by one.
        folders: which outputs are folders.
        inputs: SHA-256 by path; of a model, that of its content.
    """

    job: str
    rule: str
    ended_ns: int
    outputs: Mapping[str, tuple[int, str]]
    folders: tuple[str, ...]
    inputs: Mapping[str, str]

    @classmethod
    def read(cls, path: str | Path) -> JobRecord:
        """Read a record.

        Raises:
            ArtifactError: if the file is missing or damaged.
        """
        require_file(path)
        try:
            content = read_json(path)
            if not isinstance(content, dict) or content.pop(DIGEST, None) != hash_of(content):
                raise ValueError("its content does not fit its digest")
            outputs = {name: (found[0], found[1]) for name, found in content["outputs"].items()}
            folders = tuple(content["folders"])
            return cls(**{**content, "outputs": outputs, "folders": folders})
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ArtifactError(f"{path}: damaged: {error}") from error

    def digests(self, path: str) -> set[str]:
        """Return what a record may give as the digest of one of these outputs.

        For the record of a model, that is also its content: see `content_of_model`.
        """
        found, place = {self.outputs[path][1]}, Path(path)
        if place.name == PROVENANCE and str(place.parent) in self.folders:
            beside = {Path(one): digest for one, (_, digest) in self.outputs.items()}
            files = {
                one.name: digest
                for one, digest in beside.items()
                if one.parent == place.parent and one != place
            }
            found.add(hash_of(files))
        return found

    def write(self, root: Path) -> None:
        """Write it into the manifest of a folder of results."""
        content = asdict(self)
        content[DIGEST] = hash_of(content)
        with atomic_path(record_path(root, self.job)) as scratch:
            text = json.dumps(content, indent=1, sort_keys=True)
            scratch.write_text(f"{text}\n", encoding="utf-8")


def record_path(root: str | Path, job: str) -> Path:
    """Return the file of the record of a job."""
    return Path(f"{Paths(str(root)).manifest}/{job}.json")


@contextmanager
def recorded_job(snakemake: Any) -> Iterator[Logger]:
    """Do what `job_logging` does; when the job ends well, write its record.

    Until then it has none: nobody can say what a job that was stopped has written.

    Args:
        snakemake: the object that Snakemake gives to a script.
    """
    with job_logging(snakemake.log[0]) as log:
        root, job = place_of(snakemake.log[0])
        record_path(root, job).unlink(missing_ok=True)
        yield log
        record(root, job, snakemake.rule, snakemake.output, inputs=snakemake.input)


def record(
    root: str | Path,
    job: str,
    rule: str,
    outputs: Iterable[str | Path],
    *,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Write the record of a job whose outputs are complete.

    Args:
        root: the folder of results.
        job: its name.
        rule: that ran, or the target of `make`.
        outputs: files and folders that it wrote. What is not there is a mark that Snakemake sets
            when the job has ended.
        inputs: what they were made from.
    """
    made = [each for output in outputs if (each := Path(output)).exists()]
    files = [file for output in made for file in files_of(output)]
    used = {path: Path(each) for each in inputs if (path := _read_of(Path(each))) is not None}
    JobRecord(
        job,
        rule,
        time.time_ns(),
        {_name(root, file): (file.stat().st_size, digest_of(file)) for file in files},
        tuple(_name(root, output) for output in made if output.is_dir()),
        {
            _name(root, path): content_of_model(each) or digest_of(path)
            for path, each in used.items()
        },
    ).write(Path(root))


def files_of(output: Path) -> list[Path]:
    """Return an output, or every file in it if it is a folder."""
    if not output.is_dir():
        return [output]
    return [path for path in output.rglob("*") if path.is_file() and path.name != TIMESTAMP]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file that was just written or read and checked.

    A file that holds its digest is not read again, nor is one that this process has hashed.
    """
    inside = digest_in(path) if path.suffix in SEALED else None
    return inside or known_hash(path)


def content_of_model(path: Path) -> str | None:
    """Return one SHA-256 of the files in the folder of a model; None if no record names them.

    The rest of its record says which versions of code and libraries made them.
    """
    try:
        files = read_record(path).get(FILES) if path.is_dir() else None
    except ArtifactError:  # damaged: only its bytes tell
        return None
    return hash_of(files) if files else None


def _read_of(path: Path) -> Path | None:
    """Return the file that stands for an input; None if it has no content of its own."""
    if path.is_dir():
        path = path / PROVENANCE  # it holds the digests of all other files in the folder
    return path if path.is_file() and path.stat().st_size else None


def _name(root: str | Path, path: Path) -> str:
    """Return a path relative to the results; one elsewhere as it is."""
    relative = os.path.relpath(path, root)
    return str(path) if Path(relative).parts[0] == os.pardir else relative


@dataclass(frozen=True)
class Manifest:
    """The records of all jobs.

    Attributes:
        root: the folder of results.
        records: by job.
        broken: what is wrong with records that cannot be read, by their path below `root`.
    """

    root: Path
    records: Mapping[str, JobRecord]
    broken: Mapping[str, str]

    @classmethod
    def read(cls, root: str | Path) -> Manifest:
        """Read every record below a folder of results; damaged ones become `broken`."""
        folder = Path(Paths(str(root)).manifest)
        records: dict[str, JobRecord] = {}
        broken: dict[str, str] = {}
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if hidden or (path.is_dir() and path.suffix != ".json"):
                continue
            job = str(path.relative_to(folder).with_suffix(""))
            try:
                found = JobRecord.read(path)
                if found.job != job:
                    raise ArtifactError(f"{path}: the record of another job, {found.job}")
                records[job] = found
            except ArtifactError as error:
                name = _name(root, path)
                broken[name] = str(error).removeprefix(f"{path}: ")
        return cls(Path(root), records, broken)

    def writers(self) -> dict[str, JobRecord]:
        """Return the record of the last job that wrote each file, by path."""
        in_order = sorted(self.records.values(), key=lambda one: one.ended_ns)
        return {path: one for one in in_order for path in one.outputs}
