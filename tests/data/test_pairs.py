"""Photos with paintings: reproducible, held out by themselves, and recoloured without a change of what is in them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stylenet.data.datamodule import Photos
from stylenet.data.pairs import PaintingCrops, recoloured
from stylenet.system.errors import UserError

ASSETS = Path(__file__).parents[2] / "stylenet/assets"
OPTIONS: dict[str, Any] = {
    "steps": 5,
    "seed": 3,
    "size": 24,
    "margin": 8,
    "batch_size": 2,
    "scale": (0.5, 1.0),
    "ratio": (0.8, 1.25),
    "flip": True,
    "workers": 0,
    "val": 3,
    "val_size": 32,
}


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    """Ten paintings of one colour each: number k has red k / 10."""
    folder = tmp_path / "paintings"
    folder.mkdir()
    for k in range(10):
        Image.new("RGB", (60, 50), (k * 25, 0, 0)).save(folder / f"{k}.png")
    return folder


def module(**options: Any) -> Photos:
    made = Photos(**(OPTIONS | options))
    made.setup()
    return made


def test_batches_are_photos_and_paintings_of_one_size(paintings: Path):
    batches = list(module(paintings=paintings).train_dataloader())
    assert len(batches) == 5
    for photos, others in batches:
        assert photos.shape == others.shape == (2, 3, 32, 32)
        assert photos.dtype == others.dtype == torch.uint8


def test_photos_are_those_of_a_run_without_paintings(paintings: Path):
    with_them, without = module(paintings=paintings), module()
    assert all(torch.equal(with_them.crops[k], without.crops[k]) for k in range(6))


def test_the_same_sample_is_the_same_painting_in_every_run(paintings: Path):
    one, other = (module(paintings=paintings).painting_crops for _ in range(2))
    assert one is not None and other is not None
    assert all(torch.equal(one[k], other[k]) for k in range(20))
    assert not all(torch.equal(one[k], one[k + 8]) for k in range(12))


def test_paintings_held_out_are_never_trained_on(paintings: Path):
    made = module(paintings=paintings, val_paintings=20)  # at most a fifth: two of ten
    assert len(made.val_paintings) == 2 and made.painting_crops is not None
    held_out = {int(picture[0].max()) for picture in made.val_paintings[:]}
    left = {int(Image.open(path).convert("RGB").getpixel((0, 0))[0]) for path in made.painting_crops.photos}  # type: ignore[index]
    assert len(left) == 8 and not held_out & left
    assert made.describe()["paintings"] == 8 and made.describe()["held_out_paintings"] == 2


def test_a_folder_of_paintings_to_hold_out(paintings: Path, tmp_path: Path):
    """Those that are in both are taken out of the training."""
    listed = tmp_path / "unseen.txt"
    listed.write_text(f"{paintings / '3.png'}\n{paintings / '7.png'}\n")
    made = module(paintings=paintings, val_paintings=str(listed))
    assert made.painting_crops is not None
    assert sorted(path.stem for path in made.painting_crops.photos) == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert {int(picture[0].max()) for picture in made.val_paintings[:]} == {75, 175}


def test_every_validation_photo_has_a_painting(paintings: Path):
    made = module(paintings=paintings)
    batches = list(made.val_dataloader())
    assert [len(photos) for photos, _ in batches] == [2, 1]
    shown = torch.cat([others for _, others in batches])
    assert torch.equal(shown[2], made.val_paintings[0])  # two are held out: the third photo has the first again


def test_all_paintings_held_out(paintings: Path):
    with pytest.raises(UserError, match="validation paintings"):
        module(paintings=paintings, val_paintings=str(paintings))


def test_recolouring_keeps_the_luminance():
    """A turn by a whole circle, with saturation and contrast in the middle of their ranges, changes nothing; by a part
    of one, all but the luminance.
    """
    crop = torch.randint(70, 180, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    luma = torch.tensor([0.299, 0.587, 0.114])
    same = recoloured(crop, 0.0, 0.5, 0.5)
    assert (same.int() - crop.int()).abs().max() <= 1
    grey = recoloured(crop.float().mul(0.3).add(90).to(torch.uint8), 0.3, 0.5, 0.5)
    before = torch.tensordot(luma, crop.float().mul(0.3).add(90).floor(), 1)
    assert (torch.tensordot(luma, grey.float(), 1) - before).abs().max() <= 1
    assert (recoloured(crop, 0.5, 0.5, 0.5).int() - crop.int()).abs().float().mean() > 10


def test_half_of_the_crops_have_other_colours(tmp_path: Path):
    Image.new("RGB", (80, 80), (200, 40, 40)).save(tmp_path / "red.png")
    crops = PaintingCrops([tmp_path / "red.png"], 32, 0)
    changed = [
        not torch.equal(crops[k], torch.tensor([200, 40, 40], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32))
        for k in range(60)
    ]
    assert 15 < sum(changed) < 45
