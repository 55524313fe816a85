"""The way from one style of a network to the next: mixtures of neighbours, for films and sheets."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylenet.stylizing import style_pictures
from stylenet.stylizing.controls import MaskedStylizer
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError


class Walk:
    """Styles in a row, and what lies between them. ``weights``: of each style, ``(k, n_styles)``, k >= 2. ``names``:
    of each style.
    """

    def __init__(self, weights: Tensor, names: Sequence[str]):
        self.weights, self.names = weights, names

    @property
    def name(self) -> str:
        """For results."""
        return "+".join(dict.fromkeys(self.names))

    def at(self, part: float) -> Tensor:
        """The weights ``(n_styles)`` after this part of the way, 0 to 1, which takes as long between any two styles."""
        first, after = self._between(part)
        return self.weights[first].lerp(self.weights[first + 1], after)

    def caption(self, part: float) -> tuple[str, ...]:
        """What is painted there, in words: ``("great_wave",)``, or ``("great_wave 75 %", "udnie 25 %")``."""
        first, after = self._between(part)
        shares = zip(self.names[first : first + 2], (1 - after, after), strict=True)
        said = [(name, round(100 * share)) for name, share in shares if round(100 * share)]
        return (said[0][0],) if len(said) == 1 else tuple(f"{name} {share} %" for name, share in said)

    def _between(self, part: float) -> tuple[int, float]:
        """The style before this place, and how far it is to the next, 0 to 1."""
        place = min(max(part, 0.0), 1.0) * (len(self.weights) - 1)
        first = min(int(place), len(self.weights) - 2)
        return first, place - first


def checked(walk: Any) -> list[Any]:
    """The styles of the option ``walk``. Raises UserError unless there are two or more."""
    styles = [*walk] if isinstance(walk, list | tuple) else [walk]
    if len(styles) < 2:
        raise UserError(f"walk={walk!r:.80}: give two styles or more, such as walk=[great_wave,udnie].")
    return styles


def along(stylizer: Any, walk: Any) -> Walk:
    """The walk of a loaded style. ``walk``: names of its styles or shares of them, as ``mix`` of
    :class:`stylenet.stylizing.controls.Controls` takes them; for a network for any style, pictures, as ``style`` does.

    Raises UserError for fewer than two styles, one that it does not know, and a network with a single style.
    """
    styles = checked(walk)
    if isinstance(stylizer, MaskedStylizer) or not isinstance(stylizer, Stylizer) or stylizer.areas is not None:
        raise UserError("walk= leads through the styles of one network: leave mask= out, and give one ckpt=.")
    if stylizer.net.n_styles < 2:
        raise UserError(f"walk= is for a network with several styles, and {stylizer.name} has one: give ckpt=gallery.")
    if stylizer.net.any_style:
        pictures = [style_pictures.opened(style) for style in styles]
        for some in pictures:
            style_pictures.refuse_own(some, "walk=")
        weights = [style_pictures.weights_of(stylizer.net, some, stylizer.device) for some in pictures]
        return Walk(torch.stack(weights), [style_pictures.name_of(some) for some in pictures])
    parts = [stylizer.mixed(style) for style in styles]
    return Walk(torch.cat([part.own_weights() for part in parts]), [part.name for part in parts])
