"""One self-describing safetensors file per style: a network's weights, with the plain data to rebuild it as metadata.

Reads stylenet's files, checkpoints of trainings and pytorch/examples' files, on any device and however their weights
are wrapped. Nothing in a file is executed or looked up outside the table of networks. Knows nothing about VGG, losses
or training.
"""

import difflib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from stylenet.nets import exported, hub, mistaken, pytorch_examples
from stylenet.nets.base import StyleNet
from stylenet.nets.catalog import KEY, is_for_photos, known
from stylenet.nets.registry import NETS, build, of_styles
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

FORMAT = 1
SHA256 = "weights_sha256"  # of the metadata in our files: a file may be damaged and yet whole
LARGEST = 10_000  # what a file may give as a width or a count: enough for any network, too little to fill the memory

log = logging.getLogger(__name__)


def save(path: str | Path, net: StyleNet, info: dict[str, Any], half: bool = False, new: bool = False) -> Path:
    """Write ``net`` and ``info`` (plain data that JSON can hold) to ``path``, whole or not at all; return the path.

    ``half`` stores float16: half the size. ``new``: a file that is there stays, and ``files.Taken`` is raised.
    "format" and "net" of ``info`` are set here. Raises TypeError or ValueError for data that is not plain (NaN is
    not), UserError where ``path`` cannot be written.
    """
    info = {**info, "format": FORMAT, "net": describe(net)}
    dtype = torch.float16 if half else torch.float32
    state = {key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in net.state_dict().items()}
    metadata = {KEY: json.dumps(info, allow_nan=False), SHA256: _sha256(state)}
    with replacing(path, new) as temp:
        temp.write_bytes(to_bytes(state, metadata))  # safetensors' own writing makes files that others cannot read
    return Path(path)


def single_style(net: StyleNet, info: dict[str, Any], name: str) -> tuple[StyleNet, dict[str, Any]]:
    """Of a network with several styles, and of what its file says, what concerns the style ``name`` alone: the same
    pictures from a network with one style. Raises UserError with the names that there are.
    """
    names = [style.get("name") for style in info.get("styles", [])]
    if name not in names:
        raise UserError(f"{name}: no such style in this checkpoint. There are: {', '.join(map(str, names))}.")
    return mixed_style(net, info, [float(one == name) for one in names])


def mixed_style(net: StyleNet, info: dict[str, Any], weights: Sequence[float]) -> tuple[StyleNet, dict[str, Any]]:
    """The same for a mixture of the network's styles, with a weight for each: a network with one style."""
    share, rows = torch.tensor(weights), of_styles(net)
    spec = describe(net)
    one = build(spec["name"], **{**spec["args"], "n_styles": 1})
    state = net.state_dict()
    one.load_state_dict({key: (share.to(x) @ x)[None] if key in rows else x for key, x in state.items()})
    used = [number for number, weight in enumerate(weights) if weight]
    measured = info.get("calibration") or {}
    calibration = {key: [x[i] for i in used] if isinstance(x, list) else x for key, x in measured.items()}
    training = {key: x for key, x in info.get("training", {}).items() if key != "val"}  # the mean of all styles
    styles = info.get("styles") or []
    if len(used) == 1:
        told = styles[used[0] : used[0] + 1]
    else:  # a style of its own, which no painting is
        named = [f"{styles[i].get('name')}:{weights[i]:g}" if i < len(styles) else f"{weights[i]:g}" for i in used]
        told, calibration = [{"name": ",".join(named)}], {}
    mine = {"net": describe(one), "styles": told, "calibration": calibration, "training": training}
    return one.eval(), {**info, **mine}


def describe(net: StyleNet) -> dict[str, Any]:
    """The network's name in ``NETS`` and its constructor's arguments."""
    name = next(name for name, kind in NETS.items() if type(net) is kind)
    return {"name": name, "args": net.config}


def load(ckpt: str | Path, device: str | torch.device = "cpu") -> tuple[StyleNet, dict[str, Any]]:
    """The network in eval mode and float32 on ``device``, and what the file says about it.

    ``ckpt``: a name (see ``known``), an address on the hub (``hf:user/name``, see :mod:`stylenet.nets.hub`) or the
    path of our ``.safetensors``, a ``.ckpt`` of our training, an ``.onnx`` that we exported, or a pytorch/examples
    ``.pth`` or ``.model``; with ":" and a style's name after it, that style alone of a file with several. The
    weights alone will do, as safetensors or saved by torch, in any precision, inside of other dicts, and under
    names that DataParallel or torch.compile have lengthened. Raises UserError for a file that is missing, damaged,
    foreign, newer than this program or at odds with itself, and for a style that it has not.
    """
    path, (_, style) = resolve(ckpt), split(ckpt)
    info, state = _read(path)
    net = _assemble(path, info, state)
    if style is not None:
        net, info = single_style(net, info, style)
    return net.to(device).eval(), info


