"""A hub on this machine, with the part of Hugging Face's protocol that we use."""

from __future__ import annotations

import fcntl
import hashlib
import json
import socket
import struct
import termios
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
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
    """What goes wrong with the next GET of a matching path, once.

    Attributes:
        path: with wildcards; large files lie below `/storage/`.
        status: answer with this status and these headers.
        stop_at: close the connection after so many bytes.
        reset: close it with a TCP reset.
        hang: keep it open, but send nothing more.
        other: send these bytes instead of the file.
    """

    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    stop_at: int | None = None
    reset: bool = False
    hang: bool = False
    other: bytes | None = None


class FakeHub:
    """Serves repositories from memory on 127.0.0.1; large files come from another host, as usual.

    Attributes:
        repos: files by repository, revision and name.
        faults: what goes wrong with the next requests.
        requests: the requests so far.
        token: the token that gated repositories ask for.
        gated: whether repositories are gated.
        omitted: keys to leave out of the list of files.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
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
                self._send(path, b"", fault.status, fault.headers)
            elif path.startswith("/api/models/"):
                self._api(path)
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

        def _api(self, path: str) -> None:
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
            self._send(path, json.dumps(answer).encode(), 200, {"Content-Type": "application/json"})

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
            if asked:
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
            stop = None if fault is None else fault.stop_at
            sent = b"" if self.command == "HEAD" else body[:stop]
            authorized = "Authorization" in self.headers
            asked = self.headers.get("Range")
            hub.requests.append(Request(self.command, path, asked, authorized, len(sent)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)
            self.wfile.flush()
            if stop is not None and self.command == "GET":
                self._hang_up(fault or Fault(path))

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
