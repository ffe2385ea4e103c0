"""A finished run to damage, a second one to mix it up with, and the count of what held."""

from __future__ import annotations

import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from filelock import FileLock

from tests.faults.replaying import Job, Server, copy_of, jobs_of
from tests.workflow.conftest import Workflow, finished, new_workflow

__all__ = ["finished"]
SEED = os.environ.get("FAULTS_SEED", "0")
OTHER = {
    "seed": 99,
    "models": [
        {
            "name": "pocket-tiny",
            "label": "tiny",
            "train": {"layers": 2, "heads": 4, "d_model": 64, "seed": 5, "data_seed": 6},
        }
    ],
}
"""What the second run has of its own."""


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    """Random numbers of one fault: always the same for its name and `FAULTS_SEED`."""
    return Random(zlib.crc32(f"{SEED} {request.node.name}".encode()))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def base(finished: Workflow, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The smoke configuration, finished, with the activations that a run deletes."""
    folder = copy_of(finished.folder, tmp_path_factory.mktemp("faults") / "base")
    for job in jobs_of(folder):
        if job.rule == "cache_activations":
            assert server.run(job, folder).code == 0
    return Workflow(folder)


@pytest.fixture(scope="session")
def jobs(base: Workflow) -> list[Job]:
    return jobs_of(base.folder)


@pytest.fixture(scope="session")
def other(
    base: Workflow, server: Server, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Path:
    """A run with other seeds and the same paths."""
    home = tmp_path_factory.getbasetemp()
    folder = (home if worker_id == "master" else home.parent) / "other"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            workflow = new_workflow(folder)
            config = workflow.write_config("other.yaml", **OTHER)
            workflow.run("tables", "--notemp", config=config)
            done.touch()
    return folder


@pytest.fixture
def copied(base: Workflow, tmp_path: Path) -> Iterator[Workflow]:
    """A copy of the finished run, to damage."""
    yield Workflow(copy_of(base.folder, tmp_path / "copy"))
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)


# The count of faults, by kind: the `KIND` of the module of a test.

_counted: Counter[str] = Counter()
_open: dict[str, tuple[str, str]] = {}
"""Of every fault that did not hold: its kind, and why that is expected, or "failed"."""
_digests: list[str] = []
"""What digests cost, in words."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which kind of fault a test is about, for the count at the end."""
    if named := getattr(getattr(item, "module", None), "KIND", None):
        item.user_properties.append(("fault", named))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a fault once its test has run; expected failures are faults that did not hold."""
    if report.when == "call":
        _digests.extend(str(value) for name, value in report.user_properties if name == "digests")
    kinds = [str(value) for name, value in report.user_properties if name == "fault"]
    expected = hasattr(report, "wasxfail")
    if not kinds or (report.skipped and not expected):
        return
    if report.when == "call" or (report.when == "setup" and not report.passed):
        _counted[kinds[0]] += 1
    if not report.passed:
        reason = report.wasxfail if expected else "failed"
        _open.setdefault(report.nodeid, (kinds[0], reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many faults of each kind held, which did not, and what digests cost."""
    if not _counted and not _digests:
        return
    terminalreporter.section("faults")
    for share in _digests:
        terminalreporter.line(f"digests: {share}")
    lost = Counter(kind for kind, _ in _open.values())
    for name, count in sorted(_counted.items()):
        terminalreporter.line(f"{name}: {count} faults, {count - lost[name]} held")
    terminalreporter.line(f"all: {_counted.total()} faults, {_counted.total() - len(_open)} held")
    for test, (_, reason) in sorted(_open.items()):
        terminalreporter.line(f"did not hold: {test} ({reason})")