def load_style(ckpt: str | Path, device: str | torch.device = "cpu") -> tuple[StyleNet, dict[str, Any]]:
    """As :func:`load`. Raises UserError for a network without a style, that of `stylenet photo`, too."""
    net, info = load(ckpt, device)
    if is_for_photos(info):
        raise UserError(
            f"ckpt={ckpt} holds no style: it is for stylenet photo content=photo.jpg style=other_photo.jpg. "
            "Give the checkpoint of a style."
        )
    return net, info


def called(ckpt: str | Path) -> str:
    """A checkpoint's name: that of its file, and of the style in it that is meant."""
    file, style = split(ckpt)
    return (hub.address(file).name if hub.is_address(file) else Path(file).stem) + (f":{style}" if style else "")


def split(ckpt: str | Path) -> tuple[str, str | None]:
    """The file or its name, and the style in it after the last colon; None if the colon is part of a path."""
    if hub.is_address(ckpt):
        wanted = hub.address(ckpt)
        return str(wanted), wanted.style
    file, _, style = str(ckpt).rpartition(":")
    path = len(file) < 2 or {"/", "\\"} & {*style} or Path(os.path.expanduser(ckpt)).exists()
    return (str(ckpt), None) if path or not style else (file, style)


def resolve(name: str | Path) -> Path:
    """The file meant by a name, a path or an address on the hub. Raises UserError where there is none."""
    if hub.is_address(name):
        return hub.fetch(name)
    styles, name = known(), split(name)[0]
    if str(name) in styles:
        return styles[str(name)]
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return Path(path)
    meant = difflib.get_close_matches(Path(name).stem, styles, n=1)
    guess = f" Did you mean {meant[0]}?" if meant else ""
    names = ", ".join(styles) or "none yet"
    raise UserError(f"ckpt={name}: no such style or file.{guess} Known styles: {names}; or give the path of a file.")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The info, in its outer form checked, and the weights under the network's names."""
    try:
        if (ours := exported.style(path) if mistaken.is_onnx(path) else None) is not None:
            info, state = ours
        elif other := mistaken.kind(path):
            raise UserError(f"{path} is {other}")
        else:
            info, state = _from_safetensors(path) if mistaken.is_safetensors(path) else _from_torch(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}. Check the file and its rights.") from error
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise UserError(f"{path} is not a style file: it gives no format version. Give a file that stylenet wrote.")
    styles = info.get("styles", [])
    if not isinstance(styles, list) or not all(isinstance(style, dict) for style in styles):
        raise UserError(f"{path} does not list its styles as it should ({styles!r:.80}). It is damaged or was edited.")
    if info["format"] > FORMAT:
        raise UserError(f"{path} has format {info['format']}, this program reads up to {FORMAT}: upgrade stylenet.")
    return info, state


def _from_safetensors(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}
        text = metadata.get(KEY)
        info = None if text is None else json.loads(text)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or cut short ({_line(error)}). Get it again.") from error
    if text is None:
        return _from_weights(path, state)
    if SHA256 in metadata and _sha256(state) != metadata[SHA256]:
        raise UserError(f"{path} is damaged: its weights are not those that were written. Get it again.")
    return info, {pytorch_examples.unwrapped(key): value for key, value in state.items()}


