"""``stylenet page``: what it writes, and a line for each mistake. Needs no browser."""

import base64
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from stylenet.page import onnxruntime_web
from stylenet.page.build import STATIC, _tell_apart, build
from stylenet.page.serve import POLICY, page_files
from stylenet.page.styles import halve, title
from stylenet.system.errors import UserError


def test_the_page_is_whole_and_lists_its_styles(site: Path):
    listed = json.loads((site / "styles.json").read_text())
    names = [(one["name"], one["title"], one["by"]) for one in listed["styles"]]
    assert names[0] == ("the_scream_lite", "The Scream", "Edvard Munch, 1893")
    assert names[1:4] == [("plain_0", "Plain 0", ""), ("pair_0", "Pair 0", ""), ("pair_1", "Pair 1", "")]
    assert names[4:] == [("great_wave", "The Great Wave off Kanagawa", "Katsushika Hokusai, about 1831")]
    assert [one["network"] for one in listed["styles"]] == [0, 1, 2, 2, 3]
    assert [one["weights"] for one in listed["styles"]][:4] == [[1], [1], [1, 0], [0, 1]]
    assert len(listed["styles"][4]["weights"]) == listed["networks"][3]["styles"] == 64
    assert ["style_of" in network for network in listed["networks"]] == [False, False, False, True]
    for network in [*listed["networks"], listed["networks"][3]["style_of"]]:
        data = (site / network["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (network["bytes"], network["sha256"])
    pictures = []
    for style in listed["styles"]:
        with Image.open(site / style["thumbnail"]) as thumbnail:
            assert thumbnail.size == (224, 224)
            pictures.append(thumbnail.tobytes())
    assert len(set(pictures)) == 5
    there = {file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file()}
    assert set(listed["files"]) == there and set(page_files(site)) == {f"/{name}" for name in there} | {"/"}
    assert all(file.stat().st_mode & stat.S_IROTH for file in site.rglob("*")) and os.stat(site).st_mode & stat.S_IROTH


def test_the_page_asks_for_nothing_from_elsewhere():
    for file in STATIC.iterdir():
        assert "http" not in file.read_text().replace("http-equiv", "").replace("http://www.w3.org/2000/svg", ""), file
    meta = (STATIC / "index.html").read_text().split('content="', 1)[1].split('"', 1)[0]
    assert (
        f"{meta}; frame-ancestors 'none'" == POLICY
    )  # for servers without headers; a meta element cannot say the rest


def test_weights_that_are_exact_in_16_bits_are_stored_so_and_the_others_as_they_are(tmp_path: Path):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    exact = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float16).astype(np.float32)
    odd = exact + np.float32(1e-6)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "exact"], ["y"]),
        onnx.helper.make_node("MatMul", ["y", "odd"], ["z"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 64]) for name in "xz"]
    weights = [onnx.numpy_helper.from_array(one, name) for one, name in ((exact, "exact"), (odd, "odd"))]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "it", ends[:1], ends[1:], weights), ir_version=10)
    file = tmp_path / "it.onnx"
    file.write_bytes(model.SerializeToString())
    run = {"x": np.ones((1, 64), np.float32)}
    size, before = file.stat().st_size, onnxruntime.InferenceSession(file).run(None, run)[0]
    halve(file)
    assert np.array_equal(onnxruntime.InferenceSession(file).run(None, run)[0], before)
    assert size - file.stat().st_size == pytest.approx(2 * 64 * 64, abs=200)


def test_titles_are_told_apart():
    assert title("Udnie, Francis Picabia, 1913") == ("Udnie", "Francis Picabia, 1913")
    assert title("The Great Wave off Kanagawa, Katsushika Hokusai, about 1831")[1] == "Katsushika Hokusai, about 1831"
    assert title("mine") == ("mine", "")
    styles = [{"title": "A", "name": name} for name in ("a_lite", "a", "b")] + [{"title": "C", "name": "c"}]
    _tell_apart(styles)
    assert [one["title"] for one in styles] == ["A, light", "A (a)", "A (b)", "C"]


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files in the place of onnxruntime-web's; the cache is elsewhere."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in onnxruntime_web.FILES:
        (folder / name).write_text(name)
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in onnxruntime_web.FILES}
    monkeypatch.setattr(onnxruntime_web, "FILES", hashes)
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path / "home"))
    return folder


