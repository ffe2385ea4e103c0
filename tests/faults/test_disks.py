"""Disks that are full or read-only: the job says so, and every result is as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.conftest import cannot_test
from tests.faults.replaying import NOT_RESULTS, content_of, refuse_unclear
from tests.faults.test_damage import changed
from tests.faults.test_kills import RESULTS, WRITERS, writer

KIND = "full and read-only disks"
pytestmark = pytest.mark.faults
__all__ = ["writer"]
SPARE = 0.9
"""Room for a new file that is left: a share of its size."""


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in NOT_RESULTS
    }


def places(writer):
    """Return the folders that a job writes to."""
    return {str(Path(output).parent) for output in writer.outputs}


def assert_unchanged(ended, before):
    if "Operation not permitted" in ended.said:
        cannot_test("no permission to mount a disk")
    assert {name: ended.left.get(name) for name in before} == before
    assert not [name for name in ended.left.keys() - before.keys() if "." in name.split("/")[0][:1]]


def without_kept(copied, writer):
    """Remove circuits, which their job keeps if they are there."""
    if writer.rule == "discover_circuit":
        for output in writer.outputs:
            (copied.folder / output).unlink()


@pytest.mark.parametrize("rule", WRITERS)
def test_a_full_disk_is_one_sentence(copied, writer, server, rule):
    """Of the disk that has the last output, with room for all but a part of the largest file."""
    place = (copied.folder / writer.outputs[-1]).parent
    without_kept(copied, writer)
    before = digests(place)
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    pages = sum(-(-size // 4096) for size in sizes) + len(list(place.rglob("*"))) + 1
    prepare = {"full_disk": (str(place), 4096 * pages)}
    ended = server.run(writer, copied.folder, prepare=prepare, watched=str(place))
    assert_unchanged(ended, before)
    if ended.code:
        refuse_unclear(ended, places(writer))


@pytest.mark.parametrize("share", [0.3, 0.99])
@pytest.mark.parametrize("rule", WRITERS)
def test_a_limit_on_the_size_of_files_is_one_sentence(copied, writer, server, rule, share):
    largest = max((copied.folder / output).stat().st_size for output in writer.outputs)
    whole = content_of(copied.folder / RESULTS)
    without_kept(copied, writer)
    before = content_of(copied.folder / RESULTS)
    prepare = {"largest_file": (max(4096, int(share * largest)),)}
    ended = server.run(writer, copied.folder, prepare=prepare)
    after = content_of(copied.folder / RESULTS)
    assert [name for name in changed(before, after, writer) if after[name] != whole[name]] == []
    if ended.code:
        refuse_unclear(ended, places(writer))


@pytest.mark.parametrize("rule", WRITERS)
def test_a_read_only_disk_is_one_sentence(copied, writer, server, rule):
    place = (copied.folder / writer.outputs[-1]).parent
    without_kept(copied, writer)
    before = digests(place)
    prepare = {"read_only_disk": (str(place),)}
    ended = server.run(writer, copied.folder, prepare=prepare, watched=str(place))
    assert_unchanged(ended, before)
    if ended.code:
        refuse_unclear(ended, places(writer))
