"""Run the script of a job in a fork of the server: `python -I -S fork_client.py ADDRESS SCRIPT`.

Snakemake runs this in place of `python SCRIPT`; `fork_server` explains the whole. It starts for
every job, so it imports little, and nothing outside of the standard library. Without a server it
becomes `python SCRIPT`.
"""

import marshal
import os
import signal
import socket
import struct
import sys
from typing import NoReturn

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
LENGTH = struct.Struct("!Q")
"""The length of a request, before the request."""
STATUS = struct.Struct("!i")
"""How a job ended, as `os.waitpid` tells."""
STARTED = b"s"


def main() -> NoReturn:
    """Run the job, wait for it, and end as it ended."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this process in silence
    address, *script = sys.argv[1:]
    connection = start(address, script)
    if connection is None:
        os.execv(sys.executable, [sys.executable, *script])
    end_as(wait(connection))


def start(address: str, script: list[str]) -> socket.socket | None:
    """Ask the server at an abstract address to run a script with its arguments.

    Returns:
        The connection to the process that watches the job; None if no job was started.
    """
    connection = socket.socket(socket.AF_UNIX)
    folder = os.getcwd()  # noqa: PTH109 (importing pathlib takes too long)
    request = marshal.dumps((script, folder, dict(os.environb)))
    try:
        connection.connect(f"\0{address}")
        if not same_user(connection):
            return None
        socket.send_fds(connection, [LENGTH.pack(len(request))], [0, 1, 2])
        connection.sendall(request)
        return connection if connection.recv(len(STARTED)) == STARTED else None
    except OSError:
        return None


def same_user(connection: socket.socket) -> bool:
    """Return whether the process at the other end belongs to the user of this one."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", peer)
    return bool(user == os.geteuid())


def wait(connection: socket.socket) -> int:
    """Pass signals on to the job until it has ended; return its wait status.

    If the process that watches the job is gone, this one exits with an error.
    """

    def forward(number: int, _: object) -> None:
        try:
            connection.send(bytes([number]))
        except OSError:  # the job has ended
            return

    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        status: int = STATUS.unpack(connection.recv(STATUS.size, socket.MSG_WAITALL))[0]
    except (OSError, struct.error):
        sys.exit("the process that watches this job was killed")
    return status


def end_as(status: int) -> NoReturn:
    """End this process as the job ended: with its exit status, or by the same signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
