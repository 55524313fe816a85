"""Gatys' method from files to a file: a photo, a painting, what to weigh them by; out comes the optimised picture.

The descent itself is optimize.py's; nothing here knows Hydra.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from stylenet import images, jobs, left_out, streams
from stylenet.crops import centre_square
from stylenet.errors import UserError
from stylenet.files import writable
from stylenet.images import Picture, to_tensor
from stylenet.losses import PerceptualLoss
from stylenet.opening import once
from stylenet.optimize import NotANumber, Terms, beginning, enlarge, known_optimizer, optimize, sizes
from stylenet.paintings import BUNDLED, find_painting, open_painting
from stylenet.photos import find_images, open_photo

CONTENT_LAYERS = ("relu4_2",)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
WEIGHTS = {"calibrated": (1.0, 4.0), "gatys": (1.0, 1e4)}
"""Content and style weight (alpha, beta) for each scale."""
CALIBRATION_PHOTOS, CALIBRATION_SIZE = 8, 256
LARGEST = 1e30  # what is squared and summed must stay a float32
SMALLEST = 16  # pixels a side: less is nothing after four poolings
PHOTOS = BUNDLED.parent / "photos" / "train"

Layers = Mapping[str, float] | Sequence[str] | str | None
Told = Callable[[int, Mapping[str, float], Tensor], Any]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the last whole picture is in ``path``."""

    def __init__(self, path: Path, step: int):
        self.path, self.step = path, step
        super().__init__(f"stopped after step {step}; the picture as it was then is in {path}")


# --- the objective


