"""What a job of the campaign finds when it starts: limits, full or read-only disks, sudden ends."""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circuitlapse.io import seal

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _PRIVATE = 1, 32, 4096, 1 << 18 | 1 << 14
_CALLS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.chmod")


def largest_file(n_bytes: int) -> None:
    """Let every write beyond so many bytes of a file fail with EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def kill_at_call(number: int, folder: str) -> None:
    """End this process as SIGKILL does, at so many changes of files below a folder."""
    left, place = number, str(Path(folder).resolve())

    def watch(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in _CALLS or not _writes(event, given):
            return
        if str(given[0]).startswith(place) or place in str(Path.cwd() / str(given[0])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sync = os.fsync

    def counted(descriptor: int) -> None:
        watch("os.chmod", (Path(f"/proc/self/fd/{descriptor}").readlink(),))
        sync(descriptor)

    os.fsync = counted


def time_digests(path: str) -> None:
    """Append the CPU seconds of every digest of a file to a file of our own."""

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            start = time.thread_time()
            found = function(*given)
            with Path(path).open("a") as stream:
                stream.write(f"{time.thread_time() - start}\n")
            return found

        return run

    hashlib.file_digest = timed(hashlib.file_digest)
    seal._intact = timed(seal._intact)
    seal.seal = timed(seal.seal)


def _writes(event: str, given: tuple[Any, ...]) -> bool:
    flags = given[2] if event == "open" else os.O_WRONLY
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def full_disk(folder: str, n_bytes: int) -> None:
    """Put a disk of so many bytes in the place of a folder, for this process only.

    It holds what the folder held; what is written to it is gone with the process.
    """
    _own_mounts()
    aside = Path(f"{folder}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    _mount("tmpfs", folder, "tmpfs", 0, f"size={n_bytes}")
    shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)


def read_only_disk(folder: str) -> None:
    """Let nothing be written below a folder, for this process only."""
    _own_mounts()
    _mount(folder, folder, "", _BIND, "")
    _mount("", folder, "", _REMOUNT | _BIND | _READ_ONLY, "")


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    asked = _NEW_NAMESPACE if os.geteuid() == 0 else _NEW_NAMESPACE | _NEW_USER
    if libc.unshare(asked):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("", "/", "", _PRIVATE, "")


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    given = (source.encode(), target.encode(), kind.encode(), flags, options.encode())
    if libc.mount(*given[:3], ctypes.c_ulong(flags), given[4]):
        raise OSError(ctypes.get_errno(), f"mount {target}")
