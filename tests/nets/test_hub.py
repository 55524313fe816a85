"""Styles from the hub: one safetensors file with a style, from the cache where that will do, one line where not.

The hub is a server of our own on this machine, which huggingface_hub asks as it would ask the real one.
"""

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from hub_server import READER, WRITER, Hub
from PIL import Image, ImageChops
from safetensors.torch import save as plain_bytes

import stylenet
from stylenet.evaluation.candidates import candidate
from stylenet.nets import checkpoint, registry
from stylenet.nets import hub as ours
from stylenet.system.errors import UserError

huggingface_hub = pytest.importorskip("huggingface_hub")


def style_file(folder: Path, *names: str, seed: int = 0) -> bytes:
    """The bytes of a small style file with these styles."""
    torch.manual_seed(seed)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=len(names))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    info = {"styles": [{"name": name} for name in names]}
    return checkpoint.save(folder / "made.safetensors", net, info).read_bytes()


def test_a_style_comes_from_the_hub_and_then_from_the_cache(hub: Hub, tmp_path: Path):
    data = style_file(tmp_path, "waves")
    hub.add("ann/sea", {"README.md": b"hi", "waves.safetensors": data})
    net, info = checkpoint.load("hf:ann/sea")
    assert info["styles"] == [{"name": "waves"}]
    expected = checkpoint.load(tmp_path / "made.safetensors")[0].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
    file = checkpoint.resolve("hf:ann/sea")
    assert file.read_bytes() == data and file.is_relative_to(tmp_path / "cache")
    assert checkpoint.called("hf:ann/sea") == "sea" and checkpoint.called("hf:ann/sea/waves.safetensors@v1") == "waves"
    asked = len(hub.requests)
    checkpoint.load("hf:ann/sea")
    assert len(hub.requests) == asked  # a run asks once
    ours._fetched.clear()
    checkpoint.load("hf:ann/sea")
    assert not [one for one in hub.requests[asked:] if one.startswith("GET") and "resolve" in one]  # not downloaded


def test_revisions_and_new_versions(hub: Hub, tmp_path: Path):
    old, new = style_file(tmp_path, "old"), style_file(tmp_path, "new", seed=1)
    repo = hub.add("ann/sea", {"s.safetensors": old})
    first = repo.refs["main"]
    repo.refs["v1.0"] = first
    assert checkpoint.load("hf:ann/sea")[1]["styles"][0]["name"] == "old"
    repo.commit({"s.safetensors": new})
    ours._fetched.clear()
    for address, name in (("hf:ann/sea", "new"), ("hf:ann/sea@v1.0", "old"), (f"hf:ann/sea@{first}", "old")):
        assert checkpoint.load(address)[1]["styles"][0]["name"] == name
    with pytest.raises(UserError, match="^ckpt=hf:ann/sea@v9: there is no such revision"):
        checkpoint.load("hf:ann/sea@v9")


def test_one_style_of_several(hub: Hub, tmp_path: Path):
    hub.add("ann/sea", {"both.safetensors": style_file(tmp_path, "calm", "storm")})
    net, info = checkpoint.load("hf:ann/sea@main:storm")
    assert net.n_styles == 1 and info["styles"] == [{"name": "storm"}]
    expected = checkpoint.load(f"{tmp_path / 'made.safetensors'}:storm")[0].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
    assert checkpoint.called("hf:ann/sea:storm") == "sea:storm"
    assert stylenet.load("hf:ann/sea@main").name == "sea"  # as in photo_sea.jpg
    with pytest.raises(UserError, match="fog: no such style in this checkpoint. There are: calm, storm"):
        checkpoint.load("hf:ann/sea:fog")


def test_of_several_files_one_must_be_named(hub: Hub, tmp_path: Path):
    data = style_file(tmp_path, "x")
    hub.add("ann/sea", {"a.safetensors": data, "more/b.safetensors": style_file(tmp_path, "y"), "c.txt": b""})
    with pytest.raises(UserError) as told:
        checkpoint.load("hf:ann/sea")
    assert str(told.value) == (
        "ckpt=hf:ann/sea holds several files: a.safetensors, more/b.safetensors. "
        "Choose one, such as ckpt=hf:ann/sea/a.safetensors."
    )
    assert checkpoint.load("hf:ann/sea/more/b.safetensors")[1]["styles"][0]["name"] == "y"
    with pytest.raises(UserError, match=r"there is no such file. There are: a.safetensors, more/b.safetensors\."):
        checkpoint.load("hf:ann/sea/c.safetensors")
    assert not [one for one in hub.requests if "resolve" in one and "a.safetensors" in one]  # not downloaded in vain


def test_only_safetensors_of_ours_are_read(hub: Hub, tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    hub.add("ann/pickle", {"style.pth": pickle.dumps(Evil()), "pytorch_model.bin": b""})
    hub.add("ann/disguised", {"style.safetensors": pickle.dumps(Evil())})
    hub.add("ann/model", {"model.safetensors": plain_bytes({"w": torch.zeros(10**5)})})
    for address, message in (
        (
            "hf:ann/pickle",
            "holds no .safetensors file, and only those are read from the hub. It has: .gitattributes, py",
        ),
        ("hf:ann/disguised", "style.safetensors is not a safetensors file: refused"),
        ("hf:ann/model", "model.safetensors is not a style of stylenet: its metadata do not say so"),
        ("hf:ann/pickle/style.pth", "only .safetensors files are read from the hub"),
    ):
        with pytest.raises(UserError, match=message):
            checkpoint.load(address)
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))  # a foreign model is not downloaded


