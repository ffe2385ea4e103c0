"""What a hub really serves for every checkpoint of a study, before any weights are downloaded.

The hub lists the files of a revision with their hashes, in one request. Lists are kept by commit,
so a second audit asks only which commit each revision is now: one request per repository.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import is_offline_mode

from circuitlapse.errors import HubError
from circuitlapse.hub.remote import MAIN, HubSource, commits_of
from circuitlapse.hub.retry import RetryPolicy
from circuitlapse.hub.revisions import by_step, resolve, unknown_revision
from circuitlapse.hub.symlinks import LocalSource
from circuitlapse.io.atomic import atomic_path
from circuitlapse.models.contents import Contents, Verdict, WeightFile, classify, formats_of
from circuitlapse.records import known_records, read_content, records_text
from circuitlapse.types.status import LEFT_OUT

PLACE = ("model", "step", "repo", "revision", "pattern")
"""What identifies the record of a checkpoint."""
COMMIT = re.compile(r"[0-9a-f]{40}")
AT_ONCE = 16
"""Requests at the same time."""
DEDUPED = "-deduped"
"""Suffix of the repository of the same Pythia model, trained on deduplicated data."""


@dataclass(frozen=True)
class Asked:
    """A checkpoint to audit: a model at a step, and its revision on the hub.

    Attributes:
        model: its name in the configuration.
        step: its training step.
        repo: its repository.
        revision: branch, tag or commit; {tokens} in it stands for any number.
        pattern: revision with {step} in place of the number, to find the last published step.
    """

    model: str
    step: int
    repo: str
    revision: str
    pattern: str = ""


@dataclass(frozen=True)
class Audited:
    """A checkpoint and what was found; see `Verdict`."""

    asked: Asked
    revision: str
    commit: str
    verdict: Verdict


@dataclass
class Listings:
    """Weight files by repository and commit, kept in a JSON file."""

    path: Path
    known: dict[str, dict[str, list[WeightFile]]] = field(default_factory=dict)

    @classmethod
    def at(cls, path: str | Path) -> Listings:
        """Read the file; without one, nothing is known."""
        found = cls(Path(path))
        if found.path.is_file():
            stored = read_content(found.path)
            found.known = {
                repo: {
                    commit: [WeightFile(*file) for file in files] for commit, files in of.items()
                }
                for repo, of in stored.items()
            }
        return found

    def write(self) -> None:
        """Write the file."""
        rows = {
            repo: {
                commit: [[file.name, file.hash, file.n_bytes] for file in files]
                for commit, files in of.items()
            }
            for repo, of in self.known.items()
        }
        write_json(self.path, rows)


def audit(asked: Sequence[Asked], listings: Listings, retry: RetryPolicy) -> list[Audited]:
    """List every checkpoint on the hub, or with `HF_HUB_OFFLINE=1` in its cache, and judge it.

    Args:
        asked: the checkpoints.
        listings: what is known of commits; new ones are added and written.
        retry: when to retry failed requests.

    Raises:
        HubError: if a repository or revision does not exist, or the hub cannot be reached.
    """
    repos = list(dict.fromkeys(one.repo for one in asked))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        refs = dict(zip(repos, pool.map(lambda repo: _refs(repo, retry), repos), strict=True))
        wanted = _resolved(asked, refs)
        mains = [
            (_main_of(one, refs[one.repo]), MAIN)
            for one in {each.model: each for each in asked}.values()
            if MAIN in refs[one.repo]
        ]
        places = list(dict.fromkeys((one.repo, name) for one, name in (*wanted, *mains)))

        def listed(place: tuple[str, str]) -> tuple[str, list[WeightFile]]:
            repo, revision = place
            commit = refs[repo].get(revision, "")
            known = listings.known.get(repo, {}).get(commit)
            return (commit, known) if known is not None else _list(repo, revision, retry)

        found = dict(zip(places, pool.map(listed, places), strict=True))
    for (repo, _), (commit, files) in found.items():
        listings.known.setdefault(repo, {})[commit] = files
    listings.write()
    verdicts = classify(
        Contents(one.model, one.step, formats_of(found[one.repo, name][1]), label, analysed)
        for pairs, analysed in ((wanted, True), (mains, False))
        for one, name in pairs
        for label in [f"step {one.step}" if analysed else MAIN]
    )
    return [
        Audited(one, name, found[one.repo, name][0], verdicts[one.model, one.step])
        for one, name in wanted
    ]


def _refs(repo: str, retry: RetryPolicy) -> Mapping[str, str]:
    """Return the commit of every branch and tag; offline, none is known."""
    return {} if is_offline_mode() else commits_of(repo, retry)


def _resolved(
    asked: Sequence[Asked], refs: Mapping[str, Mapping[str, str]]
) -> list[tuple[Asked, str]]:
    """Return every checkpoint with the name of its revision.

    Raises:
        HubError: if the hub knows the names of a repository, and one is not among them.
    """
    steps: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in asked:
        if one.pattern and refs[one.repo]:
            steps[one.repo, one.pattern].append(one.step)
    found = {
        (repo, pattern): resolve(repo, pattern, wanted, refs[repo])
        for (repo, pattern), wanted in steps.items()
    }
    names = [found.get((one.repo, one.pattern), {}).get(one.step, one.revision) for one in asked]
    for one, name in zip(asked, names, strict=True):
        if refs[one.repo] and name not in refs[one.repo] and not COMMIT.fullmatch(name):
            raise unknown_revision(one.repo, name, refs[one.repo])
    return list(zip(asked, names, strict=True))


def _main_of(one: Asked, refs: Collection[str]) -> Asked:
    """Return the branch `main` as the last published step of a model."""
    last = max([one.step, *by_step(one.pattern, refs)])
    return Asked(one.model, last, one.repo, MAIN)


def _list(repo: str, revision: str, retry: RetryPolicy) -> tuple[str, list[WeightFile]]:
    """Return the commit of a revision and its weight files; one request."""
    if is_offline_mode():
        return _list_cached(repo, revision)
    source = HubSource.at(repo, revision, retry)
    files = [
        WeightFile(name, file.hash.hexadecimal, file.size) for name, file in source.files.items()
    ]
    return source.commit, [file for of_format in formats_of(files) for file in of_format]


def _list_cached(repo: str, revision: str) -> tuple[str, list[WeightFile]]:
    """Return the same from the hub cache, where a file is a link to its hash."""
    source = LocalSource.of_cache(repo, revision)
    paths = [source.folder / name for name in source.names]
    files = [
        WeightFile(path.name, path.readlink().name, path.stat().st_size)
        for path in paths
        if path.is_symlink()
    ]
    return source.origin["commit"], [file for found in formats_of(files) for file in found]


def alternative(repo: str, retry: RetryPolicy) -> str:
    """Return a repository that may serve the right weights of a model; empty if there is none."""
    if repo.endswith(DEDUPED) or is_offline_mode():
        return ""
    with suppress(HubError):
        commits_of(f"{repo}{DEDUPED}", retry)
        return f"{repo}{DEDUPED}"
    return ""


def records_of(found: Sequence[Audited], retry: RetryPolicy) -> list[dict[str, Any]]:
    """Return one JSON object per checkpoint, with everything that was found."""
    wrong = {one.asked.repo for one in found if one.verdict.status in LEFT_OUT}
    alternatives = {repo: alternative(repo, retry) for repo in sorted(wrong)}
    return [
        asdict(one.asked)
        | {"found_revision": one.revision, "commit": one.commit}
        | {"alternative": alternatives.get(one.asked.repo, "")}
        | asdict(one.verdict)
        | {"status": str(one.verdict.status)}
        for one in found
    ]


def known_audit(
    asked: Sequence[Asked],
    found: str | Path,
    listings: str | Path,
    *,
    again: bool = False,
    retry: RetryPolicy,
) -> list[dict[str, Any]]:
    """Return the records of checkpoints, from the last audit or from the hub.

    Args:
        asked: the checkpoints.
        found: file of the last audit; the hub is asked if it lacks a checkpoint, and it is written.
        listings: file of the weight files by commit; see `Listings`.
        again: ask the hub anyway.
        retry: when to retry failed requests.

    Raises:
        HubError: see `audit`.
    """
    stored = [] if again else known_records(found)
    by_place = {tuple(one[name] for name in PLACE): one for one in stored}
    wanted = [tuple(getattr(one, name) for name in PLACE) for one in asked]
    if not set(wanted) <= set(by_place):
        records = records_of(audit(asked, Listings.at(listings), retry), retry)
        write_json(found, records)
        return known_records(found)
    return [by_place[place] for place in wanted]


def found_revision(path: str | Path, model: str, step: int) -> str | None:
    """Return the name of a revision from the records in a file, if the checkpoint is there."""
    found = (
        one["found_revision"]
        for one in known_records(path)
        if (one["model"], one["step"]) == (model, step)
    )
    return next(found, None)


def named_records(
    records: Sequence[dict[str, Any]], places: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return records with the variant and the tokens of their checkpoints, in the same order."""
    return [
        record | {"variant": place["variant"], "tokens": place["tokens"]}
        for record, place in zip(records, places, strict=True)
    ]


def write_json(path: str | Path, value: Any) -> None:
    """Write a value that `read_content` reads; an equal file is kept."""
    text, path = records_text(value), Path(path)
    if not path.is_file() or path.read_bytes() != text.encode():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
