"""Masks inside one network: several of its styles in one picture, by a single pass."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stylenet
from stylenet.nets import checkpoint, registry
from stylenet.stylizing.controls import MaskedStylizer
from stylenet.system.errors import UserError

WIDTH, HEIGHT = 96, 48


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two styles, a red one and a blue one, whose strokes differ too."""
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(6, 6, 6), blocks=1, n_styles=2, frame=8)
    with torch.no_grad():
        norm: Any = net.up[1].norm  # type: ignore[index]
        norm.weight[1] *= 0.5
        norm.bias[0] = torch.tensor([4.0, 4, 4, 0, 0, 0])
        norm.bias[1] = torch.tensor([0.0, 0, 0, 4, 4, 4])
        net.last.weight.fill_(-0.01)  # type: ignore[union-attr]
        net.last.weight[0, :3] = net.last.weight[2, 3:] = 0.01  # type: ignore[index,union-attr]
    folder = tmp_path_factory.mktemp("areas")
    return checkpoint.save(folder / "two.safetensors", net, {"styles": [{"name": "red"}, {"name": "blue"}]})


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def left(white: float = 0.5) -> Image.Image:
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (0, 0, round(WIDTH * white), HEIGHT))
    return mask


def right(white: float = 0.5) -> Image.Image:
    return left(white).transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def load(file: Any, **options: Any) -> Any:
    return stylenet.load(file, device="cpu", **{"backend": "torch", "mask": [left(), right()], **options})


def apart(one: np.ndarray, other: np.ndarray, part: slice = slice(None)) -> float:
    return float(np.abs(one[:, part].astype(int) - other[:, part]).mean())


@pytest.mark.parametrize("by", ["mix", "name"])
def test_each_style_is_in_its_mask(file: Path, photo: np.ndarray, by: str):
    red, blue = (load(file, mix=name, mask=None)(photo) for name in ("red", "blue"))
    assert apart(red, blue) > 40
    style = load(file, mix=["red", "blue"]) if by == "mix" else load([f"{file}:red", f"{file}:blue"])
    assert style.name == "red+blue"
    made = style(photo)
    for part, mine, other in ((slice(0, 36), red, blue), (slice(60, 96), blue, red)):
        assert apart(made, mine, part) < 15 < 40 < apart(made, other, part)


def test_the_border_is_painted_and_not_blended(file: Path, photo: np.ndarray):
    """Far from it, the pictures that are blended are those of the styles alone; the network paints in one pass."""
    inside, blended = load(file, mix=["red", "blue"]), load(file, mix=["red", "blue"], backend="openvino")
    assert type(inside) is not MaskedStylizer and type(blended) is MaskedStylizer
    assert apart(blended(photo), load(file, mix="red", mask=None)(photo), slice(0, 40)) < 1
    assert apart(inside(photo), blended(photo)) > 1


def test_strips_batches_and_copies(file: Path, photo: np.ndarray):
    whole = load(file, mix=["red", "blue"], tile="off")
    strips = load(file, mix=["red", "blue"], tile=8)
    assert np.abs(whole(photo).astype(int) - strips(photo)).max() <= 1
    assert (pickle.loads(pickle.dumps(whole))(photo) == whole(photo)).all()
    tensors = torch.from_numpy(np.stack([photo, photo[::-1].copy()])).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(whole(tensors)[1:], whole(tensors[1:]), atol=1e-5, rtol=0)


def test_the_rest_is_the_photo(file: Path, photo: np.ndarray):
    made = load(file, mix=["red", "blue"], mask=[left(0.3), right(0.3)])(photo)
    assert (made[:, 32:64] == photo[:, 32:64]).all()
    assert apart(made, photo, slice(0, 25)) > 30


def test_controls_and_another_style_for_one_photo(file: Path, photo: np.ndarray):
    style = load(file, mix=["red", "blue"], strength=0.0)
    assert (style(photo) == photo).all()
    style = load(file, mix=["red", "blue"])
    assert (style(photo, style="blue") == load(file, mix="blue", mask=None)(photo)).all()


def test_masks_of_several_sizes_and_of_one_grey(file: Path, photo: np.ndarray):
    """A grey mask everywhere gives a style its share in all places: the mixture that mix= paints."""
    greys = [Image.new("L", (3, 5), 85), Image.new("L", (1, 1), 170)]
    made = load(file, mix=["red", "blue"], mask=greys)(photo)
    mixed = load(file, mix="red:1,blue:2", mask=None)(photo)
    assert apart(made, mixed) < 1


def test_a_mix_for_each_mask(file: Path):
    with pytest.raises(UserError, match="mix= has 2 and mask= 0: give a mask for each style"):
        load(file, mix=["red", "blue"], mask=None)
    with pytest.raises(UserError, match="mix= has 2 and mask= 1"):
        load(file, mix=["red", "blue"], mask=[left()])
    with pytest.raises(UserError, match="ckpt= has 3 and mix= 2"):
        load([file] * 3, mix=["red", "blue"])
    with pytest.raises(UserError, match="green"):
        load([f"{file}:red", f"{file}:green"])
