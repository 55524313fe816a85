"""Make the pictures of docs/how_it_works.md, the lesson about style transfer.

    python -m benchmarks.experiments.lesson out=docs/lesson

One file for each name in PICTURES; ``only=[grams,maps]`` chooses some. A picture that is there is kept: delete it to
make it anew. What takes long is kept in ``work`` as well, so an interrupted run goes on. All in all: 40 minutes on a
slow core. The pictures come from the bundled photos, paintings and styles alone. ``readings.json`` in ``out`` has the
iterations of each picture and what its optimisation reached.
"""

import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

import stylenet
from benchmarks.experiments import lesson_seen
from benchmarks.experiments.lesson_cells import SHOWN, Cell, Chosen, Rows, cell, colored, grey, note, page, scaled
from benchmarks.experiments.lesson_seen import receptive_field
from benchmarks.experiments.trainings import answering, device, options, train
from stylenet.data.crops import centre_square
from stylenet.data.paintings import BUNDLED, open_painting
from stylenet.images.image_io import fit, open_rgb, to_pil, to_tensor
from stylenet.losses.perceptual import PerceptualLoss, gram, style_distance
from stylenet.losses.vgg import VGG
from stylenet.optimizing.gatys import objective
from stylenet.optimizing.optimizer import beginning, optimize
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError
from stylenet.system.memory import keep_freed_memory

OPTIONS: dict[str, Any] = {
    "only": None,  # names of PICTURES; null: all
    "out": "docs/lesson",  # folder for the pictures
    "work": "runs/lesson",  # folder for the cells of the pictures, and for the training
    "side": 128,  # pixels of an optimised picture
    "patience": 1.0,  # all iterations are multiplied by this
    "training": [],  # more options of scripts/train.py
    "quality": 85,  # of the JPEG files
}
PHOTOS = BUNDLED.parent / "photos"
PORTRAIT, VIEW = "val/red_panda", "val/castle"

FEATURES = {"relu1_2": 60, "relu2_2": 120, "relu3_3": 200, "relu4_3": 500, "relu5_3": 600}
"""Layers and the iterations that a picture rebuilt from them takes."""
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
TEXTURE_STEPS = 300
TEXTURE = ("starry_night.jpg", (430, 250, 1010, 830))  # a painting and a part of it, where strokes are large
GRAM_LAYER, GRAM_CHANNELS = "relu1_2", 24  # the channels that answer most, of 64
GRAM_PAINTINGS = {
    "starry_night": "The Starry Night",
    "great_wave": "The Great Wave",
    "composition_viii": "Composition VIII",
}
EXERCISE = ("relu3_3", "relu1_2", "relu5_3", "relu2_2", "relu4_3")  # in the order of the letters A to E
RATIOS, RATIO_STEPS = (0.25, 1.0, 4.0, 16.0), 30  # beta / alpha
MOMENTS = (0, 5, 20, 80, 400)  # iterations of which starts.jpg shows the picture
TRAINING_STEPS, SHEETS, TRAINING_SIDE = 250, (10, 40, 110, 250), 384
TRAINING = ["style=street_in_auvers", "experiment=quick", "net=lite", "data=bundled", "data.size=128", "data.margin=16"]
TRAINING += ["data.batch_size=2", f"data.val_size={TRAINING_SIDE}", "data.workers=0", "style_size=384"]
TRAINING += ["loss.style_weight=4", "trainer.sheet_every=10", f"trainer.val_every={TRAINING_STEPS}", "logger=none"]
BASE = "the_scream_lite"  # where experiment=quick with net=lite starts
CASTLE = 1  # its place among the validation photos, in the order of their names


def main() -> None:
    keep_freed_memory()
    chosen = options(OPTIONS)
    names = chosen["only"] or [*PICTURES]
    if unknown := [name for name in names if name not in PICTURES]:
        raise UserError(f"only={unknown[0]}: no such picture. There are: {', '.join(PICTURES)}.")
    for name in names:
        path = Path(chosen["out"]) / f"{name}.jpg"
        if path.exists():
            print(f"{path}: kept. Delete it to make it anew.", flush=True)
            continue
        print(f"{path}: {PICTURES[name].__doc__}", file=sys.stderr, flush=True)
        rows = PICTURES[name](chosen)
        with replacing(path) as temp:
            page(rows).save(temp, "JPEG", quality=chosen["quality"], optimize=True)
        print(f"{path}: made.", flush=True)


# --- the pictures


def features(chosen: Chosen) -> Rows:
    """A photo rebuilt from the features of one layer at a time."""
    photo = square(PORTRAIT, chosen["side"])
    cells: list[Cell] = [(photo, ["the photo"])]
    for layer, steps in FEATURES.items():

        def make(steps: int, seen: Any, layer: str = layer) -> Tensor:
            return lesson_seen.from_features(tensor(photo), layer, steps, seen)

        cells.append((cell(chosen, f"features_{layer}", steps, make), [layer, f"sees {field(layer)} px"]))
    return [cells]


