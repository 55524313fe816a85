"""Textures of 3D models as files: a .glb, .gltf or .obj in, the same with painted textures out, and a turntable of it.

:mod:`stylenet.stylizing.surfaces` paints, :mod:`stylenet.files.turntable` films. A result is whole or absent.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stylenet.files import planning, turntable
from stylenet.files.model_formats import MODELS, ModelFile, open_model
from stylenet.files.options import Writing
from stylenet.images import image_io, safe_open, srgb
from stylenet.images.image_io import Picture
from stylenet.meshes.model import BASE, EMISSIVE, Model
from stylenet.runtime.options import Runtime
from stylenet.stylizing import surfaces
from stylenet.stylizing.containers import ImageStylizer
from stylenet.stylizing.controls import Controls
from stylenet.stylizing.stylizer import Stylizer, load
from stylenet.system import console
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError, shown
from stylenet.system.options import grouped

MOST_SIDE = 16384  # pixels of a painted texture
EVEN = 1.1  # a spread of the scale below this is no news
WRAPS = {"x": "x", "y": "y", "xy": "both"}


def model_file(
    ckpt: str | Path,
    input: str | Path,
    output: str | Path | None = None,
    *,
    emissive: bool = False,
    size: int | None = None,
    turntable: str | Path | None = None,
    quality: int = 95,
    overwrite: bool = False,
    **options: Any,
) -> list[Path]:
    """Paint the base colour textures of a model, and return the paths of the model and of its turntable.

    ``input``: a .glb, .gltf or .obj file. ``output``: a file or a folder; None for ``<name>_<style>`` beside the model.
    A .gltf becomes a .glb, an .obj gets an .mtl and textures of its own beside it. ``emissive``: paint emissive
    textures, too. ``size``: the longer side of painted textures in pixels; None for their own. ``turntable``: a film of
    the model, before and after. ``options``: the fields of :class:`Controls` and :class:`Runtime`; masks and ``wrap``
    have no meaning here. Raises UserError for what cannot be used; nothing is written then.
    """
    controls, runtime = grouped(options, {Controls: None, Runtime: None})
    call = _Call(_layers(emissive), size, Writing(size=size, quality=quality, overwrite=overwrite), controls, runtime)
    film = _checked(call, turntable)
    source = _opened(input)
    with safe_open.allowed(runtime.megapixels):
        return _painted(ckpt, source, output, film, call)


@dataclass(frozen=True)
class _Call:
    layers: frozenset[str]
    size: int | None
    writing: Writing
    controls: Controls
    runtime: Runtime


def _layers(emissive: Any) -> frozenset[str]:
    if not isinstance(emissive, bool):
        raise UserError(f"emissive={emissive}: give true or false.")
    return frozenset([BASE, EMISSIVE] if emissive else [BASE])


def _checked(call: _Call, film: str | Path | None) -> Path | None:
    """The file of the turntable. Raises UserError for options without a meaning."""
    if call.controls.mask is not None or call.controls.wrap is not None:
        raise UserError("mask= and wrap= have no meaning for models: leave them out.")
    if call.size is not None and call.size > MOST_SIDE:
        raise UserError(f"size={call.size}: give the longer side of the textures, up to {MOST_SIDE} pixels.")
    return turntable.check(film)


def _opened(input: str | Path) -> ModelFile:
    if not isinstance(input, str | Path) or not str(input):
        raise UserError(f"input={input!r:.80}: give one model, a file that ends in {', '.join(MODELS)}.")
    path = Path(input)
    if path.suffix.lower() not in MODELS or path.is_dir():
        raise UserError(f"input={shown(path)}: give one model, a file that ends in {', '.join(MODELS)}.")
    return open_model(path)


def _painted(ckpt: Any, source: ModelFile, output: str | Path | None, film: Path | None, call: _Call) -> list[Path]:
    model = source.model()
    pictures = _pictures(source, model, call)
    stylizer = load(ckpt, replace(call.controls, strength=1.0, color="style", stroke=1.0), call.runtime)
    stylizer.require_style()
    target = _target(source, output, stylizer.name)
    places = source.places(target, [*pictures], call.layers)
    planning.require_free([*places, *([film] if film else [])], call.writing.overwrite)
    painted = _textures(model, pictures, stylizer, call)
    made = {number: replace(pictures[number], rgb=rgb) for number, rgb in painted.items()}
    files, notes = source.files(target, made, call.layers, call.writing.quality)
    for note in notes:
        console.warn_line(f"{shown(source.path.name)}: {note}.")
    _write(files)
    if film is None:
        return [target]
    before = {number: picture.rgb for number, picture in pictures.items()}
    turntable.write(film, turntable.Turning(model, before, painted), call.writing.quality)
    return [target, film]


def _pictures(source: ModelFile, model: Model, call: _Call) -> dict[int, Picture]:
    """The textures to paint, of 8 bits, by their numbers. Raises UserError if there are none."""
    used: set[int] = set()
    for layer in call.layers:
        used |= {int(one) for one in np.unique(model.layers[layer].image)} - {-1}
    if not used:
        raise UserError(f"{shown(source.path)}: {source.why_none(call.layers)}")
    pictures = {}
    for number in sorted(used):
        picture = source.picture(number)
        picture = replace(picture, rgb=srgb.eight_bit(picture.rgb), exif=b"", dpi=None)
        if picture.alpha is not None:
            picture = replace(picture, alpha=srgb.eight_bit(picture.alpha))
        pictures[number] = picture if call.size is None else _sized(picture, call.size)
    return pictures


def _sized(picture: Picture, size: int) -> Picture:
    """A texture with this longer side, larger or smaller than before."""
    height, width = picture.rgb.shape[:2]
    part = size / max(height, width)
    shape = max(1, round(width * part)), max(1, round(height * part))
    alpha = None if picture.alpha is None else image_io.resized(picture.alpha[..., None], shape)[..., 0]
    return replace(picture, rgb=image_io.resized(picture.rgb, shape), alpha=alpha)


def _target(source: ModelFile, output: str | Path | None, style: str) -> Path:
    """The file of the painted model."""
    suffix = source.suffix
    name = f"{source.path.stem}_{style}{suffix}"
    if output is None:
        return source.path.with_name(name)
    if not isinstance(output, str | Path) or not str(output):
        raise UserError(f"output={output!r:.80}: give the name of a file or a folder, or leave it out.")
    path = Path(output)
    if path.is_dir() or str(output).endswith(("/", os.sep)) or not path.suffix:
        return path / name
    if path.suffix.lower() != suffix:
        raise UserError(
            f"output={shown(path)}: the painted {source.path.suffix} is written as {suffix}. Give such a name."
        )
    return path


def _textures(
    model: Model, pictures: Mapping[int, Picture], stylizer: ImageStylizer, call: _Call
) -> dict[int, np.ndarray]:
    """The painted textures, by their numbers."""
    painted: dict[int, np.ndarray] = {}
    stylize = _Stylize(stylizer, call.controls)
    for layer in sorted(call.layers):
        rest = {number: picture for number, picture in pictures.items() if number not in painted}
        sizes = {number: (picture.rgb.shape[1], picture.rgb.shape[0]) for number, picture in rest.items()}
        surface = model.surface(layer, sizes)
        if not len(surface):
            continue
        blank = np.zeros((1, 1, 3), np.uint8)
        textures = [
            surfaces.Texture(rest[number].rgb if number in rest else blank, repeats)
            for number, repeats in enumerate(model.repeats)
        ]
        made = surfaces.paint(surface, textures, stylize, call.controls)
        painted |= made.textures
        for note in made.notes:
            console.warn_line(f"{note[0].upper()}{note[1:]}.")
        if made.before > EVEN:
            console.warn_line(
                f"Scale on the surface, highest to lowest: {made.before:.3g} in the textures, {made.after:.3g} as "
                f"painted ({made.islands} islands)."
            )
    return painted


class _Stylize:
    """A network for :func:`stylenet.stylizing.surfaces.paint`, with a bar."""

    def __init__(self, stylizer: ImageStylizer, controls: Controls):
        self.stylizer, self.controls = stylizer, controls

    def __call__(self, picture: np.ndarray, axes: str) -> np.ndarray:
        stylizer = self.stylizer
        if axes and isinstance(stylizer, Stylizer):
            wrapped = Controls(mix=self.controls.mix, style=self.controls.style, wrap=WRAPS[axes]).of_one(0)
            try:
                stylizer = stylizer.restyled(wrapped)
            except UserError as error:
                console.warn_line(f"A texture repeats, and may show a seam where it does: {error}")
        shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
        with console.bar(total=1, desc="painting", disable=None, delay=2, leave=False, bar_format=shape) as bar:
            (made,) = stylizer.stylize_arrays([picture], None, lambda part: bar.update(part - bar.n))
        return made


def _write(files: Mapping[Path, bytes]) -> None:
    """Write all files, or none: the first one, which names the others, takes its place last."""
    with ExitStack() as stack:
        for path, data in files.items():
            stack.enter_context(replacing(path)).write_bytes(data)
