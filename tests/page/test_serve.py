"""``stylenet serve``: the page's files and nothing else, with safe headers; a line for a mistake."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from pages import serving

from stylenet.page.serve import page_files, server
from stylenet.system.errors import UserError


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder with a page's list of files, and others beside them."""
    folder = tmp_path / "site"
    (folder / "networks").mkdir(parents=True)
    files = {"index.html": "<h1>it</h1>", "app.js": "run()", "networks/a b.onnx": "net", "runtime.wasm": "\0asm"}
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "styles.json").write_text(json.dumps({"files": [*files, "styles.json"]}))
    (folder / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path that is sent as it is."""
    connection = http.client.HTTPConnection(re.sub(r"http://|/$", "", address), timeout=20)
    connection.putrequest(method, path, skip_host=False)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_files_come_with_their_type_and_the_headers_that_keep_the_page_to_itself(page):
    with serving(page) as address:
        status, headers, body = ask(address, "/")
        assert (status, body, headers["content-type"]) == (200, b"<h1>it</h1>", "text/html; charset=utf-8")
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and "http" not in headers["content-security-policy"]
        allowed = {source for sources in policy.values() for source in sources.split()}
        assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'"}
        assert ask(address, "/app.js?x=1")[1]["content-type"] == "text/javascript; charset=utf-8"
        assert ask(address, "/runtime.wasm")[1]["content-type"] == "application/wasm"
        assert ask(address, "/networks/a%20b.onnx")[2] == b"net"


def test_head_gives_the_headers_alone_and_a_file_that_is_known_is_not_sent_again(page):
    with serving(page) as address:
        status, headers, body = ask(address, "/app.js", "HEAD")
        assert (status, headers["content-length"], body) == (200, "5", b"")
        status, again, body = ask(address, "/app.js", if_none_match=headers["etag"])
        assert (status, body) == (304, b"") and "content-security-policy" in again
        (page / "app.js").write_text("run(again)")
        assert ask(address, "/app.js", if_none_match=headers["etag"])[2] == b"run(again)"


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../secret.txt",
        "/networks/../secret.txt",
        "/networks/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/networks",
        "/networks/",
        "/index.html/",
        "/./app.js",
        "/app.js%00",
        "/etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is_served(page, path):
    with serving(page) as address:
        for method in ("GET", "HEAD"):
            status, headers, body = ask(address, path, method)
            assert status == 404 and b"secret" not in body and b"<" not in body
            assert "content-security-policy" in headers and headers["x-content-type-options"] == "nosniff"
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(address, "/", method)[0] == 501


def test_a_list_or_a_link_that_leads_out_of_the_folder_is_refused(page):
    files = json.loads((page / "styles.json").read_text())["files"]
    (page / "styles.json").write_text(json.dumps({"files": [*files, "../secret.txt"]}))
    with pytest.raises(UserError, match=r"\.\./secret.txt is missing. Write the page again"):
        page_files(page)
    (page / "link.txt").symlink_to(page.parent / "secret.txt")
    (page / "styles.json").write_text(json.dumps({"files": [*files, "link.txt"]}))
    with pytest.raises(UserError, match="link.txt is missing"):
        page_files(page)


def test_it_listens_on_this_machine_alone_unless_told_otherwise(page):
    with server(page, port=0) as running:
        assert running.server_address[0] == "127.0.0.1"


def start(folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "stylenet", "serve", *words]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=-1, stderr=-1, text=True)


def test_the_command_prints_the_address_and_ends_with_ctrl_c(page):
    running = start(page.parent, "port=0")
    assert running.stdout is not None
    address = running.stdout.readline().strip()
    assert ask(address, "/app.js")[2] == b"run()"
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout, stderr) == (0, "", "Ctrl-C stops it.\nStopped.\n")


def test_mistakes_are_a_line_each(page, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mistakes = [
            (
                ["folder=site", f"port={port}"],
                f"port={port} is in use on 127.0.0.1: give another port=, or port=0 for any.",
            ),
            (["folder=nowhere"], "folder=nowhere holds no page: write one with stylenet page folder=nowhere."),
            (["port=70000"], "port=70000: give a number from 1 to 65535, or 0 for any that is free."),
            (["port=http"], "port=http: give a number from 1 to 65535, or 0 for any that is free."),
            (["host=192.0.2.1", "port=0"], "Cannot listen on host=192.0.2.1, port=0: Cannot assign requested address."),
            (["open=maybe"], "open=maybe: give true or false."),
        ]
        started = [start(tmp_path, *words) for words, _ in mistakes]
        for process, (words, told) in zip(started, mistakes, strict=True):
            stdout, stderr = process.communicate(timeout=120)
            assert (process.returncode, stdout, stderr) == (2, "", f"{told}\n"), words