def objective(
    styles: Sequence[Tensor],
    scale: str = "calibrated",
    content_layers: Layers = None,
    style_layers: Layers = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float = 0.0,
    vgg: str = "vgg19",
    vgg_path: str | None = None,
    pooling: str = "average",
) -> PerceptualLoss:
    """The loss for ``styles``, each ``(1, 3, h, w)``, on their device; where the scale asks for it, calibrated on
    bundled photos.

    Layers: names, or weights by name; None for Gatys' own. Weights: None for those of ``WEIGHTS``. Raises UserError for
    what is not there.
    """
    if scale not in WEIGHTS:
        raise UserError(f"scale={scale}: no such scale. Allowed: {', '.join(WEIGHTS)}.")
    content_weight = WEIGHTS[scale][0] if content_weight is None else content_weight
    style_weight = WEIGHTS[scale][1] if style_weight is None else style_weight
    by_name = {"content_layers": content_layers or CONTENT_LAYERS, "style_layers": style_layers or STYLE_LAYERS}
    layers: dict[str, Any] = {name: _weighted(name, given) for name, given in by_name.items()}
    weights: dict[str, Any] = {"style_weight": style_weight, "content_weight": content_weight, "tv_weight": tv_weight}
    for name, weight in weights.items():
        check(name, weight, 0)
    loss = PerceptualLoss(
        [style.cpu() for style in styles], scale, **layers, **weights, vgg=vgg, vgg_path=vgg_path, pooling=pooling
    ).to(styles[0].device)
    if scale == "calibrated":
        photos = find_images(PHOTOS, "photos")
        chosen = photos[:: max(1, len(photos) // CALIBRATION_PHOTOS)][:CALIBRATION_PHOTOS]
        squares = (centre_square(open_photo(photo, CALIBRATION_SIZE), CALIBRATION_SIZE) for photo in chosen)
        loss.calibrate(to_tensor(square).to(styles[0].device) for square in squares)
    return loss


def _weighted(name: str, layers: Layers) -> dict[str, float]:
    if isinstance(layers, str):
        layers = [layers]
    if not isinstance(layers, Mapping | Sequence) or not all(isinstance(layer, str) for layer in layers):
        raise UserError(f"{name}={layers}: give names such as [relu1_1,relu2_1], or weights by name.")
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers or (), 1.0)
    for layer, weight in weights.items():
        check(f"{name}.{layer}", weight, 0)
    if not any(weights.values()):
        raise UserError(f"{name}: every layer has weight 0. Give one of them more.")
    return weights


def check(name: str, value: Any, least: float, most: float = LARGEST, whole: bool = False) -> None:
    """Raise UserError unless ``value`` is a number from ``least`` to ``most``, a whole one if so asked."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        limits = f"of {least} or more" if most == LARGEST else f"from {least} to {most}"
        raise UserError(f"{name}={value}: give a {'whole ' * whole}number {limits}.")


# --- the picture


def paint(
    content: Picture,
    paintings: Sequence[Image.Image],
    *,
    size: int,
    style_size: int,
    style_weights: Sequence[float] | None = None,
    init: str = "content",
    seed: int = 0,
    coarse_to_fine: bool | Sequence[int] = False,
    device: torch.device | str = "cpu",
    seen: Told | None = None,
    steps: int,
    optimizer: str = "lbfgs",
    lr: float | None = None,
    **options: Any,
) -> Tensor:
    """The content in the style of the paintings, ``(1, 3, h, w)`` in [0, 1], its longer side ``size`` at most.

    ``style_size``: the longer side of the paintings, at the last size; at smaller ones they shrink with the picture.
    ``style_weights``: shares of several paintings, equal ones if None. ``options``: see :func:`objective`. ``seen`` is
    told as in :func:`stylenet.optimize.optimize`, readings instead of terms, its steps counted over all sizes.
    """
    check("seed", seed, 0, whole=True)
    if lr is not None:
        check("lr", lr, 1e-9)
    known_optimizer(optimizer)
    image: Tensor | None = None
    mix = _shares(style_weights, len(paintings)).to(device)
    for level, side in enumerate(sizes(size, coarse_to_fine)):
        photo = to_tensor(images.fit_picture(content, side).rgb).to(device)
        shrunk = max(1, round(style_size * side / size))
        styles = [to_tensor(images.fit(painting, shrunk)).to(device) for painting in paintings]
        for what, one in (("content", photo), *(("style", style) for style in styles)):
            if min(one.shape[2:]) < SMALLEST:
                shape = f"{one.shape[3]}x{one.shape[2]}"
                raise UserError(f"{what} is {shape} pixels at size={side}: give {SMALLEST} or more a side.")
        shape = photo.shape[2], photo.shape[3]
        start = beginning(init, photo, styles[0], seed) if image is None else enlarge(image, shape)
        loss = objective(styles, **options)  # last: calibrating takes long

        def told(step: int, terms: Terms, picture: Tensor, loss: PerceptualLoss = loss, before: int = level * steps):
            if seen is not None and (step or not before):
                return seen(before + step, {k: v.item() for k, v in loss.readings(terms).items()}, picture)

        image = optimize(loss, photo, start, steps, style=mix, optimizer=optimizer, lr=lr, seen=told)
    assert image is not None
    return image


def _shares(weights: Sequence[float] | None, count: int) -> Tensor:
    """The shares of ``count`` paintings, ``(1, count)``."""
    given = [1.0] * count if weights is None else list(weights) if isinstance(weights, Sequence) else [weights]
    for weight in given:
        check("style_weights", weight, 0)
    if len(given) != count or not sum(given):
        raise UserError(f"style_weights={given}: give {count}, one for each painting, not all 0.")
    return torch.tensor([given]) / sum(given)


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
    **options: Any,
) -> Path:
    """Paint a file; the path of the result. ``style``: bundled paintings by name, or files; the rest as :func:`paint`.

    ``save_every``: also write the picture every so many iterations, as ``<result>_0050`` and so on. Raises UserError
    for what cannot be used; Interrupted after Ctrl-C and NotANumber, both with the last good picture written.
    """
    names = [style] if isinstance(style, str | Path) else list(style)
    style_size = size if style_size is None else style_size
    for name, value in {"size": size, "style_size": style_size}.items():
        check(name, value, 2 * SMALLEST, whole=True)
    check("steps", steps, 1, whole=True)
    check("save_every", 1 if save_every is None else save_every, 1, whole=True)
    check("quality", quality, 1, 100, whole=True)
    total = steps * len(sizes(size, options.get("coarse_to_fine", False)))
    target = _target(content, names, output)
    between = [_numbered(target, step) for step in range(save_every or total, total, save_every or total)]
    _require_free([target, *between], overwrite)
    paintings = [open_painting(_file(name), style_size) for name in names]
    picture = images.read(once(content))
    left_out.remark(content, picture.note)
    with streams.bar(total=total, desc=_title(names), unit="step", mininterval=0.05, delay=0.01) as bar:
        seen = _Watch(picture, target, quality, save_every, bar)
        try:
            paint(picture, paintings, size=size, style_size=style_size, steps=steps, seen=seen, **options)
        except KeyboardInterrupt:
            if seen.image is None:
                raise
            raise Interrupted(seen.write(target), seen.step) from None
        except NotANumber as error:
            if seen.image is None:
                raise
            where = seen.write(target)
            raise UserError(f"{error} The picture after step {seen.step} is in {where}.") from error
    return seen.write(target)


class _Watch:
    """Looks on while a file is painted: moves the bar, writes pictures in between, and keeps the last whole one."""

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
        """The picture as it is now, with the content's alpha and metadata."""
        assert self.image is not None
        fitted = images.fit_picture(self.picture, max(self.image.shape))
        rgb = images.to_array(self.image, self.picture.rgb.dtype.type)
        images.write(path, replace(fitted, rgb=rgb), self.quality)
        return path


def _target(content: str | Path, names: Sequence[str | Path], output: str | Path | None) -> Path:
    try:
        found = jobs.plan([content], output, _title(names))
    except UserError as error:
        raise UserError(str(error).replace("input=", "content=")) from error
    if len(found) > 1 or jobs.STREAM in (found[0].source, found[0].target):
        raise UserError(f"content={content}: give one picture file, and output= a file or a folder.")
    images.format_of(found[0].target)
    return found[0].target


def _numbered(target: Path, step: int) -> Path:
    return target.with_stem(f"{target.stem}_{step:04d}")


def _require_free(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise UserError, before all the work, where a result could not be written or would replace a file."""
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")
    for path in paths:
        if jobs.is_there(path) and not overwrite:
            raise UserError(f"{path} exists: give overwrite=true to replace it, or another output=.")
    writable(paths[0])


def _title(names: Sequence[str | Path]) -> str:
    return "+".join(Path(name).stem for name in names)


def _file(name: str | Path) -> Path:
    """The painting's file; a bundled one also by its bare name."""
    bundled = BUNDLED / f"{name}.jpg"
    bare = Path(name).name == str(name) and not Path(name).is_file()
    return bundled if bare and bundled.is_file() else find_painting(name)