@pytest.mark.parametrize("address", ["hf:", "hf:sea", "hf:ann/sea:", "hf:ann/sea@", "hf:a b/c", "hf:ann/sea:x:y"])
def test_what_is_no_address_is_told_the_shape(address: str):
    with pytest.raises(UserError, match=f"^ckpt={address}: give hf:user/name, hf:user/name@revision, "):
        checkpoint.load(address)


def test_what_the_hub_refuses_is_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = style_file(tmp_path, "x")
    hub.add("ann/private", {"s.safetensors": data}, private=True)
    hub.add("ann/gated", {"s.safetensors": data}, gated=True)
    for address, message in (
        ("hf:ann/absent", "the hub has no such repo, or it is private. Check the name, or log in with `hf auth login`"),
        ("hf:ann/private", "the hub has no such repo, or it is private"),
        ("hf:ann/gated", "its owner grants access on request: ask on its page, then log in"),
        ("hf:ann/-bad-..name", "give it as user/name"),
    ):
        with pytest.raises(UserError, match=f"^ckpt={address}: {message}") as told:
            checkpoint.load(address)
        assert "\n" not in str(told.value)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    for address in ("hf:ann/private", "hf:ann/gated"):
        assert checkpoint.load(address)[1]["styles"][0]["name"] == "x"


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_without_a_network_the_cache_is_used_and_said_so(hub: Hub, tmp_path: Path, monkeypatch, caplog, how: str):
    hub.add("ann/sea", {"s.safetensors": style_file(tmp_path, "x")})
    checkpoint.load("hf:ann/sea")
    ours._fetched.clear()
    hub.down, message = 503, "the hub answers with error 503. Try again later"
    if how == "gone":
        message = "the hub cannot be reached. Check the network"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load("hf:ann/sea")[1]["styles"][0]["name"] == "x"
    assert "ckpt=hf:ann/sea: the hub cannot be reached; the copy in the cache is used" in caplog.messages
    with pytest.raises(UserError, match=f"^ckpt=hf:ann/other: {message}"):
        checkpoint.load("hf:ann/other")


def test_offline_mode_asks_nobody(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub.add("ann/sea", {"s.safetensors": style_file(tmp_path, "x")})
    checkpoint.load("hf:ann/sea")
    ours._fetched.clear()
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert checkpoint.load("hf:ann/sea")[1]["styles"][0]["name"] == "x"
    with pytest.raises(UserError, match="^ckpt=hf:ann/other is not in the cache, and offline mode forbids"):
        checkpoint.load("hf:ann/other")
    assert hub.requests == []


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(ours, "_fetched", {})
    with pytest.raises(UserError, match=r"pip install 'stylenet\[hub\]'"):
        checkpoint.load("hf:ann/sea")


def test_every_door_takes_an_address(hub: Hub, place: Path):
    photo = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    hub.add("ann/sea", {"both.safetensors": style_file(place, "calm", "storm")})
    options: dict[str, Any] = {"device": "cpu", "backend": "torch"}
    here = stylenet.load(f"{place / 'made.safetensors'}:storm", **options)(photo)
    assert stylenet.load("hf:ann/sea:storm", **options)(photo) == here
    sheets = [stylenet.sheet(photo, ckpt, size=64, **options) for ckpt in ("hf:ann/sea", "made.safetensors")]
    assert ImageChops.difference(*(sheet.crop((0, 0, sheet.width, 70)) for sheet in sheets)).getbbox() is None
    page = stylenet.compare(photo, ["hf:ann/sea:storm", "hf:ann/sea:calm"], size=64, **options)
    assert page.size[0] == 2 * 21 + 3 * 192 + 2 * 14
    file = stylenet.export("hf:ann/sea:storm", "torchscript")
    assert file.is_file()
    found = candidate("hf:ann/sea:storm", str(ROOT / "stylenet/assets/styles/great_wave.jpg"), torch.device("cpu"), {})
    assert found.name == "sea:storm" and found.file.read_bytes() == (place / "made.safetensors").read_bytes()
    for wrong in (lambda: stylenet.sheet(photo, "hf:ann/none"), lambda: stylenet.compare(photo, "hf:ann/none")):
        with pytest.raises(UserError, match="^(styles|ckpts)=hf:ann/none: the hub has no such repo"):
            wrong()


def test_from_the_command_line_with_the_hubs_own_variables(hub: Hub, place: Path):
    """The endpoint, the cache, the token and offline mode come from the environment."""
    Image.new("RGB", (24, 16), "red").save("photo.png")
    hub.add("ann/sea", {"both.safetensors": style_file(place, "calm", "storm")}, private=True)
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "home"), "HF_TOKEN": READER}

    def stylize(output: str, **more: str) -> subprocess.CompletedProcess:
        words = [
            "stylize",
            "ckpt=hf:ann/sea:storm",
            "input=photo.png",
            f"output={output}",
            "device=cpu",
            "backend=torch",
        ]
        line = [sys.executable, "-m", "stylenet", *words]
        return subprocess.run(line, capture_output=True, text=True, env=variables | more, timeout=300)

    done = stylize("a.png")
    assert (done.returncode, done.stdout) == (0, "a.png\n"), done.stderr
    assert list((place / "home").rglob("both.safetensors"))
    done = stylize("b.png", HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "b.png\n", "")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    done = stylize("c.png", HF_TOKEN="", HF_HOME=str(place / "empty"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("ckpt=hf:ann/sea: the hub has no such repo, or it is private.")
