"""A film of a model that turns once, with its textures before on the left and after on the right."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from stylenet.meshes import pyramid, renderer
from stylenet.meshes.model import BASE, Model
from stylenet.meshes.renderer import Scene
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.video import container
from stylenet.video.protocol import FilmSource, Frame, Look
from stylenet.video.sources import open_sink, sink_kind

FRAMES, RATE = 72, 24  # a turn of three seconds
SIDE = 512  # pixels
Textures = Mapping[int, np.ndarray]


def check(turntable: str | Path | None) -> Path | None:
    """The file of a turntable. Raises UserError if no film can be written there."""
    if turntable is None:
        return None
    if not isinstance(turntable, str | Path) or not str(turntable):
        raise UserError(f"turntable={turntable!r:.80}: give the name of a film, such as turntable=out.mp4.")
    path = Path(turntable)
    kind = sink_kind(path)
    if kind is None or not kind.is_file or path.suffix.lower() == ".png":
        raise UserError(f"turntable={path} holds no film: give a name that ends in .mp4, .webm, .mov, .gif or .webp.")
    if path.suffix.lower() not in (".gif", ".webp", ".apng"):
        container.require()
    return path


def scene_of(model: Model) -> Scene:
    """What is seen of a model."""
    seen, layer = model.shown, model.layers[BASE][model.shown]
    corners, normals, color = model.corners[seen], model.normals[seen], model.color[seen]
    return Scene(corners, normals, layer.places, layer.image, color, model.repeats)


class Turning(FilmSource):
    """The frames of a turn, (h, 2 w, 3). ``before``, ``after``: textures (h, w, 3) of uint8, by their numbers."""

    def __init__(self, model: Model, before: Textures, after: Textures):
        self.path, self.look, self.size, self.expected = (
            Path("turntable"),
            Look(Fraction(RATE)),
            (2 * SIDE, SIDE),
            FRAMES,
        )
        self.scene = scene_of(model)
        self.textures = [_levels(one, len(model.repeats)) for one in (before, {**before, **after})]

    def __iter__(self) -> Iterator[Frame]:
        for number in range(FRAMES):
            view = renderer.view(self.scene, 360 * number / FRAMES, SIDE)
            both = [renderer.picture(view, one) for one in self.textures]
            yield Frame(np.concatenate(both, 1), Fraction(number, RATE), Fraction(1, RATE))

    def close(self) -> None:
        pass


def _levels(textures: Textures, count: int) -> list[list[np.ndarray]]:
    white = np.full((1, 1, 3), 255, np.uint8)  # of a texture that could not be read
    return [pyramid.mipmaps(textures.get(number, white)) for number in range(count)]


def write(path: Path, source: Turning, quality: int) -> None:
    """Write the film, whole or not at all."""
    with (
        open_sink(path, source, quality) as sink,
        console.bar(total=FRAMES, desc="turntable", unit="frame", mininterval=0.5) as bar,
    ):
        for frame in source:
            sink.add(frame)
            bar.update()
