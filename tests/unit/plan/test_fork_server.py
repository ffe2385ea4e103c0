from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from circuitlapse.plan.fork_server import MODULES, THREADS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs abstract sockets")

PARENT = """
import shlex, sys
from circuitlapse.plan.fork_server import start_server
print(start_server(shlex.quote(sys.executable), {modules}), flush=True)
sys.stdin.read()
"""
FORKED = "print('plan.fork_server' in open(f'/proc/{os.getppid()}/cmdline').read())"
"""Says whether a script runs in a fork."""
ENVIRONMENT = os.environ | dict.fromkeys(THREADS, "1")


@dataclass
class Parent:
    """A process with a server, as Snakemake is one; its jobs run in `folder`."""

    folder: Path
    process: subprocess.Popen[str]
    command: list[str]

    def start(self, code: str, **options: Any) -> subprocess.Popen[str]:
        """Start a job that runs this code."""
        script = self.folder / "a script.py"
        script.write_text(f"import os, sys, time\n{textwrap.dedent(code)}")
        return self.start_script(self.command, **options)

    def start_script(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        usual = {"stdin": -1, "stdout": -1, "stderr": -1, "cwd": self.folder, "env": ENVIRONMENT}
        return subprocess.Popen(
            [*command, self.folder / "a script.py"], text=True, **(usual | options)
        )

    def run(self, code: str, **options: Any) -> tuple[int, str, str]:
        """Return the exit status, stdout and stderr of a job."""
        return ended(self.start(code, **options))

    def run_plainly(self, **options: Any) -> tuple[int, str, str]:
        """Return them for the same script, run by Python itself."""
        return ended(self.start_script([sys.executable], **options))

    def server(self) -> int:
        """Return the process of the server."""
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def alive(self) -> bool:
        """Return whether the socket of the server listens."""
        sockets = Path("/proc/net/unix").read_text().splitlines()
        return any(self.command[-1] in line and line.split()[3] == "00010000" for line in sockets)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def ended(job: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = job.communicate("some input", timeout=60)
    return job.returncode, out, err


@pytest.fixture(scope="module", autouse=True)
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C reach the processes of this module; those of a background job ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def new_parent(interruptible, tmp_path_factory) -> Iterator[Callable[..., Parent]]:
    parents = []

    def new(modules: tuple[str, ...] = ()) -> Parent:
        folder = tmp_path_factory.mktemp("a folder")
        command = [sys.executable, "-c", PARENT.format(modules=modules)]
        process = subprocess.Popen(
            command, text=True, stdin=-1, stdout=-1, cwd=folder, env=ENVIRONMENT
        )
        parents.append(Parent(folder, process, shlex.split(process.stdout.readline())))
        return parents[-1]

    yield new
    for parent in parents:
        parent.end()
        until(lambda parent=parent: not parent.alive())


@pytest.fixture(scope="module")
def parent(new_parent) -> Parent:
    return new_parent()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(job: subprocess.Popen[str]) -> int:
    """Return the process of a job whose first line of output says it."""
    return int(job.stdout.readline())


WAITS = """
    print(os.getpid(), flush=True)
    try:
        time.sleep(60)
    finally:
        print("cleaned up")
"""


def test_a_job_finds_what_it_would_find_in_a_python_of_its_own(parent, tmp_path):
    code = """
        import __main__, signal, tempfile
        print(sys.argv, sys.path, __name__, __file__, os.getcwd(), sys.stdin.read())
        print(sorted(os.environ.items()), tempfile.gettempdir())
        print(os.listdir("/proc/self/fd"), sys.stdout.line_buffering, __main__.sys is sys)
        print([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM)])
        print("to stderr", file=sys.stderr)
    """
    options = {"env": ENVIRONMENT | {"TMPDIR": str(tmp_path)}}
    forked = parent.run(f"{textwrap.dedent(code)}\n{FORKED}", **options)
    plain = parent.run_plainly(**options)
    assert forked[1].endswith("\nTrue\n")
    assert plain[1].endswith("\nFalse\n")
    assert forked[1].splitlines()[:-1] == plain[1].splitlines()[:-1]
    assert str(tmp_path) in forked[1]
    assert (forked[0], forked[2]) == (plain[0], plain[2]) == (0, "to stderr\n")


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit(3)",
        "sys.exit('in vain')",
        "import atexit\natexit.register(print, 'last')\nprint('first', end='; ')",
        "def f():\n    try:\n        1 / 0\n    except ArithmeticError:\n        int('a')\nf()",
        "import threading\nthreading.Timer(0.2, print, ['late']).start()\nprint('early')",
        "this is no Python",
        "import subprocess\nsubprocess.run(['false'], check=True)",
        "os._exit(5)",
        "os.kill(os.getpid(), 9)",
        "os.kill(os.getpid(), 15)",
        "raise KeyboardInterrupt",
    ],
)
def test_a_job_ends_as_it_would_in_a_python_of_its_own(parent, code):
    forked = parent.run(code)
    assert forked == parent.run_plainly()
    assert forked != (0, "", "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"env": ENVIRONMENT | {"OMP_NUM_THREADS": "2"}}, "2 False\nFalse\n"),
        ({"cwd": "/"}, "1 True\nFalse\n"),
    ],
    ids=["threads", "folder"],
)
def test_what_would_differ_from_the_server_starts_the_plain_way(parent, options, expected):
    code = f"print(os.environ['OMP_NUM_THREADS'], os.getcwd() == '/')\n{FORKED}"
    assert parent.run(code, **options) == (0, expected, "")


