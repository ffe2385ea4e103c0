"""A server that starts jobs on this machine as forks, so that they need not import PyTorch.

Most jobs of a small run take less time than their imports. The server imports once what jobs
need, and forks for each:

    Snakemake - shell - fork_client          one per job, in place of `python SCRIPT`
        |                   | socket: script, environment, stdin, stdout, stderr; exit status
        server - watcher ---' - job          the watcher passes signals and the exit status on

- The server lives as long as the pipe from Snakemake is open. Jobs go on without it.
- A job dies with its client, however that ends.
- A client starts its script the plain way if the server is gone or declines: if the environment
  (such as the number of threads) or the working directory differ from those of the server. So
  a job finds what it would find in a Python of its own.

Sockets have abstract addresses, which are no files: nothing is left behind. Linux has them.
"""

from __future__ import annotations

import atexit
import gc
import marshal
import os
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn
from uuid import uuid4

from circuitlapse.jobs import GC_THRESHOLD
from circuitlapse.figures.registry import FIGURES
from circuitlapse.plan import fork_client
from circuitlapse.plan.fork_client import LENGTH, STARTED, STATUS, same_user
from circuitlapse.redaction import show_exception
from circuitlapse.tables.registry import JOBS

MODULES = (
    *("snakemake.logging", "snakemake.iocontainers"),
    *("circuitlapse.checkpoint", "circuitlapse.io.corpus_files"),
    *(f"circuitlapse.tables.{job.make.partition(':')[0]}" for job in JOBS.values()),
    *(f"circuitlapse.figures.{figure.draw.partition(':')[0]}" for figure in FIGURES.values()),
)
"""What the server imports: what most jobs need. What few jobs need is not here."""
THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
"""Snakemake sets these variables to the threads of a job."""
PER_JOB = {b"TMPDIR", b"TMP", b"TEMPDIR", b"TEMP", b"_", b"SHLVL", b"PWD", b"OLDPWD"}
"""Variables that may differ between a job and the server."""


def start_server(python: str, modules: Sequence[str] = MODULES) -> str:
    """Start the server, which ends with this process.

    Args:
        python: the interpreter of the jobs, quoted for a shell.
        modules: what the server imports.

    Returns:
        The command that replaces `python`, quoted for a shell.
    """
    address = f"circuitlapse-{uuid4().hex}"
    (interpreter,) = shlex.split(python)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{address}")
        listening.listen(socket.SOMAXCONN)
        code = f"from {__name__} import main; main({listening.fileno()}, {[*modules]})"
        server = subprocess.Popen(
            [interpreter, "-P", "-c", code],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env=os.environ | dict.fromkeys(THREADS, "1"),
            start_new_session=True,  # Ctrl-C is for clients, which pass it on
        )
    atexit.register(server.kill)
    return shlex.join([interpreter, "-I", "-S", fork_client.__file__, address])


def main(listening: int, modules: Sequence[str]) -> None:
    """Serve until the pipe at stdin is closed; in a fork, watch a job or be one.

    Args:
        listening: the file descriptor of the socket.
        modules: what to import first.
    """
    gc.set_threshold(GC_THRESHOLD)
    for name in modules:
        import_module(name)
    gc.freeze()
    connection = _next_connection(socket.socket(fileno=listening))
    if connection is None:
        return
    job = _received(connection)
    if job is None:
        os._exit(0)
    # a byte comes out of this pipe when the job ends
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    if pid := os.fork():
        _watch(pid, connection, ended)
    for opened in (connection.detach(), ended, wake):
        os.close(opened)
    job.take_over()
    job.run()


def _next_connection(listening: socket.socket) -> socket.socket | None:
    """Return each connection in a fork of its own, or None here once the pipe is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for watchers
    watched: list[socket.socket | int] = [listening, sys.stdin.fileno()]
    while sys.stdin.fileno() not in select.select(watched, [], [])[0]:
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            return connection
        connection.close()
    return None


def _watch(pid: int, connection: socket.socket, ended: int) -> NoReturn:
    """Pass signals on to the job and its wait status back; kill it if the client is gone."""
    try:
        with suppress(OSError):  # the job does the same, whoever is first
            os.setpgid(pid, pid)
        connection.sendall(STARTED)
        watched: list[socket.socket | int] = [connection, ended]
        while True:
            ready = select.select(watched, [], [])[0]
            if ended in ready:
                os.read(ended, 64)
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    connection.sendall(STATUS.pack(status))
                    break
            if connection in ready:
                number = connection.recv(1)
                os.killpg(pid, number[0] if number else signal.SIGKILL)
                if not number:
                    break
    except OSError:
        os.killpg(pid, signal.SIGKILL)
    finally:
        os._exit(0)


@dataclass(frozen=True)
class _Job:
    """What a client asks for.

    Attributes:
        script: its path, then its arguments.
        environment: its variables.
        files: stdin, stdout and stderr.
    """

    script: list[str]
    environment: dict[bytes, bytes]
    files: list[int]

    def take_over(self) -> None:
        """Make this process what a new Python would be."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(self.files):
            os.dup2(file, number)
            os.close(file)
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
        os.environb.clear()
        os.environb.update(self.environment)
        tempfile.tempdir = None
        sys.argv = self.script
        sys.path.insert(0, str(Path(self.script[0]).resolve().parent))

    def run(self) -> None:
        """Run the script as `__main__`. Its errors look as if this were all of the process."""
        path = self.script[0]
        module = sys.modules["__main__"] = ModuleType("__main__")
        module.__file__ = path
        code = None

        def show(kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
            show_exception(kind, error.with_traceback(_since(code, trace)), error.__traceback__)

        sys.excepthook = show  # type: ignore[assignment]
        code = compile(Path(path).read_bytes(), path, "exec")
        exec(code, module.__dict__)
        _end()


def _end() -> NoReturn:
    """End this process as Python does, but free nothing: that would copy the server's memory."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _since(code: CodeType | None, trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without what comes before `code`."""
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    return trace


def _received(connection: socket.socket) -> _Job | None:
    """Return what a client asks for, or None if it has to start its script itself."""
    if not same_user(connection):
        return None
    try:
        head, files, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
        (length,) = LENGTH.unpack(head)
        request = connection.recv(length, socket.MSG_WAITALL)
        script, folder, environment = marshal.loads(request)
    except (OSError, EOFError, struct.error):
        return None
    mine = folder == str(Path.cwd()) and _lasting(environment) == _lasting(dict(os.environb))
    return _Job(script, environment, files) if mine else None


def _lasting(environment: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in environment.items() if name not in PER_JOB}
