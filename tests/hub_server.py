"""A stand-in for the Hugging Face hub: an HTTP server with the part of its API that huggingface_hub uses for models."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stylenet.nets.hub import package

WRITER, READER = "hf_may_write", "hf_may_read"  # tokens


@dataclass
class Repo:
    """A model's repo. ``commits``: the files of each commit by its hash. ``refs``: branches and tags."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str = "", ref: str = "main") -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}{message}".encode()).hexdigest()
        self.commits[sha], self.refs[ref] = dict(files), sha
        self.messages.append(message)
        return sha

    def at(self, revision: str) -> str | None:
        sha = self.refs.get(revision, revision)
        return sha if sha in self.commits else None

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]


class Hub(ThreadingHTTPServer):
    """``repos``: by user/name. ``requests``: method and path of all that came. ``down``: a status for all answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.down: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, repo: str, files: dict[str, bytes], private: bool = False, gated: bool = False) -> Repo:
        self.repos[repo] = Repo(private, gated)
        self.repos[repo].commit({".gitattributes": b"", **files})
        return self.repos[repo]


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that listens on a free port of this machine."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, an empty cache, and nobody logged in. huggingface_hub reads its environment once, so its constants
    are set.
    """
    pytest.importorskip("huggingface_hub")
    with running() as server:
        constants = package().constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("stylenet.nets.hub._fetched", {})
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    # --- what every answer needs

    def _send(self, status: int, body: bytes | dict | list = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def _may_write(self) -> bool:
        if self._token() == WRITER:
            return True
        status = 403 if self._token() == READER else 401
        self._refuse(status, "", "You do not have the rights to create a model under this namespace")
        return False

    def _repo(self, name: str) -> Repo | None:
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and self._token() not in (WRITER, READER)):
            self._refuse(404 if self._token() else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _answer(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self._body()
        path = urlsplit(self.path).path
        if self.server.down:
            self._refuse(self.server.down, "", "Internal error")
            return
        for method, pattern, handle in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                handle(self, body, *map(unquote, found.groups("")))
                return
        self._refuse(404, "", f"No such path: {path}")

    # --- reading

    def _info(self, body: bytes, name: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        sha = repo.at(revision or "main")
        if sha is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = [{"rfilename": file} for file in repo.commits[sha]]
        self._send(200, {"id": name, "sha": sha, "private": repo.private, "siblings": files, "gated": repo.gated})

    def _tree(self, body: bytes, name: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is not None:
            files = repo.commits[repo.at(revision) or ""]
            oid = {path: hashlib.sha1(data).hexdigest() for path, data in files.items()}
            self._send(200, [{"type": "file", "path": p, "size": len(d), "oid": oid[p]} for p, d in files.items()])

    def _file(self, body: bytes, name: str, revision: str, file: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        sha = repo.at(revision)
        if sha is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif repo.gated and self._token() != WRITER:
            self._refuse(403, "GatedRepo", "Access to this model is restricted")
        elif file not in repo.commits[sha]:
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            data = repo.commits[sha][file]
            headers = {"X_Repo_Commit": sha, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept_Ranges": "bytes"}
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
            if part is None:
                self._send(200, data, **headers)
                return
            first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            self._send(206, data[first : last + 1], **headers)

    # --- writing

    def _create(self, body: bytes) -> None:
        if not self._may_write():
            return
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.server.repos:
            self._send(409, {"error": "You already created this model repo", "url": f"{self.server.url}/{name}"})
            return
        self.server.add(name, {}, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        self._send(200, {"url": f"{self.server.url}/{name}", "name": name, "id": name})

    def _validate(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        if re.match(r"---\n.*\n---\n", text, re.DOTALL):
            self._send(200, {"warnings": [], "errors": []})
        else:
            self._send(400, {"warnings": [], "errors": [{"message": "no metadata"}]})

    def _preupload(self, body: bytes, name: str, revision: str) -> None:
        if self._may_write():
            modes = {True: "regular", False: "lfs"}
            files = [
                {"path": one["path"], "uploadMode": modes[one["path"].endswith(".md")], "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._send(200, {"files": files})

    def _batch(self, body: bytes, name: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.url}/blob/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def _blob(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.blobs[oid] = body
        self._send(200)

    def _commit(self, body: bytes, name: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is None or not self._may_write():
            return
        files, message = dict(repo.files), ""
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        sha = repo.commit(files, message, revision)
        self._send(200, {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})


_REPO = r"([^/]+/[^/]+)"
_ROUTES = [
    ("GET", rf"/api/models/{_REPO}(?:/revision/([^/]+))?", _Answers._info),
    ("GET", rf"/api/models/{_REPO}/tree/([^/]+)", _Answers._tree),
    ("GET HEAD", rf"/{_REPO}/resolve/([^/]+)/(.+)", _Answers._file),
    ("POST", "/api/repos/create", _Answers._create),
    ("POST", "/api/validate-yaml", _Answers._validate),
    ("POST", rf"/api/models/{_REPO}/preupload/([^/]+)", _Answers._preupload),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Answers._batch),
    ("PUT", r"/blob/([0-9a-f]+)", _Answers._blob),
    ("POST", rf"/api/models/{_REPO}/commit/([^/]+)", _Answers._commit),
]
