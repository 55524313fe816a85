"""Gatys' method on files: reads the photo and the paintings, writes the optimised picture and intermediate ones.

:mod:`stylenet.optimizing.gatys` computes the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from stylenet.data.paintings import BUNDLED, find_painting, open_painting
from stylenet.files import planning
from stylenet.images import image_io, left_out, safe_open
from stylenet.images.image_io import Picture
from stylenet.images.safe_open import once
from stylenet.optimizing.gatys import SMALLEST, check, paint
from stylenet.optimizing.optimizer import NotANumber, sizes
from stylenet.system import console
from stylenet.system.errors import UserError


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the last complete picture is in ``path``."""

    def __init__(self, path: Path, step: int):
        self.path, self.step = path, step
        super().__init__(f"stopped after step {step}; the picture so far is in {path}")


def paint_file(
    content: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    size: int = 512,
    style_size: int | None = None,
    steps: int = 300,
    save_every: int | None = None,
    overwrite: bool = False,
    quality: int = 95,
    megapixels: float | None = None,
    **options: Any,
) -> Path:
    """Paint a file and return the path of the result. ``style``: names of bundled paintings, or files; for the other
    options see :func:`paint`.

    ``save_every``: also write the picture after every so many iterations, as ``<result>_0050`` and so on.
    ``megapixels``: refuse larger pictures; None for 179. Raises UserError for invalid input and, with the last good
    picture written, when the objective is not a number; Interrupted, also with the picture written, after Ctrl-C.
    """
    names = [style] if isinstance(style, str | Path) else list(style)
    style_size = size if style_size is None else style_size
    if megapixels is not None:
        safe_open.check(megapixels)
    _check(size=size, style_size=style_size, steps=steps, save_every=save_every, quality=quality)
    total = steps * len(sizes(size, options.get("coarse_to_fine", False)))
    target = _target(content, names, output)
    between = [_numbered(target, step) for step in range(save_every or total, total, save_every or total)]
    planning.require_free([target, *between], overwrite)
    with safe_open.allowed(megapixels):
        paintings = [open_painting(_file(name), style_size) for name in names]
        picture = image_io.read(once(content))
    left_out.warn_note(content, picture.note)
    with console.bar(total=total, desc=_title(names), unit="step", mininterval=0.05, delay=0.01) as bar:
        watch = _Watch(picture, target, quality, save_every, bar)
        try:
            paint(picture, paintings, size=size, style_size=style_size, steps=steps, seen=watch, **options)
        except KeyboardInterrupt:
            if watch.image is None:
                raise
            raise Interrupted(watch.write(target), watch.step) from None
        except NotANumber as error:
            if watch.image is None:
                raise
            where = watch.write(target)
            raise UserError(f"{error} The picture after step {watch.step} is in {where}.") from error
    return watch.write(target)


def _check(size: int, style_size: int, steps: int, save_every: int | None, quality: int) -> None:
    for name, value in {"size": size, "style_size": style_size}.items():
        check(name, value, 2 * SMALLEST, whole=True)
    check("steps", steps, 1, whole=True)
    check("save_every", 1 if save_every is None else save_every, 1, whole=True)
    check("quality", quality, 1, 100, whole=True)


class _Watch:
    """Follows the optimisation: updates the bar, writes intermediate pictures, and keeps the last complete one."""

    def __init__(self, picture: Picture, target: Path, quality: int, every: int | None, bar: tqdm):
        self.picture, self.target, self.quality, self.every, self.bar = picture, target, quality, every, bar
        self.step, self.image = 0, None

    def __call__(self, step: int, readings: Mapping[str, float], image: Tensor) -> None:
        self.step, self.image = step, image
        self.bar.update(step - self.bar.n)
        shown = {name: f"{readings[name]:.4g}" for name in ("loss", "style", "content") if name in readings}
        self.bar.set_postfix(shown, refresh=False)
        if self.every and step % self.every == 0 and 0 < step < self.bar.total:
            self.write(_numbered(self.target, step))

    def write(self, path: Path) -> Path:
        """Write the current picture, with the content's alpha and metadata."""
        assert self.image is not None
        fitted = image_io.fit_picture(self.picture, max(self.image.shape))
        rgb = image_io.to_array(self.image, self.picture.rgb.dtype.type)
        image_io.write(path, replace(fitted, rgb=rgb), self.quality)
        return path


def _target(content: str | Path, names: Sequence[str | Path], output: str | Path | None) -> Path:
    try:
        found = planning.plan([content], output, _title(names))
    except UserError as error:
        raise UserError(str(error).replace("input=", "content=")) from error
    if len(found) > 1 or planning.STREAM in (found[0].source, found[0].target):
        raise UserError(f"content={content}: give one picture file, and output= a file or a folder.")
    image_io.format_of(found[0].target)
    return found[0].target


def _numbered(target: Path, step: int) -> Path:
    return target.with_stem(f"{target.stem}_{step:04d}")


def _title(names: Sequence[str | Path]) -> str:
    return "+".join(Path(name).stem for name in names)


def _file(name: str | Path) -> Path:
    """The painting's file; for a bundled one, its bare name is enough."""
    bundled = BUNDLED / f"{name}.jpg"
    bare = Path(name).name == str(name) and not Path(name).is_file()
    return bundled if bare and bundled.is_file() else find_painting(name)