def textures(chosen: Chosen) -> Rows:
    """A painting rebuilt from the Gram matrices of one layer, then of two, up to five."""
    name, box = TEXTURE
    painting = open_painting(name, 10_000).crop(box).resize((chosen["side"],) * 2, Image.Resampling.LANCZOS)
    cells: list[Cell] = [(painting, ["the painting", "a part of it"])]
    for count in range(1, len(STYLE_LAYERS) + 1):

        def make(steps: int, seen: Any, count: int = count) -> Tensor:
            return lesson_seen.from_grams(tensor(painting), STYLE_LAYERS[:count], steps, seen)

        until = [STYLE_LAYERS[count - 1]] if count == 1 else ["up to " + STYLE_LAYERS[count - 1]]
        cells.append((cell(chosen, f"textures_{count}", TEXTURE_STEPS, make), [*until, f"layers: {count}"]))
    return [cells]


def maps(chosen: Chosen) -> Rows:
    """What five layers see of a photo: the receptive field, and the feature maps that vary most."""
    photo = square(PORTRAIT, 2 * SHOWN)
    found = lesson_seen.strongest_maps(tensor(photo), [*FEATURES], 4)
    rows = []
    for layer, each in found.items():
        size = f"{each[0].shape[1]}x{each[0].shape[0]} numbers"
        rows.append([(framed(photo, layer), [layer, f"one number sees {field(layer)} px"])])
        rows[-1] += [(grey(one), [f"map {k}", size]) for k, one in enumerate(each, 1)]
    return rows


def exercise(chosen: Chosen) -> Rows:
    """One feature map of each of five layers, in a mixed order."""
    photo = square(VIEW, 2 * SHOWN)
    found = lesson_seen.strongest_maps(tensor(photo), EXERCISE, 1)
    smooth = Image.Resampling.BICUBIC
    return [[(grey(found[x][0], smooth), [letter]) for letter, x in zip("ABCDE", EXERCISE, strict=True)]]


def grams(chosen: Chosen) -> Rows:
    """The Gram matrices of three paintings."""
    vgg = VGG([GRAM_LAYER], lesson_seen.VGG_NAME).to(device())
    paintings = {name: centre_square(open_painting(f"{name}.jpg", 1024), 384) for name in GRAM_PAINTINGS}
    with torch.no_grad():
        found = {name: gram(vgg(tensor(painting))[GRAM_LAYER])[0].cpu() for name, painting in paintings.items()}
        halves = {
            name: [gram(vgg(half)[GRAM_LAYER])[0].cpu() for half in tensor(painting).chunk(2, dim=3)]
            for name, painting in paintings.items()
        }
    among = {f"{a}, {b}": unlike(found[a], found[b]) for a, b in itertools.combinations(found, 2)}
    note(
        chosen, "grams", {"two paintings": among, "two halves of one": {x: unlike(*each) for x, each in halves.items()}}
    )
    share = torch.stack([each.diagonal() / each.trace() for each in found.values()]).sum(0)
    order = share.argsort(descending=True)[:GRAM_CHANNELS]
    shown = [(paintings[name].resize((192, 192)), [title]) for name, title in GRAM_PAINTINGS.items()]
    return [shown, [(colored(each[order][:, order]), ["its Gram matrix", GRAM_LAYER]) for each in found.values()]]


def unlike(a: Tensor, b: Tensor) -> float:
    """The squared distance of two Gram matrices as a share of their sizes: 0 if they are equal."""
    return round(float(style_distance(a[None], b[None]) / (a.norm() * b.norm())), 3)


def weights(chosen: Chosen) -> Rows:
    """One photo, two paintings, and four ratios of the style weight to the content weight."""
    photo, rows = square(VIEW, chosen["side"]), []
    for name in ("starry_night", "great_wave"):
        painting = centre_square(open_painting(f"{name}.jpg", 1024), 2 * chosen["side"])
        loss = lazily(painting)
        rows.append([(painting.resize(photo.size), [GRAM_PAINTINGS[name]])])
        for ratio in RATIOS:

            def make(steps: int, seen: Any, ratio: float = ratio, loss: Any = loss) -> Tensor:
                return optimize(weighted(loss(), ratio), tensor(photo), tensor(photo), steps, seen=seen)

            rows[-1].append(
                (cell(chosen, f"weights_{name}_{ratio:g}", RATIO_STEPS, make), [f"beta / alpha = {ratio:g}"])
            )
    return rows


def starts(chosen: Chosen) -> Rows:
    """Three starting pictures, and what the optimisation makes of them."""
    photo = square(VIEW, chosen["side"])
    painting = centre_square(open_painting("great_wave.jpg", 1024), 2 * chosen["side"])
    loss, rows = lazily(painting), []
    for init, words in (("content", "the photo"), ("style", "the painting"), ("noise", "noise")):
        row: list[Cell] = []
        for moment in MOMENTS:
            steps = scaled(chosen, moment)
            caption = [f"from {words}"] if not moment else [f"{steps} iterations"]
            row.append((moment_of(chosen, init, steps, photo, painting, loss), caption))
        rows.append(row)
    return rows


