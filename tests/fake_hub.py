"""A hub on this machine, with the part of Hugging Face's protocol that we use."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin")


@dataclass(frozen=True)
class Request:
    """A request to the hub, and how many bytes of a file it sent."""

    method: str
    path: str
    range: str | None
    authorized: bool
    served: int


@dataclass
class Fault:
    """What goes wrong with the next GETs of a matching path; `FAULTS` names the usual ones.

    Attributes:
        path: with wildcards; large files lie below `/storage/`.
        status: answer with this status and these headers, and without a file.
        headers: replace those of the hub; an empty one is left out.
        stop_at: close the connection after so many bytes of an answer.
        reset: close it with a TCP reset.
        hang: keep it open, but send nothing more.
        other: send these bytes instead of the file or the list.
        no_ranges: send the whole file, whatever range is asked for.
        endless: after the answer, send zeros until the client hangs up.
        pause_s: wait so many seconds after every `pause_bytes`.
        pause_bytes: see `pause_s`.
        times: with how many GETs it goes wrong.
    """

    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    stop_at: int | None = None
    reset: bool = False
    hang: bool = False
    other: bytes | None = None
    no_ranges: bool = False
    endless: bool = False
    pause_s: float = 0.0
    pause_bytes: int = 1
    times: int = 1


ALWAYS = 10**6
"""More GETs than a client may try."""
NO_LENGTH = {"Content-Length": ""}
HTML = b"<!DOCTYPE html><html><body>Please log in to the network.</body></html>"
FAULTS: Mapping[str, Callable[[str], Fault]] = {
    "closed": lambda path: Fault(path, stop_at=1_000_000),
    "reset": lambda path: Fault(path, stop_at=1_000_000, reset=True),
    "busy": lambda path: Fault(path, status=503, headers={"Retry-After": "0"}),
    "always busy": lambda path: Fault(path, status=503, times=ALWAYS),
    "asks for years": lambda path: Fault(path, status=429, headers={"Retry-After": "9" * 400}),
    "shorter": lambda path: Fault(path, other=b"short"),
    "shorter without a length": lambda path: Fault(
        path, other=b"short", headers=NO_LENGTH, times=ALWAYS
    ),
    "longer": lambda path: Fault(path, headers={"Content-Length": str(10**9)}, endless=True),
    "endless": lambda path: Fault(path, headers=NO_LENGTH, endless=True),
    "endless error": lambda path: Fault(path, status=500, headers=NO_LENGTH, endless=True),
    "endless redirect": lambda path: Fault(
        path, status=302, headers=NO_LENGTH | {"Location": "/elsewhere"}, endless=True
    ),
    "wrong length": lambda path: Fault(path, headers={"Content-Length": "7"}),
    "wrong range": lambda path: Fault(path, headers={"Content-Range": "bytes 0-1/2"}),
    "html": lambda path: Fault(path, other=HTML, headers={"Content-Type": "text/html"}),
    "bomb": lambda path: Fault(
        path, other=gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"}
    ),
    "redirect loop": lambda path: Fault(
        path, status=302, headers={"Location": "?again"}, times=ALWAYS
    ),
    "the same again": lambda path: Fault(
        path, stop_at=2_000_000, no_ranges=True, reset=True, times=ALWAYS
    ),
    "slow": lambda path: Fault(path, pause_s=0.05, pause_bytes=100, times=ALWAYS),
    "no json": lambda path: Fault(path, other=b"[[[", times=ALWAYS),
    "deep": lambda path: Fault(path, other=b"[" * 10**6, times=ALWAYS),
}
"""The fault of a name, for a path with wildcards."""


class FakeHub:
    """Serves repositories from memory on 127.0.0.1; large files come from another host, as usual.

    Attributes:
        repos: files by repository, revision and name.
        faults: what goes wrong with the next requests.
        requests: the requests so far.
        sent: bytes of all answers so far.
        listing: changes the lists of files before they are sent.
        token: the token that gated repositories ask for.
        gated: whether repositories are gated.
        omitted: keys to leave out of the list of files.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.sent = 0
        self.listing: Callable[[Any], Any] = lambda answer: answer
        self.token: str | None = None
        self.gated = False
        self.omitted: set[str] = set()
        self.hanging = threading.Event()
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, repo: str, revision: str, files: Path | Mapping[str, bytes]) -> None:
        """Publish the files of a folder, or files by name."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
        self.repos.setdefault(repo, {})[revision] = dict(files)

    def commit(self, repo: str, revision: str) -> str:
        return hashlib.sha1(f"{repo}@{revision}".encode()).hexdigest()

    def asked(self, path: str) -> list[Request]:
        """Return the requests for matching paths; `path` may have wildcards."""
        return [request for request in self.requests if fnmatch(request.path, path)]

    def hang(self) -> None:
        """Send nothing until the hub is closed."""
        self.hanging.set()
        self._closed.wait()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sibling(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob_id(content)}
    if name.endswith(LFS_SUFFIXES):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 130}
    return entry


def without(entry: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            fault = self._fault(path)
            if fault is not None and fault.status:
                self._send(path, b"", fault.status, {}, fault)
            elif path.startswith("/api/models/"):
                self._api(path, fault)
            elif path.startswith("/storage/"):
                self._file(path, *path.removeprefix("/storage/").rsplit("/", 2), fault)
            elif "/resolve/" not in path:
                self._refuse(404, "NotFound")
            else:
                repo, _, rest = path[1:].partition("/resolve/")
                self._file(path, repo, *rest.split("/", 1), fault)

        def _fault(self, path: str) -> Fault | None:
            found = next((fault for fault in hub.faults if fnmatch(path, fault.path)), None)
            if found is None or self.command == "HEAD":
                return None
            hub.faults.remove(found)
            if found.times > 1:
                hub.faults.insert(0, replace(found, times=found.times - 1))
            return found

        def _find(self, repo: str, revision: str) -> dict[str, bytes] | None:
            """Return the files of a revision; refuse what is missing."""
            if repo not in hub.repos:
                self._refuse(404, "RepoNotFound")
                return None
            for name, files in hub.repos[repo].items():
                if revision in (name, hub.commit(repo, name)):
                    self.commit = hub.commit(repo, name)
                    return files
            self._refuse(404, "RevisionNotFound")
            return None

        def _api(self, path: str, fault: Fault | None) -> None:
            rest = path.removeprefix("/api/models/")
            if rest.endswith("/refs"):
                repo = rest.removesuffix("/refs")
                if repo not in hub.repos:
                    self._refuse(404, "RepoNotFound")
                    return
                names = [
                    {"name": name, "ref": f"refs/heads/{name}"}
                    | {"targetCommit": hub.commit(repo, name)}
                    for name in hub.repos[repo]
                ]
                answer: Any = {"branches": names, "converts": [], "tags": []}
            elif "/tree/" in rest:
                repo, _, revision = rest.partition("/tree/")
                files = self._find(repo, revision)
                if files is None:
                    return
                entries = (sibling(name, content) for name, content in files.items())
                answer = [
                    {"type": "file", "path": entry["rfilename"], "oid": entry["blobId"], **entry}
                    for entry in entries
                ]
            else:
                repo, _, revision = rest.partition("/revision/")
                files = self._find(repo, revision or "main")
                if files is None:
                    return
                siblings = [
                    without(sibling(name, content), hub.omitted) for name, content in files.items()
                ]
                answer = without(
                    {"id": repo, "sha": self.commit, "siblings": siblings}, hub.omitted
                )
            body = json.dumps(hub.listing(answer)).encode()
            if fault is not None and fault.other is not None:
                body = fault.other
            self._send(path, body, 200, {"Content-Type": "application/json"}, fault)

        def _file(
            self, path: str, repo: str, revision: str, name: str, fault: Fault | None
        ) -> None:
            files = self._find(repo, revision)
            if files is None:
                return
            if name not in files:
                self._refuse(404, "EntryNotFound")
                return
            stored = path.startswith("/storage/")
            if not stored and hub.gated and not self._authorized():
                self._refuse(403, "GatedRepo")
                return
            content = files[name]
            entry = sibling(name, content)
            etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
            headers = {"X-Repo-Commit": self.commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
            if "lfs" in entry and not stored:
                headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
                target = f"http://localhost:{hub.port}/storage/{repo}/{self.commit}/{name}"
                self._send(path, b"", 302, {**headers, "Location": f"{target}?signature=secret"})
                return
            self._ranged(path, content, headers, fault or Fault(path))

        def _ranged(self, path: str, content: bytes, headers: dict[str, str], fault: Fault) -> None:
            total, start, status = len(content), 0, 200
            content = content if fault.other is None else fault.other
            asked = self.headers.get("Range")
            if asked and not fault.no_ranges:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= total:
                    self._send(path, b"", 416, {"Content-Range": f"bytes */{total}"})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
            self._send(path, content[start:], status, headers, fault)

        def _authorized(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {hub.token}"

        def _refuse(self, status: int, code: str) -> None:
            self._send(self.path, b"", status, {"X-Error-Code": code})

        def _send(
            self,
            path: str,
            body: bytes,
            status: int,
            headers: Mapping[str, str],
            fault: Fault | None = None,
        ) -> None:
            fault = fault or Fault(path)
            sent = b"" if self.command == "HEAD" else body[: fault.stop_at]
            authorized = "Authorization" in self.headers
            asked = self.headers.get("Range")
            hub.requests.append(Request(self.command, path, asked, authorized, len(sent)))
            self.send_response(status)
            all_headers = {"Content-Length": str(len(body)), **headers, **fault.headers}
            for name, value in all_headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            try:
                self._write(sent, fault)
            except OSError:  # the client hung up
                self.close_connection = True
                return
            if fault.stop_at is not None and self.command == "GET":
                self._hang_up(fault)
            if not all_headers["Content-Length"]:
                self.close_connection = True

        def _write(self, sent: bytes, fault: Fault) -> None:
            step = fault.pause_bytes if fault.pause_s else max(len(sent), 1)
            for start in range(0, len(sent), step):
                self.wfile.write(sent[start : start + step])
                self.wfile.flush()
                hub.sent += len(sent[start : start + step])
                time.sleep(fault.pause_s)
            while fault.endless and self.command == "GET" and not hub.closed:
                hub.sent += self.wfile.write(bytes(2**16))

        def _hang_up(self, fault: Fault) -> None:
            if fault.hang:
                hub.hang()
            if fault.reset:
                self._wait_until_received()
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            self.close_connection = True

        def _wait_until_received(self) -> None:
            """Wait until the client has all bytes; a reset drops those on their way."""
            while any(fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4))):
                time.sleep(0.01)

    return Handler
