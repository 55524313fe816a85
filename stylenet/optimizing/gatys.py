"""Gatys' method: a photo, paintings and the weights of the terms in, the optimised picture out.

Gatys, Ecker and Bethge 2016. :mod:`stylenet.optimizing.optimizer` does the descent. Knows no files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stylenet.data.crops import centre_square
from stylenet.data.paintings import BUNDLED
from stylenet.data.photos import find_images, open_photo
from stylenet.images import image_io
from stylenet.images.image_io import Picture, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.optimizing.optimizer import Terms, beginning, enlarge, known_optimizer, optimize, sizes
from stylenet.system.errors import UserError

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
    told as in :func:`stylenet.optimizing.optimizer.optimize`, readings instead of terms, its steps counted over all
    sizes.
    """
    check("seed", seed, 0, whole=True)
    if lr is not None:
        check("lr", lr, 1e-9)
    known_optimizer(optimizer)
    image: Tensor | None = None
    mix = _shares(style_weights, len(paintings)).to(device)
    for level, side in enumerate(sizes(size, coarse_to_fine)):
        photo = to_tensor(image_io.fit_picture(content, side).rgb).to(device)
        shrunk = max(1, round(style_size * side / size))
        styles = [to_tensor(image_io.fit(painting, shrunk)).to(device) for painting in paintings]
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

        image = optimize(loss, photo, start, steps, targets=loss.targets(mix), optimizer=optimizer, lr=lr, seen=told)
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
