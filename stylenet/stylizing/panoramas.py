"""Panoramas of the whole sphere, twice as wide as high (equirectangular), without squeezed strokes at the poles.

Near a pole a row of such a picture is stretched more and more, up to a single point over the whole width, and strokes
painted there are squeezed when one looks up or down. So each pole is painted in a view of its own, in stereographic
projection, which keeps shapes: a circle on the sphere is a circle in the view. The views and the belt between the poles
are laid into one picture, a sheet, that a network paints in one pass: norms measure all of it together, so that no view
has colours of its own. Afterwards they go back to their places and blend over a few degrees. Knows no networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images import image_io
from stylenet.system.errors import UserError

# Latitudes in degrees: where the belt ends, and between which two a view takes over from it. A stroke of the belt is
# squeezed by cos(latitude), one of a view is smaller by (1 + sin(latitude)) / 2: alike at 37 degrees.
BELT, FROM, TO = 58.0, 34.0, 42.0
# What a view shows below this latitude is not used. Its corners repeat this latitude outwards: with the horizon and its
# contrasts in them again, norms would leave less contrast to everything.
CORNERS = 28.0
REACH = 3  # pixels around what is sampled: cubic sampling needs two
ROWS = 64  # of the panorama that are made at a time
LEAST = 64  # pixels of the width


@dataclass(frozen=True)
class Layout:
    """Where things are on the sheet of a panorama of ``height`` x ``width``: the belt's rows, as wide as the panorama,
    and below it the views up and down, squares of half the width side by side.
    """

    height: int
    width: int

    @property
    def top(self) -> int:
        """The first row of the belt."""
        return round(self.height * (90 - BELT) / 180)

    @property
    def belt(self) -> int:
        """Rows of the belt."""
        return self.height - 2 * self.top

    @property
    def side(self) -> int:
        """Pixels a side of a view."""
        return self.width // 2

    @property
    def sheet(self) -> tuple[int, int]:
        """Height and width of the sheet."""
        return self.belt + self.side, self.width

    @property
    def cap(self) -> int:
        """Rows of the panorama that a view shows."""
        return min(self.height, int(self.height * (90 - CORNERS) / 180) + REACH)

    def weights(self, first: int, last: int) -> Tensor:
        """The share of the view in these rows, counted from the pole: 1, and 0 from ``FROM`` on, smoothly between."""
        latitude = 90 - (torch.arange(first, last) + 0.5) * 180 / self.height
        part = ((latitude - FROM) / (TO - FROM)).clamp(0, 1)
        return part * part * (3 - 2 * part)


def require(height: int, width: int) -> None:
    """Raise UserError unless a picture of this size can be a panorama of the whole sphere."""
    if width < LEAST or abs(width - 2 * height) > max(2, width // 100):
        raise UserError(
            f"wrap=panorama is for the whole sphere, twice as wide as high, {LEAST} pixels or more; this picture has "
            f"{width}x{height}. For a strip that goes all around, give wrap=x."
        )


def sheet(panorama: np.ndarray) -> np.ndarray:
    """The sheet of a panorama (h, w, 3) of uint8 or uint16."""
    layout = Layout(*panorama.shape[:2])
    made = np.empty((*layout.sheet, 3), panorama.dtype)
    made[: layout.belt] = panorama[layout.top : layout.top + layout.belt]
    for number, cap in enumerate((panorama[: layout.cap], panorama[::-1][: layout.cap])):
        columns = slice(number * layout.side, (number + 1) * layout.side)
        for first, rows in _view(image_io.to_tensor(np.ascontiguousarray(cap)), layout, down=number == 1):
            top = layout.belt + first
            made[top : top + rows.shape[2], columns] = image_io.to_array(rows, panorama.dtype.type)
    made[layout.belt :, 2 * layout.side :] = made[layout.belt :, 2 * layout.side - 1 :][:, :1]  # of an odd width
    return made


def from_sheet(painted: np.ndarray, height: int, width: int) -> np.ndarray:
    """The panorama (height, width, 3) of a painted sheet."""
    layout = Layout(height, width)
    made = np.empty((height, width, 3), painted.dtype)
    made[layout.top : layout.top + layout.belt] = painted[: layout.belt]
    for number, result in enumerate((made, made[::-1])):
        columns = slice(number * layout.side, (number + 1) * layout.side)
        view = image_io.to_tensor(np.ascontiguousarray(painted[layout.belt :, columns]))
        for first, rows in _cap(view, layout, down=number == 1):
            last = first + rows.shape[2]
            share = layout.weights(first, last)[:, None]
            belt = image_io.to_tensor(np.ascontiguousarray(result[first:last])) if share.min() < 1 else rows
            belt = torch.where(share < 1, belt, rows)  # above the belt there is nothing yet
            result[first:last] = image_io.to_array(belt.lerp(rows, share), painted.dtype.type)
    return made


def sheet_tensor(panoramas: Tensor) -> Tensor:
    """The sheets of panoramas (b, 3, h, w) in [0, 1]."""
    layout = Layout(*panoramas.shape[2:])
    made = panoramas.new_empty(*panoramas.shape[:2], *layout.sheet)
    made[:, :, : layout.belt] = panoramas[:, :, layout.top : layout.top + layout.belt]
    for one, result in zip(panoramas.split(1), made.split(1), strict=True):
        for number, cap in enumerate((one, one.flip(2))):
            left = number * layout.side
            for first, rows in _view(cap[:, :, : layout.cap].float().cpu(), layout, down=number == 1):
                top = layout.belt + first
                result[:, :, top : top + rows.shape[2], left : left + layout.side] = rows.clamp(0, 1).to(result)
    made[:, :, layout.belt :, 2 * layout.side :] = made[:, :, layout.belt :, 2 * layout.side - 1 :][..., :1]
    return made


def from_sheet_tensor(painted: Tensor, height: int, width: int) -> Tensor:
    """The panoramas (b, 3, height, width) of painted sheets."""
    layout = Layout(height, width)
    made = painted.new_zeros(*painted.shape[:2], height, width)
    made[:, :, layout.top : layout.top + layout.belt] = painted[:, :, : layout.belt]
    for one, result in zip(painted.split(1), made.split(1), strict=True):
        for number in (0, 1):
            columns = slice(number * layout.side, (number + 1) * layout.side)
            view = one[:, :, layout.belt :, columns].float().cpu()
            for first, rows in _cap(view, layout, down=number == 1):
                last, share = first + rows.shape[2], layout.weights(first, first + rows.shape[2])[:, None]
                rows, share = (rows.flip(2), share.flip(0)) if number else (rows, share)
                place = slice(height - last, height - first) if number else slice(first, last)
                result[:, :, place] = result[:, :, place].lerp(rows.clamp(0, 1).to(result), share.to(result))
    return made


def _view(cap: Tensor, layout: Layout, down: bool) -> Iterator[tuple[int, Tensor]]:
    """The view of a pole, rows (1, 3, n, side) with the number of the first. ``cap``: rows (1, 3, n, w) of the
    panorama, from the pole on.
    """
    cap, radius = _around_pole(_without_crowding(cap, layout)), layout.width / (2 * pi)
    across = (torch.arange(layout.side) + 0.5 - layout.side / 2) / radius
    for first in range(0, layout.side, ROWS):
        below = (torch.arange(first, min(first + ROWS, layout.side)) + 0.5 - layout.side / 2) / radius
        below = (-below if down else below)[:, None]
        from_pole = 2 * torch.atan(torch.hypot(across, below) / 2).clamp(max=(90 - CORNERS) / 360 * pi)
        longitude = torch.atan2(across.expand_as(from_pole), below.expand_as(from_pole))
        rows = from_pole / pi * layout.height - 0.5
        columns = (longitude / (2 * pi) + 0.5) * layout.width - 0.5
        yield first, _sampled(cap, columns + REACH, rows + REACH)


def _cap(view: Tensor, layout: Layout, down: bool) -> Iterator[tuple[int, Tensor]]:
    """What a view (1, 3, side, side) is in the panorama: rows (1, 3, n, w) from the pole on, as far as they have a
    share, with the number of the first.
    """
    last, radius = int(layout.height * (90 - FROM) / 180) + 1, layout.width / (2 * pi)
    longitude = ((torch.arange(layout.width) + 0.5) / layout.width - 0.5) * 2 * pi
    for first in range(0, last, ROWS):
        from_pole = ((torch.arange(first, min(first + ROWS, last)) + 0.5) / layout.height * pi)[:, None]
        away, middle = 2 * torch.tan(from_pole / 2) * radius, layout.side / 2 - 0.5
        below = away * torch.cos(longitude)
        yield first, _sampled(view, away * torch.sin(longitude) + middle, (-below if down else below) + middle)


def _sampled(image: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Pixels of (1, 3, h, w) at these places, by cubic interpolation."""
    height, width = image.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)[None]
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _around_pole(cap: Tensor) -> Tensor:
    """A cap with what lies around it: its other side on the left and right, and beyond the pole half a turn on."""
    beyond = cap[:, :, :REACH].flip(2).roll(cap.shape[3] // 2, 3)
    cap = torch.cat([beyond, cap, cap[:, :, -1:].expand(-1, -1, REACH, -1)], 2)
    return torch.cat([cap[..., -REACH:], cap, cap[..., :REACH]], 3)


def _without_crowding(cap: Tensor, layout: Layout) -> Tensor:
    """The mean of as many neighbours of a row as one pixel of the view covers: more and more towards the pole."""
    cap, width = cap.clone(), layout.width
    for row in range(cap.shape[2]):
        from_pole = (row + 0.5) / layout.height * pi
        covered = min(width, (1 + np.cos(from_pole)) / (2 * np.sin(from_pole)))
        if covered <= 1:
            break
        values = cap[0, :, row].double()
        total = F.pad(values.cumsum(1), (1, 0))
        edges = torch.arange(width) + 0.5 - covered / 2, torch.arange(width) + 0.5 + covered / 2
        before, after = (_integral(values, total, edge) for edge in edges)
        cap[0, :, row] = ((after - before) / covered).to(cap)
    return cap


def _integral(values: Tensor, total: Tensor, ends: Tensor) -> Tensor:
    """The sum of a row (3, w) that repeats itself, from 0 to each of these ends."""
    width = values.shape[1]
    turns, place = torch.div(ends, width, rounding_mode="floor"), ends % width
    whole = place.long().clamp(max=width - 1)
    return total[:, whole] + (place - whole) * values[:, whole] + turns * total[:, -1:]
