"""A Hugging Face hub on 127.0.0.1: enough of its API to list, download and upload models, and to fail as it does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LFS_BYTES = 10_000
"""Larger files are served from another path after a redirect, as from the hub's object storage."""


@dataclass
class Repository:
    """A model repository.

    Args:
        commits: Files by path, by commit.
        refs: Commit of each branch and tag.
        gated: Whether files are given only with a token.
        private: Whether it is private.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: Mapping[str, bytes], *refs: str) -> str:
        """Add a commit, which branch ``main`` and the given refs point to; returns its hash."""
        text = repr([(name, hashlib.sha1(data).hexdigest()) for name, data in sorted(files.items())])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs |= dict.fromkeys(("main", *refs), sha)
        return sha


class HubServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        repositories: The repositories by ``owner/name``.
        requests: Method, path and Range header of each request so far.
        cut: File names of which a response ends in the middle, and how many times it does.
        stall: File names of which a response stops in the middle until ``resume`` is set.
        down: Whether no connection is answered.
        refused: Status and error code of the responses to writing requests, by the token that is used.
        messages: Messages of the commits that clients made.
        stored: Large files that were uploaded, by SHA-256.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut: dict[str, int] = {}
        self.stall: set[str] = set()
        self.stalled, self.resume = threading.Event(), threading.Event()
        self.down = False
        self.refused: dict[str, int] = {}
        self.messages: list[str] = []
        self.stored: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def downloaded(self) -> list[str]:
        """Names of the files whose content was requested, in order."""
        return [
            unquote(path).rpartition("/")[2]
            for method, path, _ in self.requests
            if method == "GET" and "/api/" not in path
        ]

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Variables of a process that uses this hub and a cache of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return kept | {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if self.server.down:
            self.close_connection = True
        elif self.command in ("POST", "PUT"):
            self.write(path, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            self.api(*match.groups())
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*map(unquote, match.groups()))
        elif match := re.fullmatch(r"/objects/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            repository, commit, name = map(unquote, match.groups())
            self.send_file(self.server.repositories[repository].commits[commit][name], name, {})
        else:
            self.fail(404, "NotFound")

    def commit_of(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """A repository and the commit of a revision; None after an error was sent."""
        repository = self.server.repositories.get(name)
        if repository is None:
            return self.fail(404, "RepoNotFound")
        commit = repository.refs.get(revision, revision)
        return (repository, commit) if commit in repository.commits else self.fail(404, "RevisionNotFound")

    def api(self, name: str, what: str | None, revision: str | None) -> None:
        """Information about a repository, or the list of its files."""
        if (found := self.commit_of(name, unquote(revision or "main"))) is None:
            return
        repository, commit = found
        files = repository.commits[commit]
        siblings = [{"rfilename": path} for path in sorted(files)]
        info = {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}
        self.send(200, json.dumps(self.tree(files) if what == "tree" else info).encode())

    @staticmethod
    def tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
        folders = {path.rpartition("/")[0] for path in files} - {""}
        listed: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in folders]
        for path, data in files.items():
            entry = {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": path}
            if len(data) > LFS_BYTES:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            listed.append(entry)
        return listed

    def write(self, path: str, body: bytes) -> None:
        """A request of an upload; anybody with a token may write."""
        if self.command == "PUT":  # to the object storage, whose addresses are signed
            self.server.stored[path.rpartition("/")[2]] = body
            return self.send(200, b"")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if status := self.server.refused.get(token, 0 if token else 401):
            return self.send(status, json.dumps({"error": "Invalid username or password."}).encode())
        if path == "/api/validate-yaml":
            return self.send_json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repository(name).private = asked.get("private") or asked.get("visibility") == "private"
            self.server.repositories[name].commit({".gitattributes": b"*.safetensors filter=lfs"})
            return self.send_json({"url": f"{self.server.url}/{name}", "name": name})
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.send_json({"transfer": "basic", "objects": list(map(self.place, json.loads(body)["objects"]))})
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/([^/]+)", path)
        if match is None or match[1] not in self.server.repositories:
            return self.fail(404, "RepoNotFound")
        name, what, revision = match[1], match[2], unquote(match[3])
        if what == "branch":
            refs = self.server.repositories[name].refs
            refs[revision] = refs["main"]
            return self.send_json({})
        if (found := self.commit_of(name, revision)) is None:
            return None
        if what == "preupload":
            return self.send_json({"files": [self.mode(file) for file in json.loads(body)["files"]]})
        commit = self.store(*found, revision, [json.loads(line) for line in body.splitlines()])
        return self.send_json({"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit})

    def place(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """Where a large file is to be sent; nowhere if it is there."""
        actions = {"upload": {"href": f"{self.server.url}/objects/{file['oid']}", "header": {}}}
        return {**file, **({} if file["oid"] in self.server.stored else {"actions": actions})}

    @staticmethod
    def mode(file: Mapping[str, Any]) -> dict[str, Any]:
        """How a file is uploaded."""
        kind = "lfs" if file["size"] > LFS_BYTES or file["path"].endswith(".safetensors") else "regular"
        return {"path": file["path"], "uploadMode": kind, "shouldIgnore": False}

    def store(self, repository: Repository, parent: str, revision: str, lines: Sequence[dict[str, Any]]) -> str:
        """A commit of what its lines say, on a branch."""
        files = dict(repository.commits[parent])
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        main = repository.refs["main"]
        commit = repository.commit(files, revision)
        if revision != "main":
            repository.refs["main"] = main
        return commit

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def resolve(self, name: str, revision: str, path: str) -> None:
        """A file: a small one at once, a large one by a redirect."""
        if (found := self.commit_of(name, revision)) is None:
            return
        repository, commit = found
        if repository.gated and "Authorization" not in self.headers:
            self.fail(403, "GatedRepo")
        elif (data := repository.commits[commit].get(path)) is None:
            self.fail(404, "EntryNotFound", {"X-Repo-Commit": commit})
        elif len(data) <= LFS_BYTES:
            self.send_file(data, path, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
        else:
            linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
            store = self.server.url.replace("127.0.0.1", "localhost")  # another host, as the object storage is
            location = f"{store}/objects/{name}/{commit}/{path}"
            self.send(302, b"", {"X-Repo-Commit": commit, "Location": location, **linked})

    def send_file(self, data: bytes, path: str, headers: Mapping[str, str]) -> None:
        name = path.rpartition("/")[2]
        first = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            first = int(match[1])
            headers = {**headers, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        body, half = data[first:], (len(data) - first) // 2
        self.send(206 if first else 200, body, headers, stop_at=half if self.interrupted(name) else None)

    def interrupted(self, name: str) -> bool:
        """Whether the response of a file ends, or stops, in the middle."""
        if self.command == "HEAD":
            return False
        left = self.server.cut.get(name, 0)
        self.server.cut[name] = max(left - 1, 0)
        return left > 0 or name in self.server.stall

    def fail(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.send(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code, **(headers or {})})

    def send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, stop_at: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:stop_at])
        if stop_at is not None:
            self.close_connection = True
            if self.path.rpartition("/")[2] in self.server.stall:
                self.server.stalled.set()
                self.server.resume.wait(60)


@contextmanager
def serving() -> Iterator[HubServer]:
    """A running hub."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.resume.set()
            server.shutdown()


DRIVER = """\
import contextlib, io, json, sys
from prismaudio.cli.main import main
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def run_commands(
    environment: Mapping[str, str], folder: Path, *commands: Sequence[object], **options: Any
) -> list[tuple[int, str, str]]:
    """Run commands of ``prismaudio`` one after the other in a process of their own.

    The hub's client reads its environment when it is imported, so that tests of this process cannot change it.

    Returns:
        Exit code, standard output and standard error of each.
    """
    argv = json.dumps([[str(word) for word in command] for command in commands])
    process = subprocess.run(
        [sys.executable, "-c", DRIVER, argv],
        env=dict(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )
    assert process.returncode == 0, process.stderr
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]


def run_script(environment: Mapping[str, str], *lines: str) -> str:
    """Run a script that succeeds in a process of its own, and return what it printed."""
    process = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
