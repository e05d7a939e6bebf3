"""A small model hub on loopback: the part of the hub's API that huggingface_hub uses to look at and fetch repositories.

Weights are served as the hub serves large files: by a redirect to another host, here the other name of this machine.
"""

import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin")
MIB = 2**20


@dataclass
class Repository:
    """What the hub holds under one name, and how it behaves.

    Attributes:
        files: content by path, at `commit`; other commits are unknown.
        gated: needs a token (401) whose account has been granted access (403).
        delay: seconds before each answer.
        cuts: how many of the next downloads of large files break off half-way.
        trouble: status of every answer, in place of an answer.
        pace: seconds for each MiB of a large file.
        pinned: the commit, whatever the content.
    """

    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False
    granted: bool = False
    delay: float = 0
    cuts: int = 0
    trouble: int | None = None
    pace: float = 0
    pinned: str | None = None

    @property
    def commit(self) -> str:
        """Forty hexadecimal digits that change with the content."""
        if self.pinned:
            return self.pinned
        digest = hashlib.sha1()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()


@dataclass
class Hub:
    """The hub; a context manager while which it answers.

    Attributes:
        models, datasets: repositories by name.
        token: the one token that it knows.
        requests: (method, path, range, authorised) of each request so far.
    """

    models: dict[str, Repository] = field(default_factory=dict)
    datasets: dict[str, Repository] = field(default_factory=dict)
    token: str = "hf_known"
    requests: list[tuple[str, str, str | None, bool]] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def model(self, name: str, folder: Path, **behaviour: object) -> Repository:
        """Serve a folder as a model."""
        self.models[name] = Repository(files(folder), **behaviour)  # type: ignore[arg-type]
        return self.models[name]

    def dataset(self, name: str, folder: Path, **behaviour: object) -> Repository:
        """Serve a folder as a data set."""
        self.datasets[name] = Repository(files(folder), **behaviour)  # type: ignore[arg-type]
        return self.datasets[name]


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that has given up
            self._answer()

    do_HEAD = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        token = self.headers.get("Authorization")
        self.hub.requests.append((self.command, url.path, self.headers.get("Range"), token is not None))
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "cdn":
            return self._large(parts[1], "/".join(parts[2:]))
        if parts[0] == "api":
            kind, name, rest = parts[1], "/".join(parts[2:4]), parts[4:]
            if rest and rest[0] not in ("revision", "tree"):
                return self._refuse(404, "", f"no such part of the API: {url.path}")
            revision = "/".join(rest[1:]) or "main"
        else:
            kind = parts.pop(0) if parts[0] == "datasets" else "models"
            name, rest = "/".join(parts[:2]), parts[2:]
            if len(rest) < 3 or rest[0] != "resolve":
                return self._refuse(404, "", f"no such page: {url.path}")
            revision = rest[1]
        repository = getattr(self.hub, kind, {}).get(name)
        if repository is None:
            return self._refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        time.sleep(repository.delay)
        if repository.trouble is not None:
            return self._refuse(repository.trouble, "", "Internal Error")
        if token not in (None, f"Bearer {self.hub.token}"):
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if revision not in (*repository.revisions, repository.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if parts[0] == "api" and rest[:1] == ["tree"]:
            return self._tree(repository)
        if parts[0] == "api":
            return self._info(name, repository, blobs="blobs" in parse_qs(url.query))
        if repository.gated and not (token and repository.granted):
            return self._refuse(
                401 if token is None else 403, "GatedRepo", f"Access to {kind[:-1]} {name} is restricted"
            )
        self._file(kind, name, repository, "/".join(rest[2:]))

    def _info(self, name: str, repository: Repository, *, blobs: bool) -> None:
        siblings = [
            {"rfilename": path} | ({"size": len(content), "blobId": _etag(content)} if blobs else {})
            for path, content in repository.files.items()
        ]
        gated = "manual" if repository.gated else False
        info = {"id": name, "sha": repository.commit, "private": False, "gated": gated, "siblings": siblings}
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _tree(self, repository: Repository) -> None:
        tree = [
            {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
            for path, content in repository.files.items()
        ]
        self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})

    def _file(self, kind: str, name: str, repository: Repository, path: str) -> None:
        commit = {"X-Repo-Commit": repository.commit}
        content = repository.files.get(path)
        if content is None:
            return self._refuse(404, "EntryNotFound", f"{path} does not exist", commit)
        if path.endswith(LARGE):
            where = f"http://localhost:{self.hub.port}/cdn/{kind}/{name}/{path}"
            large = {"X-Linked-Etag": f'"{_etag(content)}"', "X-Linked-Size": str(len(content)), "Location": where}
            return self._send(302, b"", commit | large)
        self._send(200, content, commit | {"ETag": f'"{_etag(content)}"'})

    def _large(self, kind: Literal["models", "datasets"] | str, place: str) -> None:
        organisation, model, *path = place.split("/")
        repository: Repository = getattr(self.hub, kind)[f"{organisation}/{model}"]
        content = repository.files["/".join(path)]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        if repository.cuts == 0:
            return self._send(206 if start else 200, content[start:], headers, pace=repository.pace)
        repository.cuts -= 1
        self._send(206 if start else 200, content[start:], headers, keep=(len(content) - start) // 2)

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), told | (headers or {}))

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], keep: int | None = None, pace: float = 0
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body[:keep]) if self.command != "HEAD" else 0, MIB):
            time.sleep(pace)
            self.wfile.write(body[start : min(start + MIB, len(body[:keep]))])
        if keep is not None:
            self.close_connection = True


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
