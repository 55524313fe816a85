"""The one style of an exported file: that of a picture, one of several, or a mixture. Knows no formats."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stylenet.images import image_io
from stylenet.nets import checkpoint, mixes
from stylenet.nets.base import STYLE_SIDE, StyleNet
from stylenet.runtime.export_options import ExportOptions
from stylenet.system.errors import UserError, one_line


def with_style(
    net: StyleNet, info: dict[str, Any], options: ExportOptions, ckpt: str | Path
) -> tuple[StyleNet, dict[str, Any]]:
    """The network with the style that the file gets, if it gets one alone, and what is said of it. Raises UserError for
    a style that there is not, and for an engine's file without one.
    """
    if options.style is not None:
        net, info = _of_picture(net, info, options.style, ckpt)
    if options.mix is not None:
        net, info = checkpoint.mixed_style(net, info, _weights(options.mix, net, info))
    if options.target and net.any_style:
        raise UserError(f"target={options.target} with ckpt={ckpt}: give style=painting.jpg, the style of the file.")
    if options.target and net.n_styles > 1:
        names = ", ".join(str(one.get("name")) for one in info.get("styles") or [])
        raise UserError(f"target={options.target} with ckpt={ckpt}: give mix=, the style of the file: {names}.")
    return net, info


def _weights(mix: Any, net: StyleNet, info: dict[str, Any]) -> list[float]:
    """A weight for each style of the network. Raises UserError for what is none."""
    names = [one.get("name") for one in info.get("styles") or []]
    if net.any_style or net.n_styles == 1:
        raise UserError(f"mix={mix!s:.80} is for a network with several styles: leave it out.")
    try:
        if isinstance(mix, str):
            parts = dict(mixes.shares(mix))
            if unknown := [name for name in parts if name not in names]:
                raise ValueError(f"there is no style {unknown[0]}; there are {', '.join(map(str, names))}")
            return [parts.get(name, 0.0) for name in names]
        weights = torch.as_tensor(mix if isinstance(mix, Sequence) else None, dtype=torch.float32)
        if weights.shape != (net.n_styles,) or not weights.isfinite().all():
            raise ValueError(f"give {net.n_styles} weights, or a name: {', '.join(map(str, names))}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"mix={mix!s:.80}: {one_line(error)}.") from None
    return weights.tolist()


def _of_picture(net: StyleNet, info: dict[str, Any], style: Any, ckpt: str | Path) -> tuple[StyleNet, dict[str, Any]]:
    """A network for any style with the style of one picture, and what is said of it."""
    if not net.any_style:
        raise UserError(f"style= is for networks that paint in any style; ckpt={ckpt} has its own: leave style= out.")
    if not isinstance(style, str | Path | Image.Image) or style == "":
        raise UserError(f"style={style!r:.80}: give one picture, its file.")
    picture = image_io.fit(image_io.open_rgb(style), STYLE_SIDE)
    with torch.inference_mode():
        one = net.fixed(net.style_of(image_io.to_tensor(picture))[0])
    name = "picture" if isinstance(style, Image.Image) else Path(style).stem
    return one, {**info, "net": checkpoint.describe(one), "styles": [{"name": name}], "calibration": {}}