def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program named npm first on the path, and no other npm."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    program = tmp_path / "bin" / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")


def test_the_runtime_of_another_version_is_refused(runtimes: Path):
    assert onnxruntime_web.folder(runtimes) == runtimes
    (runtimes / "ort.wasm.min.mjs").write_text("another")
    with pytest.raises(UserError, match="ort.wasm.min.mjs is not that of onnxruntime-web 1"):
        onnxruntime_web.folder(runtimes)


def test_npm_brings_the_runtime_once_and_only_the_one_on_record(runtimes: Path, tmp_path, monkeypatch):
    archive = tmp_path / "it.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in onnxruntime_web.FILES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    npm(tmp_path, monkeypatch, f'while [ "$1" != --pack-destination ]; do shift; done; cp {archive} "$2"')
    with pytest.raises(UserError, match="npm brought another onnxruntime-web"):
        onnxruntime_web.folder()
    assert not (tmp_path / "home").exists()
    hashed = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(onnxruntime_web, "INTEGRITY", f"sha512-{hashed}")
    cache = onnxruntime_web.folder()
    assert {file.name: file.read_text() for file in cache.iterdir()} == {name: name for name in onnxruntime_web.FILES}
    npm(tmp_path, monkeypatch, "echo no connection >&2; exit 1")
    assert onnxruntime_web.folder() == cache
    (cache / "ort.wasm.min.mjs").write_text("damaged")
    with pytest.raises(UserError, match=r"npm did not bring .* \(no connection\). Check the connection, or unpack"):
        onnxruntime_web.folder()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"which npm brings: install npm, or unpack .* and give runtime="):
        onnxruntime_web.folder()


def test_a_folder_that_is_no_page_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="exists and is no page: choose another folder="):
            build(tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_page_is_replaced_only_if_told_so_and_stays_where_a_style_is_damaged(
    site: Path, runtime: Path, styles, tmp_path
):
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    with pytest.raises(UserError, match="give overwrite=true to replace the page"):
        build(copy, styles[1], runtime=runtime)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(styles[1]).read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged.safetensors"):
        build(copy, [styles[1], damaged], runtime=runtime, overwrite=True)
    assert set(page_files(copy)) == set(page_files(site)) and os.listdir(tmp_path).count("site") == 1
    assert build(copy, styles[1], runtime=runtime, overwrite=True) == copy
    (style,) = json.loads((copy / "styles.json").read_text())["styles"]
    assert style["name"] == "plain_0" and len(list((copy / "networks").iterdir())) == 1
    assert [name for name in os.listdir(tmp_path) if name.startswith(".page")] == []


def test_mistakes_are_a_line_each(run_script, tmp_path: Path):
    for words, told in (
        (["styles=[nobody]"], "styles=nobody: no such style or file. Known styles:"),
        (["styles=[]"], "styles=[]: give the names or files of styles, such as styles=[udnie_lite]."),
        (["paintings=[nobody.jpg]"], "paintings=nobody.jpg: there is no such file. Give pictures, or names of these:"),
        (["styles=[udnie_lite]", "paintings=[great_wave]"], "paintings= are for a network for any style: give"),
        (["styles=[any]", "paintings=[]"], "paintings=[] leaves the page without a style"),
        (["overwrite=2"], "overwrite=2: give true or false."),
        ([f"runtime={tmp_path}"], f"runtime={tmp_path}: ort.wasm.min.mjs is not that of onnxruntime-web"),
        (["style=udnie_lite"], "There is no option 'style'. Did you mean styles=?"),
    ):
        done = run_script("../stylenet/__main__.py", "page", *words, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 2 and done.stderr.startswith(told) and done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []
