"""A trained style put to use: load it once, then image in, image out; or files in, files out.

Knows nothing about training, losses or VGG, and of Lightning, Hydra and W&B not even that they exist.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from stylenet import backends, checkpoint, finishes, images, jobs, tiling
from stylenet.errors import UserError
from stylenet.finishes import Finish
from stylenet.images import FORMATS, Picture
from stylenet.memory import free_memory
from stylenet.outcomes import SomeFailed as SomeFailed
from stylenet.scratch import Scratch

# Float32 maps of the picture's size that a pass holds at its peak: so many for each channel of the first width, and so
# many beside. A bit above all that was measured, with first widths of 4 to 64.
MAPS_PER_CHANNEL, MORE_MAPS = 10, 20

# Of the free memory, the part that a pass over a whole picture may take, and that a pass in strips keeps features in.
WHOLE, KEPT = 1 / 2, 1 / 8
MOST_KEPT = 2**30  # bytes: more goes to files, so that a picture of any size needs no more than this

Style = Tensor | Sequence[float] | None
Device = str | torch.device
Tile = str | int
Progress = Callable[[float], object]


def load(
    ckpt: str | Path,
    device: Device = "auto",
    tile: Tile = "auto",
    scratch: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    strength: float = 1.0,
    color: str = "style",
    stroke: float = 1.0,
) -> "Stylizer":
    """A style by its name or its file, ready to use. ``device``: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.

    ``tile``, ``scratch``: see :class:`Stylizer`. ``backend``, ``precision``: see :func:`stylenet.backends.start`.
    ``strength``, ``color``, ``stroke``: see :class:`stylenet.finishes.Finish`. Raises UserError where there is no such
    style, the file cannot be used or there is no such device or backend.
    """
    finish, place = Finish(strength, color, stroke), choose_device(device)
    backends.choose(place, backend, precision)  # what there is not is told before anything is read
    net, info = checkpoint.load(ckpt, place)
    run = backends.start(net, place, backend, precision)
    return Stylizer(net, info, place, name=Path(ckpt).stem, tile=tile, scratch=scratch, run=run, finish=finish)


class Stylizer:
    """A network that stylizes whatever holds an image: the result is of the same kind and size.

    ``stylizer(image)`` takes a Pillow image or a path (result: Pillow, upright, sRGB, alpha kept), a numpy array
    (h, w, 3) of uint8 or of floats in [0, 1], or a tensor (b, 3, h, w) of floats in [0, 1], on any device.
    ``style``: weights (n_styles) or (b, n_styles) where the network holds several styles.

    ``tile``: "auto" takes pictures that the memory cannot hold in strips, "off" none, a number all, in strips so many
    rows high: the result is the same. ``scratch``: the folder for what does not fit; None for :func:`scratch.place`.
    ``run``: what computes the pass of whole pictures, see :mod:`stylenet.backends`; None for ``net`` itself.
    ``finish``: what is done to the results, see :class:`stylenet.finishes.Finish`; None for nothing.
    """

    def __init__(
        self,
        net: nn.Module,
        info: dict[str, Any],
        device: Device = "cpu",
        name: str = "stylized",
        tile: Tile = "auto",
        scratch: str | Path | None = None,
        run: backends.Run | None = None,
        finish: Finish | None = None,
    ):
        _check_tile(tile)
        self.finish = finish or Finish()
        self.tile, self.scratch = tile, scratch
        self.device = torch.device(device)
        self.net = net.to(self.device).eval()
        self.run = run or self.net
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
            return self._finished(image, style).to(image, copy=True)  # a copy may take part in training, unlike this
        allowed = "a Pillow image, a path, a numpy array or a tensor"
        raise UserError(f"Cannot stylize a {type(image).__name__}: give {allowed}.")

    def picture(self, picture: Picture, style: Style = None, progress: Progress | None = None) -> Picture:
        """A picture as ``images.read`` gives it, stylized: alpha, 16 bits and metadata stay.

        ``progress`` is told the part that is done, 0 to 1, where the picture goes in strips.
        """
        return replace(picture, rgb=self._finished_levels(picture.rgb, style, progress))

    def _finished_levels(self, pixels: np.ndarray, style: Style, progress: Progress | None = None) -> np.ndarray:
        made = finishes.broad(pixels, self.finish.stroke, lambda seen: self._levels(seen, style, progress))
        return self.finish.levels(pixels, made)

    def _finished(self, image: Tensor, style: Style) -> Tensor:
        _check_range(image)
        made = finishes.broad_tensor(image, self.finish.stroke, lambda seen: self._stylize(seen, style))
        return self.finish.tensor(image, made)

    def _array(self, image: np.ndarray, style: Style) -> np.ndarray:
        _check(image.ndim == 3 and image.shape[2] == 3 and image.size > 0, image, "(h, w, 3)")
        _check(image.dtype == np.uint8 or image.dtype.kind == "f", image, "uint8, or float in [0, 1]")
        if image.dtype == np.uint8:
            return self._finished_levels(image, style)
        content = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        return self._finished(content, style)[0].permute(1, 2, 0).cpu().numpy().astype(image.dtype)

    def _levels(self, pixels: np.ndarray, style: Style, progress: Progress | None = None) -> np.ndarray:
        """(h, w, 3) of uint8 or uint16 to the same, without a copy in floats where it goes in strips."""
        weights, levels = self._weights(style, 1), pixels.dtype.type

        def whole() -> np.ndarray:
            return images.to_array(self._whole(images.to_tensor(pixels), weights), levels)

        def strips() -> np.ndarray:
            stylized = np.empty(pixels.shape, levels)

            def write(top: int, rows: Tensor) -> None:
                stylized[top : top + rows.shape[2]] = images.to_array(rows, levels)

            read = lambda top, bottom: images.to_tensor(pixels[top:bottom]).to(self.device)  # noqa: E731
            self._strips(pixels.shape[:2], read, write, weights, progress)
            return stylized

        return self._either(pixels.shape[:2], 1, whole, strips)

    def _stylize(self, image: Tensor, style: Style) -> Tensor:
        """(b, 3, h, w) to the same, float32; on the network's device, or in memory where it goes in strips."""
        weights, size = self._weights(style, len(image)), image.shape[2:]

        def strips() -> Tensor:
            stylized = torch.empty(image.shape)
            for index in range(len(image)):

                def read(top: int, bottom: int, picture: Tensor = image[index : index + 1]) -> Tensor:
                    return picture[:, :, top:bottom].to(self.device, torch.float32)

                def write(top: int, rows: Tensor, result: Tensor = stylized[index]) -> None:
                    result[:, top : top + rows.shape[2]] = rows[0]

                self._strips(size, read, write, None if weights is None else weights[index : index + 1])
            return stylized

        return self._either(size, len(image), lambda: self._whole(image, weights), strips)

    def _either(self, size: Sequence[int], count: int, whole: Callable[[], Any], strips: Callable[[], Any]) -> Any:
        """What ``whole`` gives, or ``strips``, as ``tile`` and the memory have it, for ``count`` pictures (h, w)."""
        height, width = size
        ways = [strips] if self._tiled(height, width, count) else [whole, strips] if self.tile == "auto" else [whole]
        for way in ways:
            try:
                return way()
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
        # Outside the handler, so that the traceback no longer holds what filled the memory.
        raise UserError(f"Not enough memory on {self.device} for {width}x{height} pixels: give a smaller size=.")

    def _tiled(self, height: int, width: int, count: int) -> bool:
        """Whether to go in strips: on a CPU that is known beforehand, and Linux would not fail a pass that the memory
        cannot hold but kill the process. Raises UserError where it cannot and ``tile`` is off.
        """
        if self.tile not in ("auto", "off"):
            return True
        widths = getattr(self.net, "config", {}).get("widths")
        free = free_memory() if self.device.type == "cpu" else None
        if free is None or not widths:
            return False
        needed = height * width * count * (widths[0] * MAPS_PER_CHANNEL + MORE_MAPS) * 4
        if self.tile == "off" and needed > free:
            fitting = int(max(height, width) * (free / needed) ** 0.5)
            raise UserError(
                f"Not enough memory for {width}x{height} pixels in one piece: it takes {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free. Give tile=auto, or size={fitting} or less."
            )
        return self.tile == "auto" and needed > free * WHOLE

    @torch.inference_mode()
    def _whole(self, image: Tensor, weights: Tensor | None) -> Tensor:
        return self.run(image.to(self.device, torch.float32), weights)

    def _strips(
        self,
        size: Sequence[int],
        read: Callable[[int, int], Tensor],
        write: Callable[[int, Tensor], None],
        weights: Tensor | None,
        progress: Progress | None = None,
    ) -> None:
        height, width = size
        rows = None if self.tile in ("auto", "off") else int(self.tile)
        with Scratch(self.scratch, min(MOST_KEPT, int((free_memory() or 0) * KEPT))) as scratch:
            tiling.in_strips(self.net, (height, width), read, write, scratch, weights, rows, progress)

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


def _check_range(image: Tensor) -> None:
    low, high = image.min().item(), image.max().item()
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails it
        seen = f"{low:g} to {high:g}"
        raise UserError(f"The image holds values from {seen}; give floats in [0, 1], or uint8 in an array.")


def _check_tile(tile: Tile) -> None:
    whole = isinstance(tile, int) and not isinstance(tile, bool)
    if tile not in ("auto", "off") and not (whole and int(tile) >= 1):
        raise UserError(f"tile={tile}: give auto, off, or the height of the strips in whole pixels, such as tile=256.")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _plain(name: str) -> str:
    """A style's name as part of a file name: what a checkpoint says must not lead to another folder."""
    return re.sub(r"[^\w.+-]+", "_", str(name)).strip("._") or "stylized"


# --- files


def stylize_files(
    ckpt: str | Path | Sequence[str | Path],
    input: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    size: int | None = None,
    device: str = "auto",
    quality: int = 95,
    overwrite: bool = False,
    tile: Tile = "auto",
    scratch: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    skip_existing: bool = False,
    report: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    strength: float = 1.0,
    color: str = "style",
    stroke: float = 1.0,
    mask: str | Path | Sequence[str | Path] | None = None,
    mask_invert: bool = False,
    temporal: float | None = None,
    flow: str = "auto",
    fps: float | None = None,
) -> Iterator[Any]:
    """Stylize files as the iterator is read, and give the path of each result, in order ("-": nothing is given).

    ``input``: files, folders (with all below), patterns, or "-" for stdin. ``output``: None writes
    ``<name>_<style>.<suffix>`` beside each; or a file, a folder, or "-" for stdout. ``size``: longer side at most,
    in pixels. ``tile``, ``scratch``, ``backend``, ``precision``: see :func:`load`. ``skip_existing``: what has a result
    is left out. ``report``: a file that gets a line of JSON for each picture, see :mod:`stylenet.outcomes`.
    ``strength``, ``color``, ``stroke``: see :class:`stylenet.finishes.Finish`. ``mask``: a grey picture, stretched to
    each photo, white where the style goes (``mask_invert``: black); for several ``ckpt`` as many, which share a photo.
    ``temporal``, ``flow``, ``fps``: of moving pictures, see :class:`stylenet.video.How`.
    ``engine``: local, or ray, then ``workers`` of them and URIs too (strings then), as they are done: see
    :mod:`stylenet.on_ray`. Raises UserError if the only picture fails; of several, SomeFailed when the others are done.
    """
    _check_options(size, quality, overwrite)
    _check_tile(tile)
    existing = jobs.existing(overwrite, skip_existing)
    _check_engine(engine, workers)
    inputs = [input] if isinstance(input, str | Path) else list(input)
    if not inputs or "" in inputs:  # an empty name, such as an unset variable of the shell, is not the folder here
        raise UserError("input= is empty: give a picture, a folder, a pattern or -.")
    if output == "":
        raise UserError("output= is empty: give a file, a folder or -, or leave it out.")
    Finish(strength, color, stroke)  # mistakes are told before anything is read
    styles, masks = finishes.styles_and_masks(ckpt, mask, mask_invert)
    how = {"device": device, "tile": tile, "scratch": scratch, "backend": backend, "precision": precision}
    start = partial(load, **how, strength=strength, color=color, stroke=stroke)
    if engine == "ray":
        if masks:
            raise UserError("engine=ray takes no mask=: leave one of the two out.")
        from stylenet import on_ray

        yield from on_ray.stylize_files(
            start, styles[0], inputs, output, size, quality, existing, report, workers, str(device)
        )
        return
    jobs.plan(inputs, output, "style")  # what is not there is told before the network is loaded
    each = [start(style) for style in styles]
    stylizer = finishes.Masked(each, masks) if masks else each[0]
    todo = jobs.plan(inputs, output, stylizer.name, checkpoint.known())
    moving = [job for job in todo if jobs.moves(job.source)]
    still = [job for job in todo if job not in moving]
    for job in still:
        if job.target != jobs.STREAM:
            images.format_of(job.target)
    if len(todo) == len(still) == 1 and not (skip_existing or report):
        picture = _read(todo[0], size, overwrite)
        yield from _write(todo[0], _stylized(stylizer, todo[0], picture), quality)
        return
    from stylenet import folders  # what one picture does not need

    steps = folders.Steps(
        read=lambda job: _read(job, size, overwrite),
        stylize=lambda job, picture: _stylized(stylizer, job, picture),
        write=lambda job, picture: [*_write(job, picture, quality)],
    )
    ways: list[folders.Way] = [partial(folders.here, steps)]
    if moving:
        from stylenet import video

        for job in moving:
            video.check_target(job)
        how = video.How(size, quality, overwrite, temporal, flow, fps, str(each[0].device))
        ways.append(video.way(stylizer.picture, how))
    parts = [[job for job in todo if job in some] for some in (still, moving)]

    def way(rest: Sequence[jobs.Job], tell: folders.Tell) -> Iterator[Any]:
        for one, part in zip(ways, parts, strict=False):
            yield from one([job for job in rest if job in part], tell)

    yield from folders.run(todo, way if moving else ways[0], existing, report, stylizer.name)