def _sha256(state: dict[str, Tensor]) -> str:
    sha256 = hashlib.sha256()
    for key in sorted(state):
        sha256.update(state[key].reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def _from_torch(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        with path.open("rb") as file:  # not by its name, which need not be right
            saved = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes that are no checkpoint can make the reader fail in any way
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise _of_code(path, code[1]) from error
        # Torch's own words are kept from the user: they advise to switch the protection off.
        raise UserError(f"{path} is damaged, cut short or no checkpoint at all. Get it again.") from error
    if not isinstance(saved, dict) or KEY not in saved or not isinstance(saved.get("state_dict"), dict):
        return _from_weights(path, saved)
    state = {pytorch_examples.unwrapped(str(key)): value for key, value in saved["state_dict"].items()}
    return saved[KEY], {key[4:]: value for key, value in state.items() if key.startswith("net.")}


def _of_code(path: Path, code: str) -> UserError:
    advice = "Save its state_dict instead"
    if mistaken.whole_network(path):
        how = "torch.save(net.state_dict(), 'style.pth')"
        return UserError(f"{path} is a whole pickled network. It wants to run code ({code}): refused. {advice}: {how}")
    return UserError(f"{path} wants to run code ({code}): refused. {advice}.")


def _from_weights(path: Path, saved: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same for weights that do not say what they are."""
    found = pytorch_examples.networks_in(saved)
    if not found:
        raise _foreign(path, saved if isinstance(saved, dict) else {})
    if len(found) > 1:
        raise UserError(f"{path} holds several networks ({', '.join(found):.200}): save the one you want by itself.")
    ((origin, weights),) = found.values()
    _require_room(path, weights)
    try:
        net, state = pytorch_examples.as_ours(origin, weights)
    except (ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path} looks like a {origin} file, but {_line(error)}. Get it again.") from error
    if origin == "stylenet":
        log.warning(
            "%s holds weights alone, and they do not tell what upsample= and output= were: taken for blur and sigmoid, "
            "the defaults",
            path,
        )
    names = [path.stem] if (count := net["args"]["n_styles"]) == 1 else [f"{path.stem}_{n + 1}" for n in range(count)]
    return {"format": FORMAT, "net": net, "styles": [{"name": name} for name in names], "origin": origin}, state


def _assemble(path: Path, info: dict[str, Any], state: dict[str, Tensor]) -> StyleNet:
    """The network that ``info`` declares, holding ``state``; nothing is allocated before the two agree."""
    spec = info.get("net")
    if not isinstance(spec, dict) or str(spec.get("name")) not in NETS or not isinstance(spec.get("args", {}), dict):
        raise UserError(f"{path} declares the network {spec!r:.80}; known are: {', '.join(NETS)}. Upgrade stylenet.")
    try:
        if max(_numbers(spec), default=0) > LARGEST:
            raise ValueError(f"a width or count above {LARGEST}")
        with torch.device("meta"):
            net = build(spec["name"], **spec.get("args", {}))
    except Exception as error:  # the arguments are a stranger's: they can make a constructor fail in any way
        raise UserError(f"{path} declares a network that cannot be built ({_line(error)}). Get it again.") from error
    expected = net.state_dict()
    _require_room(path, expected)
    if problem := _misfit(expected, state):
        raise UserError(f"{path} does not fit the network that it declares: {problem}. It is damaged or was edited.")
    net.load_state_dict({key: state[key].to(torch.float32, copy=True) for key in expected}, assign=True)
    return net


def _require_room(path: Path, state: dict[str, Any]) -> None:
    """Refuse tensors that are larger than their file, be it by a declaration or by a stride of 0."""
    if sum(tensor.numel() for tensor in state.values() if isinstance(tensor, Tensor)) * 2 > path.stat().st_size:
        raise UserError(f"{path} declares a network larger than the file itself. It is damaged or hostile.")


def _misfit(expected: dict[str, Tensor], state: dict[str, Any]) -> str:
    """What is wrong with the first tensor that does not fit; empty if all do."""
    for key, tensor in expected.items():
        found = state.get(key)
        if not isinstance(found, Tensor):
            return f"{key} is missing"
        if found.shape != tensor.shape or not found.is_floating_point():
            return f"{key} is {found.dtype} {tuple(found.shape)}, not float {tuple(tensor.shape)}"
        if not found.isfinite().all():
            return f"{key} holds NaN or infinity"
    return next((f"{key} is left over" for key in state if key not in expected), "")


def _numbers(data: Any) -> Iterator[float]:
    """Every number in nested plain data."""
    if isinstance(data, int | float):
        yield data
    elif isinstance(data, dict | list | tuple):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _numbers(item)


def _foreign(path: Path, state: dict[Any, Any]) -> UserError:
    found = ", ".join(str(key) for key in list(state)[:3]) or "no weights"
    return UserError(
        f"{path} is not a style file (it holds {found:.100}). Allowed: a .safetensors or .ckpt file of stylenet, "
        "or a .pth or .model file of pytorch/examples' fast_neural_style."
    )


def _line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")[:200]