def training(chosen: Chosen) -> Rows:
    """A held-out photo while a network learns a painting."""
    folder, steps = Path(chosen["work"]).resolve() / "training", scaled(chosen, TRAINING_STEPS)
    train(folder, [*TRAINING, *chosen["training"]], steps)
    there = sorted(folder.glob("sheets/*.jpg"))
    moments = [scaled(chosen, at) for at in SHEETS]
    wanted = [min(there, key=lambda x, at=at: abs(int(x.stem) - at)) for at in moments]
    view = square(VIEW, TRAINING_SIDE)
    cells: list[Cell] = [(small(view), ["the photo"]), (small(stylenet.load(BASE)(view)), ["step 0", BASE])]
    for file in wanted:
        sheet = open_rgb(file)
        side = sheet.height // 2  # photos above, pictures below
        picture = sheet.crop((CASTLE * side, side, (CASTLE + 1) * side, 2 * side))
        cells.append((small(picture), [f"step {int(file.stem)}"]))
    return [cells]


def styles(chosen: Chosen) -> Rows:
    """Five of the sixteen styles of one network, and mixtures of two of them."""
    photo, names = (
        fit(open_rgb(PHOTOS / f"{VIEW}.jpg"), 5 * chosen["side"]),
        ("starry_night", "great_wave", "composition_viii"),
    )
    names += ("street_in_auvers", "summertime")
    above = [(centre_square(open_painting(f"{name}.jpg", 1024), SHOWN), [name]) for name in names]
    below = [(small(stylenet.load(f"gallery:{name}")(photo)), [f"gallery:{name}"]) for name in names]
    mixed = []
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        net = stylenet.load("gallery", mix=f"starry_night:{share},great_wave:{1 - share}")
        mixed.append((small(net(photo)), [f"{share:.0%} starry_night"]))
    return [above, below, mixed]


PICTURES: dict[str, Callable[[Chosen], Rows]] = {
    one.__name__: one for one in (maps, exercise, grams, styles, features, textures, weights, starts, training)
}
"""The fast ones first."""


# --- objectives and starts


def moment_of(
    chosen: Chosen, init: str, steps: int, photo: Image.Image, painting: Image.Image, loss: Callable[[], PerceptualLoss]
) -> Image.Image:
    """The picture after some iterations from a start; later moments begin at the start again only if none is kept."""
    whole = scaled(chosen, MOMENTS[-1])
    wanted = {scaled(chosen, moment) for moment in MOMENTS}

    def make(steps: int, seen: Any) -> Tensor:
        def and_keep(step: int, terms: Mapping[str, Tensor], image: Tensor) -> None:
            seen(step, terms, image)
            if step in wanted:
                with replacing(Path(chosen["work"]) / f"starts_{init}_{step}.png") as temp:
                    to_pil(image).save(temp, "PNG")

        style = tensor(painting.resize(photo.size))
        begin = beginning(init, tensor(photo), style)
        return optimize(weighted(loss(), 4.0), tensor(photo), begin, steps, seen=and_keep)

    last = cell(chosen, f"starts_{init}", MOMENTS[-1], make)
    return last if steps == whole else open_rgb(Path(chosen["work"]) / f"starts_{init}_{steps}.png")


def lazily(painting: Image.Image) -> Callable[[], PerceptualLoss]:
    """The objective for a painting, calibrated at its first use only."""
    made: list[PerceptualLoss] = []

    def get() -> PerceptualLoss:
        if not made:
            made.append(objective([tensor(painting)], vgg=lesson_seen.VGG_NAME, pooling=lesson_seen.POOLING))
        return made[0]

    return get


def weighted(loss: PerceptualLoss, ratio: float) -> PerceptualLoss:
    """The loss with this style weight to a content weight of 1."""
    loss.weights |= {"content": 1.0, "style": ratio}
    return loss


# --- pictures of things


def tensor(picture: Image.Image) -> Tensor:
    return to_tensor(picture).to(device())


def square(photo: str, side: int) -> Image.Image:
    """The middle of a bundled photo."""
    return centre_square(open_rgb(PHOTOS / f"{photo}.jpg"), side)


def small(picture: Image.Image) -> Image.Image:
    """The middle of a picture, as large as a cell."""
    side = min(*picture.size, SHOWN)
    return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)


def field(layer: str) -> int:
    return receptive_field(layer)[0]


def framed(photo: Image.Image, layer: str) -> Image.Image:
    """The photo, halved, and in its middle the square that one number of the layer sees."""
    half, side = photo.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), field(layer) / 2  # the photo has 2 * SHOWN px
    low, high = (SHOWN - side) / 2, (SHOWN + side) / 2
    ImageDraw.Draw(half).rectangle((low, low, high, high), outline="white", width=2)
    return half


if __name__ == "__main__":
    answering(main)
