"""Requests to a hub that may send anything, of any length, at any speed.

A file is received up to its listed size and not further, resumes where it broke or where a killed
process left it, and has a smallest rate and a longest time. Its hash is the caller's to check.
"""

from __future__ import annotations

import fcntl
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from circuitlapse.jobs import byte_progress
from circuitlapse.errors import HubError
from circuitlapse.hub.retry import CONNECTION_ERRORS, AnswerError, RetryPolicy, describe
from circuitlapse.redaction import hide

LOG = logging.getLogger(__name__)
PARTIAL_CONTENT = 206
ENOUGH_BYTES = 2**20
"""An attempt that receives this many new bytes before the connection is lost has not failed."""
MAX_REDIRECTS = 5
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:\*|[0-9]{1,18})")
_OF_THE_BODY = ("content-length", "content-encoding", "transfer-encoding")


class TooSlow(httpx2.TimeoutException):
    """A server that sends, but less than it should."""


class Pace:
    """Whether an answer comes fast enough.

    Args:
        retry: with the smallest rate.
    """

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._since, self._then = time.monotonic(), 0

    def check(self, n_bytes: int) -> None:
        """Compare the rate since the last check that did, at least `retry.window_s` ago.

        Args:
            n_bytes: received so far.

        Raises:
            TooSlow: if it is too small.
        """
        now = time.monotonic()
        if now - self._since < self._retry.window_s:
            return
        found = (n_bytes - self._then) / (now - self._since) / 1000
        if found < self._retry.slowest_kb_s:
            raise TooSlow(
                f"{found:.1f} kB/s, expected at least {self._retry.slowest_kb_s:g} kB/s "
                "(checkpoints.slowest_kb_s)"
            )
        self._since, self._then = now, n_bytes


@contextmanager
def opened(url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[httpx2.Response]:
    """Yield the answer to a GET whose body was not read yet, and is sent as it is.

    The bodies of redirects and errors are never read: they may have no end. The token is sent to
    the host of `url` only.

    Raises:
        AnswerError: if it is redirected too often, or from https to http, or compressed.
        HfHubHTTPError: if its status is an error.
    """
    hide(get_token())
    client = get_session()
    asked = {"Accept-Encoding": "identity", **headers}  # a compressed one could not be resumed
    request: httpx2.Request | None = client.build_request(
        "GET", url, headers=build_hf_headers(headers=asked), timeout=timeout_s
    )
    with ExitStack() as stack:
        for _ in range(MAX_REDIRECTS + 1):
            assert request is not None, "a redirect without an address has no next request"
            secure = request.url.scheme == "https"
            response = client.send(request, stream=True, follow_redirects=False)
            stack.callback(response.close)
            request = response.next_request
            if request is None:
                break
            if secure and request.url.scheme != "https":
                raise AnswerError("it redirects from https to http")
        else:
            raise AnswerError(f"it answers with more than {MAX_REDIRECTS} redirects")
        _require_success(response)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise AnswerError("expected the plain bytes, found a compressed answer")
        yield response


def _require_success(response: httpx2.Response) -> None:
    """Raise the error of `huggingface_hub` for a status, without reading the body."""
    if response.is_success:
        return
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in _OF_THE_BODY
    ]
    response.close()
    hf_raise_for_status(
        httpx2.Response(response.status_code, headers=headers, request=response.request)
    )
    raise AnswerError(f"expected a file, found the status {response.status_code}")


@dataclass
class Download:
    """One file that is received.

    Attributes:
        name: in messages.
        url: its address on the hub.
        path: where it goes; what is there already is its beginning.
        size: in bytes, as listed.
        retry: when to retry, the smallest rate, and the longest time.
    """

    name: str
    url: str
    path: Path
    size: int
    retry: RetryPolicy
    _furthest: int = 0
    _ends: float = field(default=0.0)

    def run(self) -> None:
        """Receive what is missing.

        Raises:
            AnswerError: if the hub sends something else.
            HubError: if the time is over, or another process receives the same file.
            HTTPError: if the connection fails for good; what was received is kept.
        """
        self._ends = time.monotonic() + self.retry.longest_hours * 3600
        self.path.touch()
        with self.path.open("r+b") as out, byte_progress(self.size, self.name, log=LOG) as bar:
            _lock(out, self.name)
            if out.seek(0, 2) > self.size:
                out.truncate(0)
            self._furthest = out.seek(0, 2)
            while not self.retry.retrying(self.name)(self._attempt, out, bar):
                pass

    def _attempt(self, out: BinaryIO, bar: Any) -> bool:
        """Receive the missing bytes; return whether all are there."""
        done = out.seek(0, 2)
        if done == self.size:
            return True
        wanted = {"Range": f"bytes={done}-"} if done else {}
        try:
            with opened(self.url, wanted, float(constants.HF_HUB_DOWNLOAD_TIMEOUT)) as response:
                out.truncate(self._start(response, done))
                bar.n = out.seek(0, 2)
                self._receive(response, out, bar)
        except CONNECTION_ERRORS as error:
            out.flush()
            now = out.seek(0, 2)
            new, self._furthest = now - self._furthest, max(now, self._furthest)
            if new < ENOUGH_BYTES or isinstance(error, TooSlow):
                raise
            LOG.info(
                "%s: %s; resuming at byte %d of %d", self.name, describe(error), now, self.size
            )
            return False
        return True

    def _start(self, response: httpx2.Response, done: int) -> int:
        """Return where in the file an answer starts.

        Raises:
            AnswerError: if it cannot be the rest of the file, or all of it.
        """
        start = 0
        if response.status_code == PARTIAL_CONTENT:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            start = int(found[1]) if found else -1
            if start != done:
                raise AnswerError(f"{self.name}: expected the bytes from {done:,}, found others")
        length = response.headers.get("Content-Length")
        if length is not None and length != str(self.size - start):
            if "html" in response.headers.get("Content-Type", "").lower():
                raise AnswerError(f"{self.name}: found an HTML page; does a proxy ask for a login?")
            digits = f"{int(length):,}" if re.fullmatch("[0-9]{1,18}", length) else "another number"
            raise AnswerError(
                f"{self.name}: expected {self.size - start:,} bytes, found an answer of {digits}"
            )
        return start

    def _receive(self, response: httpx2.Response, out: BinaryIO, bar: Any) -> None:
        """Append an answer, but not more than the listed size."""
        pace, received = Pace(self.retry), 0
        for chunk in response.iter_raw():
            received += len(chunk)
            bar.update(out.write(chunk[: self.size - out.tell()]))
            if out.tell() == self.size:
                return
            self._check_deadline()
            pace.check(received)
        raise httpx2.RemoteProtocolError(f"ended after {out.tell():,} bytes of {self.size:,}")

    def _check_deadline(self) -> None:
        if time.monotonic() > self._ends:
            raise HubError(
                f"{self.name}: not complete after {self.retry.longest_hours:g} hours "
                "(checkpoints.longest_hours); run this again: it goes on where it stopped"
            )


def _lock(stream: BinaryIO, name: str) -> None:
    """Refuse if another process receives the same file; a file system may have no locks."""
    with suppress(OSError):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError(f"{name}: another process downloads it; wait for its end") from None
