"""The textures of a model in a style, at one stroke scale on its surface.

All islands of all textures are laid side by side at the scale that they have in a view of the model. This atlas is one
picture for the network, so the whole model shares its statistics, and no island is too small for them. Its strokes go
back into the textures, with the detail that the atlas is too coarse for, restored by :mod:`stylenet.stylizing.brush`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import torch

from stylenet.images import image_io
from stylenet.meshes import atlas as atlases
from stylenet.meshes import seams as borders
from stylenet.meshes.atlas import Atlas
from stylenet.meshes.pyramid import ROWS, Pyramid
from stylenet.meshes.surface import Surface, islands, moved_inside, parted, scales, spread
from stylenet.stylizing import brush, wraps
from stylenet.stylizing.controls import Controls
from stylenet.system.errors import UserError
from stylenet.system.memory import free_memory

VIEW = 512  # pixels of a picture in which a model's diagonal is as long: in it, strokes look as in a photo
ATLAS = 150  # bytes of memory per pixel of the atlas
NEEDED = 60  # bytes of memory per pixel of a texture: measured
LEAST = 32  # pixels of the sides of what a network sees

Stylize = Callable[[np.ndarray, str], np.ndarray]
"""From a picture (h, w, 3) of uint8, and the axes along which it wraps around ("", "x", "y", "xy"), to its painting."""


@dataclass(frozen=True)
class Texture:
    """A texture: ``rgb`` (h, w, 3) of uint8, and the axes along which it repeats: "", "x", "y" or "xy"."""

    rgb: np.ndarray
    repeats: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass
class Painted:
    """``textures``: the painted ones, by their number. ``notes``: messages. ``before`` and ``after``: how uneven the
    scale on the surface is in the textures and in what the network saw, see :func:`stylenet.meshes.surface.spread`.
    ``islands``, and ``atlas``: width and height of what the network saw.
    """

    textures: dict[int, np.ndarray]
    notes: list[str] = field(default_factory=list)
    before: float = 1.0
    after: float = 1.0
    islands: int = 0
    atlas: tuple[int, int] = (0, 0)


def paint(surface: Surface, textures: Sequence[Texture], stylize: Stylize, controls: Controls) -> Painted:
    """Paint the textures that ``surface`` uses. Of ``controls``, strength, color and stroke count.

    Raises UserError if the surface has no extent, or the memory is too small.
    """
    diagonal, free = surface.diagonal, free_memory()
    if not (diagonal > 0 and np.isfinite(diagonal)):
        raise UserError("The model has no extent: all its triangles with a texture are in one place.")
    most = max((one.rgb.size // 3 for one in textures), default=0)
    if free is not None and most * NEEDED > free:
        raise UserError(
            f"Its largest texture of {most / 1e6:,.4g} million pixels takes {most * NEEDED / 1e9:.3g} GB of memory, "
            f"{free / 1e9:.3g} GB are free: give a smaller size=."
        )
    density = VIEW / diagonal / float(controls.stroke)
    sizes = [one.size for one in textures]
    surface, repeating = moved_inside(surface, islands(surface, sizes), sizes)
    tiled = {int(number) for number in np.unique(surface.texture[repeating])}
    result = Painted({})
    for number in sorted(tiled):
        own = surface[surface.texture == number]
        result.textures[number] = _tile(own, textures[number], stylize, controls, density)
    rest = surface[~np.isin(surface.texture, [*tiled])]
    if len(rest):
        _paint_islands(rest, textures, stylize, controls, density, result)
    return result


def _paint_islands(
    surface: Surface,
    textures: Sequence[Texture],
    stylize: Stylize,
    controls: Controls,
    density: float,
    result: Painted,
) -> None:
    """Add the textures of a surface whose islands lie inside their textures to ``result``."""
    sizes = [one.size for one in textures]
    island = islands(surface, sizes)
    chosen = atlases.painted_islands(surface, island, sizes)
    used = {int(number) for number in np.unique(surface.texture)}
    for number in sorted(used - {int(one) for one in np.unique(surface.texture[chosen])}):
        rgb = textures[number].rgb
        result.textures[number] = _controlled(controls, rgb, stylize(rgb, ""))
        result.notes.append(f"texture {number + 1}: no triangle covers a pixel of it; it is painted as a flat picture")
    if not chosen.any():
        return
    painted = surface[chosen]
    island = parted(painted, np.unique(island[chosen], return_inverse=True)[1], sizes)
    free = free_memory()
    most = atlases.MOST if free is None else min(atlases.MOST, free / ATLAS)
    atlas = atlases.packed(painted, island, density, most)
    if atlas.reduced > 1:
        result.notes.append(f"its surface is too large for one picture: strokes are {atlas.reduced:.3g} times as broad")
    canvas = _Canvas(atlas, {number: textures[number].rgb for number in used if (painted.texture == number).any()})
    picture = canvas.picture()
    made = borders.blended(stylize(picture, ""), canvas.owner >= 0, canvas.seams)
    image = _stacked(made, picture)
    for number, rgb in canvas.textures.items():
        before = canvas.pyramids[number].filled()
        result.textures[number] = _controlled(controls, before, canvas.back(number, rgb, image, surface))
    unit = np.broadcast_to(np.eye(2), atlas.maps.shape)
    result.before, result.after = spread(painted, island, unit), spread(painted, island, atlas.maps)
    result.islands, result.atlas = len(atlas.maps), atlas.size


class _Canvas:
    """What the network sees of a surface, and the way back into the ``textures``, (h, w, 3) of uint8 by number."""

    def __init__(self, atlas: Atlas, textures: dict[int, np.ndarray]):
        self.atlas, self.textures = atlas, textures
        self.seams = borders.seams(atlas)
        self.owner = atlas.owner()
        self.owners = {
            number: atlases.owners(atlas.surface, atlas.island, number, (rgb.shape[1], rgb.shape[0]))
            for number, rgb in textures.items()
        }
        self.pyramids = {number: Pyramid(rgb, self.owners[number] >= 0) for number, rgb in textures.items()}

    def picture(self) -> np.ndarray:
        """The atlas with islands continued over their borders, and no gap left, (h, w, 3) of uint8."""
        inside = self.owner >= 0
        picture = atlases.gathered(self.atlas, self.owner, self.pyramids)
        picture, known = borders.continued(picture, inside, self.seams, self.atlas.margin)
        return Pyramid(picture, known).filled()

    def back(self, number: int, rgb: np.ndarray, image: torch.Tensor, surface: Surface) -> np.ndarray:
        """The texture with the strokes of ``image``, see :func:`_stacked`, in its islands and gutters."""
        owner = atlases.with_gutter(self.owners[number])
        result, known = rgb.copy(), owner >= 0
        coarse = np.abs(np.linalg.det(self.atlas.maps)) < 1  # the texture has detail that the atlas lacks
        for top in range(0, len(rgb), ROWS):
            bottom = min(top + ROWS, len(rgb))
            found = torch.from_numpy(atlases.scattered(self.atlas, owner, image, top, bottom))[None]
            photo = image_io.to_tensor(rgb[top:bottom])
            plain = found[:, :3]
            fine = brush.detailed(photo, found[:, 3:6], found[:, 6:], plain)
            lacks = torch.from_numpy(coarse[np.maximum(owner[top:bottom], 0)])
            inside = torch.from_numpy(self.owners[number][top:bottom] >= 0)  # the gutter's own pixels mean nothing
            rows = image_io.to_array(torch.where(lacks & inside, fine, plain))
            result[top:bottom][known[top:bottom]] = rows[known[top:bottom]]
        known |= _specks(surface[surface.texture == number], owner)
        return Pyramid(result, known).filled()


def _stacked(made: np.ndarray, picture: np.ndarray) -> torch.Tensor:
    """The painting, what was painted, and how much of its detail belongs there, (1, 7, h, w) in [0, 1]."""
    gains = torch.from_numpy(brush.gain_levels(picture, made)).permute(2, 0, 1)[None].float() / 255
    return torch.cat([image_io.to_tensor(made), image_io.to_tensor(picture), gains], 1)


def _specks(surface: Surface, owner: np.ndarray) -> np.ndarray:
    """The pixels around the corners of triangles that lie in the gutters: colours that are looked up, as in a palette,
    which stay as they are.
    """
    found = np.zeros(owner.shape, bool)
    height, width = owner.shape
    x, y = (np.floor(surface.places[..., k].reshape(-1)).astype(int) for k in (0, 1))

    def around(steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for down in range(-steps, steps + 1):
            for across in range(-steps, steps + 1):
                yield (y + down).clip(0, height - 1), (x + across).clip(0, width - 1)

    near = np.any([owner[at] >= 0 for at in around(atlases.GUTTER)], axis=0)
    x, y = x[~near], y[~near]
    for at in around(1):
        found[at] = True
    return found & (owner < 0)


def _tile(surface: Surface, texture: Texture, stylize: Stylize, controls: Controls, density: float) -> np.ndarray:
    """A texture that repeats on the surface, painted as a tile at the mean scale of its triangles."""
    rgb = texture.rgb
    fit = scales(surface, np.zeros(len(surface), np.int64))[0] * density
    width, height = (
        int(np.clip(side * np.linalg.norm(fit[:, k]), LEAST, 4 * side)) for k, side in enumerate(texture.size)
    )
    width, height = _bounded(width, height)
    axes = texture.repeats
    small = wraps.resized(rgb, (height, width), axes)
    painted = stylize(small, axes)
    made = wraps.resized(painted, rgb.shape[:2], axes)
    if width * height < texture.size[0] * texture.size[1]:
        levels = brush.gain_levels(small, painted)
        coarse = [wraps.resized(one, rgb.shape[:2], axes) for one in (small, levels)]
        image_io.over(made, [rgb, *coarse, made], brush.detailed)
    return _controlled(controls, rgb, made)


def _bounded(width: int, height: int) -> tuple[int, int]:
    part = min(1.0, sqrt(atlases.MOST / (width * height)))
    return max(LEAST, int(width * part)), max(LEAST, int(height * part))


def _controlled(controls: Controls, before: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Strength and colours, at the size of the texture."""
    return Controls(strength=controls.strength, color=controls.color).after(before, before, made)
