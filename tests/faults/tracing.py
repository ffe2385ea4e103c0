"""What a power cut can leave of files, found from the system calls that wrote them.

The disk that is assumed here keeps

- of a file, what was written before its last `fsync`; the rest may be lost, in any part of it;
- of changes of names (create, rename, remove), those before the last `fsync` of their folder, and
  of later ones any first part, in their order, whether or not the content of the files followed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.conftest import cannot_test

TRACED = (
    *("openat", "open", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2"),
    *("unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat"),
    *("write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "mmap"),
    *("fsync", "fdatasync"),
)
_FD = r"(?:\d+|AT_FDCWD)<(?P<{0}>[^>]*)>"
_NAME = r'"(?P<{0}>[^"]*)"'
_AT = rf"(?:{_FD.format('d{0}')}, )?{_NAME.format('{0}')}"
PATTERNS = {
    "sync": re.compile(rf"f(?:data)?sync\({_FD.format('a')}\)"),
    "write": re.compile(rf"(?:p?writev?(?:64)?|ftruncate|fallocate)\({_FD.format('a')}"),
    "map": re.compile(rf"mmap\(.*PROT_WRITE.*MAP_SHARED.*{_FD.format('a')}"),
    "create": re.compile(rf"open(?:at)?\({_AT.format('a')}, (?P<flags>[A-Z_|]*)"),
    "mkdir": re.compile(rf"mkdir(?:at)?\({_AT.format('a')}"),
    "rename": re.compile(rf"rename(?:at2?)?\({_AT.format('a')}, {_AT.format('b')}"),
    "remove": re.compile(rf"(?:unlink(?:at)?|rmdir)\({_AT.format('a')}"),
}


class Call(NamedTuple):
    """One change: its kind, the path, and the new path of a rename."""

    kind: str
    path: str
    to: str = ""


def traced(command: Sequence[str], below: Path, scratch: Path) -> list[Call]:
    """Run a command and return its changes below a folder, in their order.

    The test is skipped without `strace`, and fails in CI.
    """
    if shutil.which("strace") is None:
        cannot_test("no strace, which records system calls")
    log = scratch / "strace.log"
    options = ["-f", "-y", "-s", "0", "-e", f"trace={','.join(TRACED)}", "-o", str(log)]
    done = subprocess.run(
        ["strace", *options, *command], capture_output=True, text=True, check=False
    )
    if "ptrace" in done.stderr:
        cannot_test("no permission to trace a process")
    assert done.returncode == 0, done.stderr
    found = [call for line in _whole(log.read_text()) for call in _calls(line)]
    return [call for call in found if call.path.startswith(f"{below}/") or call.path == str(below)]


def _whole(log: str) -> Iterator[str]:
    """Yield calls that succeeded; join those that another thread interrupted."""
    waiting: dict[str, str] = {}
    for line in log.splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            waiting[pid] = text.removesuffix("<unfinished ...>")
            continue
        if found := re.match(r"<\.\.\. \w+ resumed>", text):
            text = waiting.pop(pid, "") + text[found.end() :]
        if " = -1 " not in text:
            yield text


def _calls(line: str) -> Iterator[Call]:
    for kind, pattern in PATTERNS.items():
        if found := pattern.match(line):
            given = found.groupdict()
            path = os.path.join(given.get("da") or "", given["a"])  # noqa: PTH118
            if kind != "create":
                to = os.path.join(given.get("db") or "", given.get("b") or "")  # noqa: PTH118
                yield Call("write" if kind == "map" else kind, path, to)
                return
            if "O_CREAT" in given["flags"]:
                yield Call("create", path)
            if "O_TRUNC" in given["flags"]:
                yield Call("write", path)


Names = dict[str, int]
"""Which file or folder a path is: the number of the call that made it, negative if it was there."""


def outcomes(calls: Sequence[Call], old: Sequence[str], target: str) -> tuple[set[str], set[str]]:
    """Return what can be at a path after a power cut at any time, and after one at the end.

    Args:
        calls: all changes.
        old: the paths that were there before.
        target: the path: of a file, or of a folder with files.

    Returns:
        Each is a set of "none", "old", "new", "half".
    """
    start = {path: -1 - number for number, path in enumerate(old)}
    states, written, synced = _replayed(calls, start)
    renamed = [time for time, call in enumerate(calls) if call.kind not in ("write", "map", "sync")]

    def whole(node: int, now: int) -> bool:
        last = max((time for time in synced.get(node, ()) if time < now), default=-1)
        return node < 0 or all(time < last for time in written.get(node, ()))

    def at(names: Names, now: int) -> str:
        found = {
            path.removeprefix(target): node
            for path, node in names.items()
            if path == target or path.startswith(f"{target}/")
        }
        if not found:
            return "none"
        if not all(whole(node, now) for node in found.values()):
            return "half"
        for word, names_of in (("old", states[0]), ("new", states[-1])):
            if found == {
                path.removeprefix(target): node
                for path, node in names_of.items()
                if path == target or path.startswith(f"{target}/")
            }:
                return word
        return "half"

    found, end = set(), set()
    for now in range(len(calls) + 1):
        safe = _safe(calls[:now], renamed)
        left = {
            at(states[kept], now) for kept in [safe, *(t + 1 for t in renamed if safe <= t < now)]
        }
        found |= left
        end = left
    return found, end


def _replayed(
    calls: Sequence[Call], start: Names
) -> tuple[list[Names], dict[int, list[int]], dict[int, list[int]]]:
    """Return all names before each call and at the end; and when each file was written, synced."""
    names, states = dict(start), [dict(start)]
    written: dict[int, list[int]] = {}
    synced: dict[int, list[int]] = {}
    for time, (kind, path, to) in enumerate(calls):
        if kind in ("write", "sync"):
            times = written if kind == "write" else synced
            times.setdefault(names.get(path, 0), []).append(time)
        elif kind == "remove":
            names.pop(path, None)
        elif kind == "rename":
            moved = {name for name in names if name == path or name.startswith(f"{path}/")}
            over = {name for name in names if name == to or name.startswith(f"{to}/")}
            new = {to + name.removeprefix(path): names[name] for name in moved}
            names = {name: node for name, node in names.items() if name not in moved | over} | new
        else:
            names.setdefault(path, time)
        states.append(dict(names))
    return states, written, synced


def _safe(calls: Sequence[Call], renamed: Sequence[int]) -> int:
    """Return after how many calls all names are on the disk: up to one in a synced folder."""
    for time in reversed(range(len(calls))):
        if calls[time].kind == "sync":
            inside = [
                at + 1
                for at in renamed
                if at < time
                and str(Path(calls[at].to or calls[at].path).parent) == calls[time].path
            ]
            if inside:
                return inside[-1]
    return 0
