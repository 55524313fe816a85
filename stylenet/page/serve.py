"""Serve a page of :mod:`stylenet.page.build`: the files that it lists and nothing else, with safe headers.

A request is looked up in a table made at the start, so no path leads out of the folder.
"""

import errno
import json
import shutil
import socket
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stylenet.page.build import LIST
from stylenet.system.errors import UserError

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",  # these two give the page threads
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".txt": "text/plain; charset=utf-8",
}
HOST, PORT = "127.0.0.1", 8000


def page_files(folder: str | Path) -> dict[str, Path]:
    """The page's files by the path of their address. Raises UserError if there is no whole page in ``folder``."""
    root = Path(folder).expanduser().resolve()
    try:
        listed = json.loads((root / LIST).read_text(encoding="utf-8"))["files"]
        names = [name for name in listed if isinstance(name, str)]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"folder={folder} holds no page: write one with stylenet page folder={folder}.") from None
    files = {f"/{name}": (root / name).resolve() for name in names}
    for name, file in files.items():
        if not file.is_relative_to(root) or not file.is_file():
            raise UserError(
                f"folder={folder}: {name[1:]} is missing. Write the page again: stylenet page folder={folder}."
            )
    return {"/": files["/index.html"], **files} if "/index.html" in files else files


def server(folder: str | Path = "site", host: str = HOST, port: int = PORT) -> ThreadingHTTPServer:
    """A server of the page in ``folder``, which ``serve_forever()`` starts. ``port``: 0 for any that is free.

    Raises UserError if there is no page, and if the address cannot be used.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise UserError(f"port={port}: give a number from 1 to 65535, or 0 for any that is free.")
    files = page_files(folder)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        kind = type("Server", (_Server,), {"address_family": family})
        return kind((host, port), files)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port={port} is in use on {host}: give another port=, or port=0 for any.") from error
        raise UserError(f"Cannot listen on host={host}, port={port}: {error.strerror or error}.") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], files: Mapping[str, Path]):
        self.files = files
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away while it is answered is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30  # seconds that a client may be silent
    server_version, sys_version = "stylenet", ""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        file = self.server.files.get(urllib.parse.unquote(self.path.partition("?")[0]))
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            stream = file.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with stream:
            state = file.stat()
            tag = f'"{state.st_mtime_ns:x}-{state.st_size:x}"'
            if self.headers.get("If-None-Match") == tag:
                self.send_response(HTTPStatus.NOT_MODIFIED)
                self.send_header("ETag", tag)
                self.end_headers()
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(state.st_size))
            self.send_header("ETag", tag)
            self.end_headers()
            if body:
                shutil.copyfileobj(stream, self.wfile)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A line of text; nothing of the request is in it."""
        text = f"{int(code)} {HTTPStatus(code).phrase}\n".encode()
        self.send_response(code)
        self.send_header("Content-Type", TYPES[".txt"])
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no record of requests."""
