"""A trained style put to use: load it once, then image in, image out; or files in, files out.

Knows nothing about training, losses or VGG, and of Lightning, Hydra and W&B not even that they exist.
"""

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from stylenet import checkpoint, images, jobs
from stylenet.errors import UserError
from stylenet.images import FORMATS, Picture

MAPS = 9  # float32 maps of the first width and the picture's size that a pass holds at its peak, as measured

Style = Tensor | Sequence[float] | None
Device = str | torch.device


def load(ckpt: str | Path, device: Device = "auto") -> "Stylizer":
    """A style by its name or its file, ready to use. ``device``: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.

    Raises UserError where there is no such style, the file cannot be used or there is no such device.
    """
    place = choose_device(device)
    net, info = checkpoint.load(ckpt, place)
    return Stylizer(net, info, place, name=Path(ckpt).stem)


class Stylizer:
    """A network that stylizes whatever holds an image: the result is of the same kind and size.

    ``stylizer(image)`` takes a Pillow image or a path (result: Pillow, upright, sRGB, alpha kept), a numpy array
    (h, w, 3) of uint8 or of floats in [0, 1], or a tensor (b, 3, h, w) of floats in [0, 1], on any device.
    ``style``: weights (n_styles) or (b, n_styles) where the network holds several styles.
    """

    def __init__(self, net: nn.Module, info: dict[str, Any], device: Device = "cpu", name: str = "stylized"):
        self.device = torch.device(device)
        self.net = net.to(self.device).eval()
        self.info = info
        names = [style.get("name") for style in info.get("styles") or []]
        self.name = _plain(names[0] if len(names) == 1 and names[0] else name)

    @overload
    def __call__(self, image: str | os.PathLike[str] | Image.Image, style: Style = None) -> Image.Image: ...
    @overload
    def __call__(self, image: np.ndarray, style: Style = None) -> np.ndarray: ...
    @overload
    def __call__(self, image: Tensor, style: Style = None) -> Tensor: ...
    def __call__(self, image: Any, style: Style = None) -> Any:
        """The stylized image; see the class. Raises UserError for other types, shapes or ranges, and out of memory."""
        if isinstance(image, str | os.PathLike | Image.Image):
            return self.picture(images.read(image), style).pil()
        if isinstance(image, np.ndarray):
            return self._array(image, style)
        if isinstance(image, Tensor):
            _check(image.ndim == 4 and image.shape[1] == 3 and image.numel() > 0, image, "(b, 3, h, w) of floats")
            _check(image.is_floating_point(), image, "float, in [0, 1]")
            return self._stylize(image, style).to(image, copy=True)  # a copy may take part in training, unlike this
        allowed = "a Pillow image, a path, a numpy array or a tensor"
        raise UserError(f"Cannot stylize a {type(image).__name__}: give {allowed}.")

    def picture(self, picture: Picture, style: Style = None) -> Picture:
        """A picture as ``images.read`` gives it, stylized: alpha, 16 bits and metadata stay."""
        stylized = self._stylize(images.to_tensor(picture.rgb), style)
        return replace(picture, rgb=images.to_array(stylized, picture.rgb.dtype.type))

    def _array(self, image: np.ndarray, style: Style) -> np.ndarray:
        _check(image.ndim == 3 and image.shape[2] == 3 and image.size > 0, image, "(h, w, 3)")
        _check(image.dtype == np.uint8 or image.dtype.kind == "f", image, "uint8, or float in [0, 1]")
        if image.dtype == np.uint8:
            return images.to_array(self._stylize(images.to_tensor(image), style))
        content = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        return self._stylize(content, style)[0].permute(1, 2, 0).cpu().numpy().astype(image.dtype)

    @torch.inference_mode()
    def _stylize(self, image: Tensor, style: Style) -> Tensor:
        """(b, 3, h, w) to the same, float32 on the network's device."""
        low, high = image.min().item(), image.max().item()
        if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails it
            seen = f"{low:g} to {high:g}"
            raise UserError(f"The image holds values from {seen}; give floats in [0, 1], or uint8 in an array.")
        self._require_room(image)
        try:
            content = image.to(self.device, torch.float32)
            return self.net(content, self._weights(style, len(image)))
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            height, width = image.shape[2:]
        # Outside the handler, so that the traceback no longer holds what filled the memory.
        raise UserError(f"Not enough memory on {self.device} for {width}x{height} pixels: give a smaller size=.")

    def _require_room(self, image: Tensor) -> None:
        """Refuse what this machine's memory cannot hold: Linux would not fail the pass but kill the process."""
        widths = getattr(self.net, "config", {}).get("widths")
        free = _free_memory() if self.device.type == "cpu" else None
        if free is None or not widths:
            return
        height, width = image.shape[2:]
        needed = image.numel() // 3 * widths[0] * MAPS * 4
        if needed > free:
            fitting = int(max(height, width) * (free / needed) ** 0.5)
            raise UserError(
                f"Not enough memory for {width}x{height} pixels: it takes {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free. Give size={fitting} or less."
            )

    def _weights(self, style: Style, count: int) -> Tensor | None:
        if style is None:
            return None
        n_styles = getattr(self.net, "n_styles", 1)
        try:
            weights = torch.as_tensor(style, dtype=torch.float32, device=self.device)
        except (TypeError, ValueError):
            raise UserError(f"style={style!r:.80}: give {n_styles} weights, as numbers.") from None
        if tuple(weights.shape) not in [(n_styles,), (1, n_styles), (count, n_styles)]:
            raise UserError(f"style has shape {tuple(weights.shape)}; give {n_styles} weights, or that for each image.")
        return weights.expand(count, n_styles)