def _check_options(size: Any, quality: Any, overwrite: Any) -> None:
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise UserError(f"size={size}: give the longer side at most, in whole pixels, such as size=1024.")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise UserError(f"quality={quality}: give a whole number from 1 to 100.")
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")


def _check_engine(engine: Any, workers: Any) -> None:
    if engine not in ("local", "ray"):
        raise UserError(f"engine={engine}: give local or ray.")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise UserError(f"workers={workers}: give how many there shall be, such as workers=4, or leave it out.")
    if workers is not None and engine != "ray":
        raise UserError(f"workers={workers} is for engine=ray: add that, or leave workers= out.")


def _read(job: jobs.Job, size: int | None, overwrite: bool) -> Picture:
    to_stream = job.target == jobs.STREAM
    if not to_stream and os.path.lexists(job.target) and not overwrite:
        raise UserError(jobs.exists(job.target))
    if to_stream and sys.stdout.isatty():
        raise UserError("The picture would go to the terminal: add output=picture.png, or > picture.png.")
    picture = images.read(_stdin() if job.source == jobs.STREAM else job.source)
    return picture if size is None else images.fit_picture(picture, size)


def _stylized(stylizer: Stylizer | finishes.Masked, job: jobs.Job, picture: Picture) -> Picture:
    with _bar(job.source.name) as bar:
        return stylizer.picture(picture, progress=lambda part: bar.update(part - bar.n))


def _write(job: jobs.Job, picture: Picture, quality: int) -> Iterator[Path]:
    if job.target == jobs.STREAM:
        format = picture.format if picture.format in FORMATS.values() and picture.format != "GIF" else "PNG"
        images.write(sys.stdout.buffer, picture, quality, format)
        sys.stdout.buffer.flush()
    else:
        images.write(job.target, picture, quality)
        yield job.target


def _bar(name: str) -> tqdm:
    """How far a pass in strips is: in a terminal only, and only where it takes long."""
    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    return tqdm(total=1, desc=name, file=sys.stderr, disable=None, delay=2, leave=False, bar_format=shape)


def _stdin() -> io.BytesIO:
    if sys.stdin.isatty():
        raise UserError("input=- reads a picture from stdin, but nothing is piped in: add < photo.jpg.")
    return io.BytesIO(sys.stdin.buffer.read())
