"""A file system without locks, as NFS can be: a stand-in for `flock` that answers ENOLCK.

For ENOSYS, the answer of Lustre, HDF5 and filelock have an answer of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import cannot_test

SOURCE = """
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int fd, int operation) {
  char link[64], path[PATH_MAX] = "";
  const char *folder = getenv("NO_LOCKS_IN");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) < 0 || strncmp(path, folder, strlen(folder)))
    return (int)syscall(SYS_flock, fd, operation);
  errno = ENOLCK;
  return -1;
}
"""


def environment(folder: Path, scratch: Path) -> dict[str, str]:
    """Return the environment of a process that cannot lock files in `folder`.

    The test is skipped without a C compiler, and fails in CI.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        cannot_test("no C compiler (cc), which makes the stand-in for flock")
    library = scratch / "no_locks.so"
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=SOURCE, text=True, check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "NO_LOCKS_IN": str(folder.resolve())}