def test_two_jobs_run_at_once(parent, tmp_path):
    """Each waits for a word of the other."""
    code = """
        ours, theirs = sys.stdin.readline().split()
        open(ours, "w").close()
        while not os.path.exists(theirs):
            time.sleep(0.01)
    """
    names = [str(tmp_path / name) for name in "ab"]
    jobs = [parent.start(code) for _ in names]
    for job, (ours, theirs) in zip(jobs, (names, names[::-1]), strict=True):
        job.stdin.write(f"{ours} {theirs}\n")
        job.stdin.flush()
    assert [job.wait(30) for job in jobs] == [0, 0]
    for job in jobs:
        job.communicate()


def test_a_job_dies_with_its_client(parent):
    job = parent.start(WAITS)
    pid = pid_of(job)
    job.kill()
    until(lambda: not runs(pid))
    job.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_job_once(parent, number):
    """Ctrl-C lets it clean up."""
    job = parent.start(WAITS)
    pid = pid_of(job)
    job.send_signal(number)
    out, err = job.communicate(timeout=30)
    assert job.returncode == -number
    assert out == ("cleaned up\n" if number == signal.SIGINT else "")
    assert err.count("KeyboardInterrupt") == (number == signal.SIGINT)
    assert not runs(pid)


@pytest.mark.parametrize("how", ["it ends", "it is killed"])
def test_nothing_is_left_of_a_server_whose_parent_is_gone(new_parent, how):
    """Its last job goes on, and tells its client how it ended."""
    parent = new_parent()
    job = parent.start("print(os.getpid(), flush=True)\nsys.stdin.read()\nsys.exit(4)")
    pid, server = pid_of(job), parent.server()
    if how == "it ends":
        parent.end()
    else:
        parent.process.kill()
    until(lambda: not runs(server))
    until(lambda: not parent.alive())
    assert runs(pid)
    assert ended(job) == (4, "", "")
    until(lambda: not runs(pid))
    assert parent.run(FORKED)[:2] == (0, "False\n")


def test_without_its_server_a_client_starts_the_script_itself(new_parent):
    parent = new_parent()
    os.kill(parent.server(), signal.SIGKILL)
    until(lambda: not parent.alive())
    assert parent.run("sys.exit(6)")[0] == 6
    assert parent.run(FORKED) == (0, "False\n", "")


def test_a_server_that_cannot_import_does_no_harm(new_parent, capfd):
    assert new_parent(("no_such_module",)).run(FORKED)[:2] == (0, "False\n")
    assert "no_such_module" in capfd.readouterr().err


@pytest.fixture(scope="module")
def full(new_parent) -> Parent:
    return new_parent(MODULES)


def test_the_server_has_one_thread_when_it_forks(full):
    """Others would not exist in a fork, which could wait for them; jemalloc knows about forks."""
    assert full.run(FORKED)[1] == "True\n"
    names = [task.read_text() for task in Path(f"/proc/{full.server()}/task").glob("*/comm")]
    assert len(names) == 1 + names.count("jemalloc_bg_thd\n")


def test_numbers_are_those_of_a_python_of_its_own_bit_for_bit(full):
    code = """
        import torch, numpy
        torch.manual_seed(0)
        a = torch.randn(300, 300, requires_grad=True)
        b = torch.nn.functional.softmax(a @ a.T, -1).log().sum()
        b.backward()
        print(b.item().hex(), a.grad.double().sum().item().hex(), torch.rand(1).item().hex())
        print(torch.get_num_threads(), torch.get_num_interop_threads(), os.getppid() > 1)
        print(float(numpy.linalg.svd(a.detach().numpy())[1].sum()).hex())
    """
    forked = full.run(code)
    assert forked == full.run_plainly()
    assert forked[0] == 0


def test_a_job_needs_no_import_of_what_the_server_has(full):
    code, out, _ = full.run("print('torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)")
    assert (code, out) == (0, "True False\n")
