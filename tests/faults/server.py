"""A process that has imported what jobs need, and runs their scripts in forks of it.

    python -m tests.faults.server    one request per line on stdin, one answer per line on stdout

Jobs start without the type checks of the tests, as they do for users.
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from circuitlapse.plan.fork_server import MODULES
from tests.faults import preparing

MORE_MODULES = ("circuitlapse.pocket.corpus", "circuitlapse.pocket.training")
POLL_S = 0.005


def main() -> None:
    """Answer requests until stdin is closed."""
    for module in (*MODULES, *MORE_MODULES):
        import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(request)
        print(json.dumps(_wait(pid, request)), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Run the script of a job as a process of its own would, and end."""
    os.setpgid(0, 0)
    said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(request["folder"])
    code = 1
    try:
        for name, values in request["prepare"].items():
            getattr(preparing, name)(*values)
        runpy.run_path(request["script"], run_name="__main__")
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        else:
            code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    if request["watched"]:  # a disk that only this process sees
        Path(request["said"]).with_suffix(".left").write_text(json.dumps(_left(request["watched"])))
    os._exit(code)


def _left(folder: str) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def _wait(pid: int, request: dict[str, Any]) -> dict[str, Any]:
    """Return how the job ended; kill it at the time that the request names, or at the limit."""
    start, kill_at = time.monotonic(), request["kill_at_s"]
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        took = time.monotonic() - start
        if done:
            return {"code": os.waitstatus_to_exitcode(status), "hung": False, "took": took}
        if took > (request["limit_s"] if kill_at is None else kill_at):
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"code": -signal.SIGKILL, "hung": kill_at is None, "took": took}
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