def choose_device(device: Device) -> torch.device:
    """The device meant by a name; auto is a GPU if there is one. Raises UserError with those that there are."""
    device = str(device)
    there = ["cpu"]
    there += ["mps"] if torch.backends.mps.is_available() else []
    there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else there[-1])
    if device in there or (device == "cuda" and len(there) > 1):
        return torch.device(device)
    raise UserError(f"device={device}: there is no such device here. There are: auto, {', '.join(there)}.")


def _check(right: bool, image: np.ndarray | Tensor, allowed: str) -> None:
    if not right:
        seen = f"{type(image).__name__} of shape {tuple(image.shape)} and type {image.dtype}"
        raise UserError(f"Cannot stylize a {seen}: allowed is {allowed}.")


def _free_memory() -> int | None:
    """Bytes that a process may still take without pushing out others, swap included; None where Linux does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    except (OSError, ValueError, IndexError, KeyError):
        return None


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _plain(name: str) -> str:
    """A style's name as part of a file name: what a checkpoint says must not lead to another folder."""
    return re.sub(r"[^\w.+-]+", "_", str(name)).strip("._") or "stylized"


# --- files


class SomeFailed(UserError):
    """Of several pictures some could not be stylized; ``reasons`` by path. The others are written."""

    def __init__(self, reasons: dict[Path, str], count: int):
        self.reasons = reasons
        named = [why if str(path) in why else f"{path}: {why}" for path, why in reasons.items()]
        super().__init__("\n  ".join([f"{len(reasons)} of {count} pictures failed:", *named]))


def stylize_files(
    ckpt: str | Path,
    input: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    size: int | None = None,
    device: str = "auto",
    quality: int = 95,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Stylize files one by one as the iterator is read, and give the path of each result ("-": nothing is given).

    ``input``: files, folders (with all below), patterns, or "-" for stdin. ``output``: None writes
    ``<name>_<style>.<suffix>`` beside each; or a file, a folder, or "-" for stdout. ``size``: longer side at most,
    in pixels. Raises UserError if the only picture fails; of several, SomeFailed when the others are done.
    """
    _check_options(size, quality, overwrite)
    inputs = [input] if isinstance(input, str | Path) else list(input)
    if not inputs or "" in inputs:  # an empty name, such as an unset variable of the shell, is not the folder here
        raise UserError("input= is empty: give a picture, a folder, a pattern or -.")
    if output == "":
        raise UserError("output= is empty: give a file, a folder or -, or leave it out.")
    jobs.plan(inputs, output, "style")  # what is not there is told before the network is loaded
    stylizer = load(ckpt, device)
    todo = jobs.plan(inputs, output, stylizer.name, checkpoint.known())
    for job in todo:
        if job.target != jobs.STREAM:
            images.format_of(job.target)
    if len(todo) == 1:
        yield from _stylize_file(stylizer, todo[0], size, quality, overwrite)
        return
    reasons: dict[Path, str] = {}
    for job in tqdm(todo, desc=stylizer.name, unit="picture", file=sys.stderr, mininterval=0.5):
        try:
            yield from _stylize_file(stylizer, job, size, quality, overwrite)
        except Exception as error:  # whatever one picture brings must not cost the others
            known = isinstance(error, UserError)
            reasons[job.source] = str(error) if known else f"{type(error).__name__}: {error}".splitlines()[0]
    if reasons:
        raise SomeFailed(reasons, len(todo))


def _check_options(size: Any, quality: Any, overwrite: Any) -> None:
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise UserError(f"size={size}: give the longer side at most, in whole pixels, such as size=1024.")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise UserError(f"quality={quality}: give a whole number from 1 to 100.")
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")


def _stylize_file(stylizer: Stylizer, job: jobs.Job, size: int | None, quality: int, overwrite: bool) -> Iterator[Path]:
    to_stream = job.target == jobs.STREAM
    if not to_stream and os.path.lexists(job.target) and not overwrite:
        raise UserError(f"{job.target} exists: give overwrite=true to replace it, or another output=.")
    if to_stream and sys.stdout.isatty():
        raise UserError("The picture would go to the terminal: add output=picture.png, or > picture.png.")
    picture = images.read(_stdin() if job.source == jobs.STREAM else job.source)
    if size is not None:
        picture = images.fit_picture(picture, size)
    picture = stylizer.picture(picture)
    if to_stream:
        format = picture.format if picture.format in FORMATS.values() and picture.format != "GIF" else "PNG"
        images.write(sys.stdout.buffer, picture, quality, format)
        sys.stdout.buffer.flush()
    else:
        images.write(job.target, picture, quality)
        yield job.target


def _stdin() -> io.BytesIO:
    if sys.stdin.isatty():
        raise UserError("input=- reads a picture from stdin, but nothing is piped in: add < photo.jpg.")
    return io.BytesIO(sys.stdin.buffer.read())
