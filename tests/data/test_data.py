"""Photos from folders to crops: what is found, how it looks, in which order it comes, what is never trained on."""

import hashlib
import io
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import stylenet.data.datamodule
from stylenet.data import coco
from stylenet.data.coco import Archive, fetch_coco
from stylenet.data.crops import Crops, GlobalSamples
from stylenet.data.datamodule import Photos
from stylenet.data.photos import find_images
from stylenet.system.errors import UserError

ROOT = Path(__file__).parents[2]


def picture(path: Path, colour=(10, 20, 30), size=(40, 40), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def album(folder: Path, count: int) -> Path:
    """Photos of one colour each, whose red channel is their number."""
    for number in range(count):
        picture(folder / f"{number:02}.png", (number, 0, 0))
    return folder


def crops(photos, size=32, seed=0, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False) -> Crops:
    return Crops(photos, size, seed, scale, ratio, flip)


def data(root, **changes) -> Photos:
    settings = {"steps": 8, "seed": 0, "size": 16, "batch_size": 4, "scale": (0.5, 1), "ratio": (0.8, 1.25)}
    settings |= {"flip": True, "workers": 0, "val": 0, "val_size": 32}
    module = Photos(root=root, **(settings | changes))
    module.prepare_data()
    module.setup()
    return module


def numbers(batches) -> list[int]:
    """Which photos of an ``album`` the batches hold."""
    return [int(number) for batch in batches for number in batch[:, 0, 0, 0]]


# Finding photos


def test_finds_photos_nested_and_linked_once_each_and_nothing_else(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/deep/y.webp"):
        picture(tmp_path / "in" / name)
    outside = picture(tmp_path / "outside" / "far.bmp").parent
    for name in ("notes.txt", "labels.json", ".hidden.jpg", ".cache/thumb.jpg", "no_suffix"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("x")
    os.symlink(outside, tmp_path / "in" / "linked")
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "loop")
    os.symlink(tmp_path / "in" / "b.JPG", tmp_path / "in" / "a" / "again.jpg")
    os.symlink(tmp_path / "nowhere.jpg", tmp_path / "in" / "dangling.jpg")
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    found = [path.relative_to(tmp_path / "in").as_posix() for path in find_images(tmp_path / "in")]
    assert found == ["a/deep/y.webp", "a/z.png", "b.JPG", "linked/far.bmp"]


def test_a_list_file_is_relative_to_its_folder_and_names_what_is_missing(tmp_path, caplog):
    inside, outside = picture(tmp_path / "lists" / "sub" / "my photo.jpg"), picture(tmp_path / "two.png")
    (tmp_path / "lists" / "some.txt").write_text(f"sub/my photo.jpg\n\n{outside}\ngone.jpg\nsub/my photo.jpg\n")
    found = find_images(tmp_path / "lists" / "some.txt")
    assert {path.resolve() for path in found} == {inside, outside} and len(found) == 2
    assert "1 of 4 lines" in caplog.text and "gone.jpg" in caplog.text


def test_coco_as_unpacked_is_its_training_photos(tmp_path):
    picture(tmp_path / "train2017" / "000000000009.jpg")
    picture(tmp_path / "val2017" / "000000000139.jpg")
    (tmp_path / "annotations").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["000000000009.jpg"]


def test_a_folder_that_is_not_coco_is_not_taken_for_it(tmp_path):
    for number in range(10):
        picture(tmp_path / "val2017" / f"{number}.jpg")
    with pytest.raises(UserError, match="no train2017.*data=folder"):
        data(tmp_path, coco=True)


def test_no_photos_tells_what_is_there_and_where_photos_are(tmp_path):
    picture(tmp_path / "pictures" / "a.jpg")
    labels = tmp_path / "labels"
    (labels / "sub").mkdir(parents=True)
    for name in ("a.json", "b.json", "sub/c.csv"):
        (labels / name).touch()
    with pytest.raises(UserError) as error:
        find_images(labels)
    message = str(error.value)
    assert "0 photos" in message and "3 files (.json, .csv) and 1 folder sub" in message
    assert f"There are photos in {tmp_path / 'pictures'}." in message and "\n" not in message
    with pytest.raises(UserError, match="train does not exist; .* has the folders labels, pictures"):
        find_images(tmp_path / "picturez" / "train")
    with pytest.raises(UserError, match="single file"):
        find_images(tmp_path / "pictures" / "a.jpg")


# Pixels


def turned(path: Path) -> Path:
    """Stored with red left and blue right, and the EXIF note to turn it by 90 degrees clockwise: red is on top."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32, 0], pixels[:, 32:, 2] = 255, 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def test_a_rotated_photo_is_cropped_upright(tmp_path):
    crop = crops([turned(tmp_path / "phone.jpg")])[0].int()
    assert crop.shape == (3, 32, 32)
    red, blue = torch.tensor([255, 0, 0]), torch.tensor([0, 0, 255])
    assert (crop[:, 4, 4] - red).abs().max() < 8 and (crop[:, 4, 28] - red).abs().max() < 8
    assert (crop[:, 28, 4] - blue).abs().max() < 8 and (crop[:, 28, 28] - blue).abs().max() < 8


def kinds() -> dict[str, tuple[Image.Image, str, tuple[int, int, int]]]:
    palette = Image.new("RGB", (32, 32), (200, 100, 50)).quantize(4)
    sixteen = Image.fromarray(np.full((32, 32), 128 * 257, np.uint16))
    return {
        "grey": (Image.new("L", (32, 32), 77), "png", (77, 77, 77)),
        "16-bit": (sixteen, "png", (128, 128, 128)),
        "palette": (palette, "png", (200, 100, 50)),
        "see-through": (Image.new("RGBA", (32, 32), (255, 0, 0, 0)), "png", (255, 255, 255)),
        "half see-through": (Image.new("RGBA", (32, 32), (255, 0, 0, 128)), "png", (255, 127, 127)),
        "CMYK": (Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "tiff", (255, 0, 0)),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_picture_becomes_the_colour_it_shows(tmp_path, kind):
    image, suffix, colour = kinds()[kind]
    image.save(tmp_path / f"a.{suffix}")
    crop = crops([tmp_path / f"a.{suffix}"])[0]
    assert crop.dtype == torch.uint8 and crop.shape == (3, 32, 32)
    assert (crop.int() - torch.tensor(colour)[:, None, None]).abs().max() <= 1


def slope(path: Path, size=(256, 256)) -> Path:
    """Red tells the horizontal position and green the vertical one, from 0 to 255."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    Image.fromarray(np.stack([x, y, 0 * x], -1).round().astype(np.uint8)).save(path, quality=100, subsampling=0)
    return path


def test_crops_cover_the_share_asked_for_everywhere_in_the_photo_and_are_mirrored_half_the_time(tmp_path):
    source = crops([slope(tmp_path / "a.png")], size=64, scale=(0.25, 0.5), ratio=(0.5, 2.0), flip=True)
    seen = torch.stack([source[k] for k in range(200)]).float()
    width = (seen[:, 0, 32, 60] - seen[:, 0, 32, 4]) / 56 * 64 / 256  # of the photo's; below 0 where mirrored
    height = (seen[:, 1, 60, 32] - seen[:, 1, 4, 32]) / 56 * 64 / 256
    area, ratio = width.abs() * height, width.abs() / height
    assert (height > 0).all() and 80 < int((width < 0).sum()) < 120
    assert 0.24 < area.min() < 0.27 and 0.48 < area.max() < 0.52
    assert 0.48 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.1
    unturned = crops(source.photos, size=64, scale=(0.25, 0.5), ratio=(0.5, 2.0))
    assert all(torch.equal(unturned[k], source[k].flip(-1) if width[k] < 0 else source[k]) for k in range(20))
    left, top = seen[:, 0, 32, :].amin(1), seen[:, 1, 0, 32]
    assert left.min() < 10 and top.min() < 10 and seen[:, 0].max() > 245 and seen[:, 1].max() > 245


@pytest.mark.parametrize("size", [(1024, 640), (300, 1200)])
def test_fast_jpeg_decoding_does_not_change_what_is_seen(tmp_path, size):
    photos = [slope(tmp_path / "a.png", size)], [slope(tmp_path / "a.jpg", size)]
    exact, fast = (crops(paths, scale=(0.1, 1.0), ratio=(0.5, 2.0), flip=True) for paths in photos)
    assert max((exact[k].int() - fast[k].int()).abs().max() for k in range(30)) <= 6


def test_fast_jpeg_decoding_keeps_what_the_crop_can_show(tmp_path):
    """Stripes 6 px apart, in crops of half the photo's side at half its size: 3 px apart, lost if decoded too small."""
    stripes = np.tile((np.arange(258) // 3 % 2 * 255).astype(np.uint8), (258, 1))
    for suffix in ("png", "jpg"):
        Image.fromarray(stripes).convert("RGB").save(tmp_path / f"a.{suffix}", quality=95)
    exact, fast = (crops([tmp_path / f"a.{suffix}"], size=64, scale=(0.25, 0.25)) for suffix in ("png", "jpg"))
    assert exact[0].float().std() > 60 and fast[0].float().std() > 0.7 * exact[0].float().std()


# Broken photos


def broken(folder: Path) -> Path:
    picture(folder / "whole.jpg", size=(200, 200))
    content = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<html>404</html>")
    picture(folder / "icon.png", size=(8, 300))
    return folder


def test_broken_photos_are_named_once_and_replaced_by_a_choice_of_seed_and_number_alone(tmp_path, caplog):
    module = data(broken(album(tmp_path, 12)), steps=12)
    seen = numbers(module.train_dataloader())
    assert len(seen) == 48 and set(seen) == set(range(12))
    for name in ("cut.jpg", "empty.png", "page.jpg", "icon.png"):
        assert caplog.text.count(name) == 1
    assert module.describe()["skipped"] == 4
    with_workers = data(tmp_path, steps=12, workers=2)
    assert numbers(with_workers.train_dataloader()) == seen
    assert with_workers.describe()["skipped"] == 4  # met in the workers, counted here


@pytest.mark.parametrize("val", [0, 16])
def test_only_broken_photos_is_the_users_mistake(tmp_path, val):
    with pytest.raises(UserError, match="None of the 4 photos can be read"):
        data(broken(tmp_path), val=val)


# Order


def test_every_epoch_shows_every_photo_once_in_an_order_of_its_own(tmp_path):
    seen = numbers(data(album(tmp_path, 8), steps=4).train_dataloader())
    assert sorted(seen[:8]) == sorted(seen[8:]) == list(range(8)) and seen[:8] != seen[8:]
    assert numbers(data(tmp_path, steps=4, seed=1).train_dataloader()) != seen


@pytest.mark.parametrize("count", [1, 3, 4, 5, 12])
def test_no_photo_is_left_over_whatever_their_number_is_to_the_batch(tmp_path, count):
    """Batches are full, also where there are fewer photos, and all photos have the same share to within one."""
    seen = numbers(data(album(tmp_path, count), steps=9, batch_size=4).train_dataloader())
    shares = [seen.count(number) for number in range(count)]
    assert len(seen) == 36 and max(shares) - min(shares) <= 1


def test_workers_and_processes_do_not_change_the_batches(tmp_path):
    album(tmp_path, 7)
    slope(tmp_path / "slope.png")
    module = data(tmp_path, steps=6)
    whole = list(module.train_dataloader())
    assert all(
        torch.equal(a, b) for a, b in zip(whole, data(tmp_path, steps=6, workers=2).train_dataloader(), strict=True)
    )
    shares = [GlobalSamples(0, 6, 2, rank, world=2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(batch, torch.stack([module.crops[k] for part in parts for k in part]))


def test_a_run_that_starts_later_sees_exactly_what_is_left(tmp_path):
    whole = list(data(album(tmp_path, 7), steps=6).train_dataloader())
    late = data(tmp_path, steps=6)
    late.start_sample = 4 * 4
    rest = list(late.train_dataloader())
    assert len(rest) == 2 and all(torch.equal(a, b) for a, b in zip(rest, whole[4:], strict=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_leaves_the_photos_coming_until_training_has_stopped(tmp_path, number):
    batches = iter(data(album(tmp_path, 8), steps=30, workers=2).train_dataloader())
    first = [next(batches), next(batches)]  # one of each worker: both have started
    for worker in multiprocessing.active_children():  # what a terminal does, or SLURM
        os.kill(worker.pid or 0, number)
    assert len(numbers([*first, *batches])) == 120


class Watching(pl.LightningModule):
    """Learns nothing of use and notes every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def training_step(self, batch, index):
        self.seen.append(batch)
        return self.layer(batch.float().mean().view(1, 1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-9)


@pytest.mark.filterwarnings("ignore")  # Lightning warns about itself
def test_lightning_resumes_in_the_middle_of_an_epoch_without_repeating_or_skipping(tmp_path):
    album(tmp_path / "photos", 7)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}

    def train(steps: int, resume: Path | None = None) -> list[torch.Tensor]:
        model = Watching()
        trainer = pl.Trainer(max_steps=steps, max_epochs=-1, enable_checkpointing=False, **quiet)
        trainer.fit(model, datamodule=data(tmp_path / "photos", steps=8), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return model.seen

    whole = train(8)
    parts = train(3) + train(8, resume=tmp_path / "last.ckpt")
    assert len(parts) == len(whole) == 8 and all(torch.equal(a, b) for a, b in zip(parts, whole, strict=True))


# Validation


def test_held_out_photos_are_never_trained_on_and_stay_when_photos_are_added(tmp_path):
    first = data(album(tmp_path, 40), val=6)
    assert len(first.val_photos) == 6 and len(first.crops.photos) == 34
    held = set(numbers(first.val_dataloader()))
    assert held.isdisjoint(numbers(data(tmp_path, val=6, steps=40).train_dataloader()))
    for number in range(6):  # six that come first by name, of which the hash takes at most two
        picture(tmp_path / f"-{number}.png", (100 + number, 0, 0))
    assert len(held & set(numbers(data(tmp_path, val=6).val_dataloader()))) >= 4


def test_a_folder_of_validation_photos_is_not_held_in_memory_whole(tmp_path, monkeypatch, caplog):
    """Room for three of eight: the same batches as if there were room for all, also in processes that read them."""
    album(tmp_path / "val", 8)
    album(tmp_path / "train", 3)
    settings: Any = {"val": str(tmp_path / "val"), "batch_size": 2}
    whole = [batch.clone() for batch in data(tmp_path / "train", **settings).val_dataloader()]
    monkeypatch.setattr(stylenet.data.datamodule, "MOST_HELD", 3 * 3 * 32 * 32)
    for workers in (0, 1):
        module = data(tmp_path / "train", **settings, workers=workers)
        assert len(module.val_photos) == 8 and sum(one.nbytes for one in module.val_photos._held) == 3 * 3 * 32 * 32
        for _ in range(2):
            assert all((a == b).all() for a, b in zip(module.val_dataloader(), whole, strict=True))
    assert [len(module.val_photos[:5]), len(module.val_photos[6:])] == [5, 2]
    chosen = module.val_photos
    (tmp_path / "val" / f"{int(chosen[7][0, 0, 0]):02}.png").unlink()  # during the training
    for _ in range(2):
        assert (chosen[7] == chosen[0]).all()
    assert caplog.text.count("a validation photo is gone, another replaces it: Cannot read") == 1


def test_a_validation_photo_is_not_trained_on_through_a_link(tmp_path):
    album(tmp_path / "all", 10)
    album(tmp_path / "val", 3)
    (tmp_path / "all" / "00.png").unlink()
    os.symlink(tmp_path / "val" / "00.png", tmp_path / "all" / "linked.png")
    os.symlink(tmp_path / "val", tmp_path / "all" / "folder")
    module = data(tmp_path / "all", val=str(tmp_path / "val"))
    assert sorted(numbers(module.val_dataloader())) == [0, 1, 2]
    assert sorted(path.name for path in module.crops.photos) == [f"{number:02}.png" for number in range(1, 10)]


def test_the_bundled_photos_have_validation_photos_of_their_own_and_say_that_they_are_few(caplog):
    module = data(None, val=2)
    folders = {path.parent for path in module.crops.photos}
    assert folders == {ROOT / "stylenet" / "assets" / "photos" / "train"} and len(module.val_photos) == 2
    assert len(module.crops.photos) == len(list(next(iter(folders)).glob("*.jpg"))), "none of these is held out"
    assert module.describe()["root"] == "bundled" and caplog.text.count("data=folder data.root=") == 1


def test_validation_photos_are_centre_squares(tmp_path):
    (tmp_path / "val").mkdir()
    slope(tmp_path / "val" / "wide.png", (512, 256))
    (batch,) = data(album(tmp_path / "train", 2), val=str(tmp_path / "val"), val_size=64).val_dataloader()
    wide = batch[0].float()
    assert batch.shape == (1, 3, 64, 64) and batch.dtype == torch.uint8
    assert wide[0, :, 0] == pytest.approx(64, abs=3) and wide[0, :, -1] == pytest.approx(191, abs=3)
    assert wide[1, 0] == pytest.approx(2, abs=3) and wide[1, -1] == pytest.approx(253, abs=3)


def test_the_window_is_of_the_size_asked_for_anywhere_in_the_margin_and_a_function_of_the_sample(tmp_path):
    module = data(album(tmp_path, 3), size=16, margin=4)
    assert module.crops[0].shape == (3, 20, 20)
    windows = [module.window(k) for k in range(0, 1200, 4)]
    assert all(part.stop - part.start == 16 for window in windows for part in window)
    for axis in (0, 1):  # from one border to the other, and each of the five places as often as the others
        counts = np.bincount([window[axis].start for window in windows])
        assert len(counts) == 5 and counts.min() > 30
    assert windows[7] == data(tmp_path, size=16, margin=4, workers=1).window(28) != windows[8]
    assert windows != [data(tmp_path, size=16, margin=4, seed=1).window(k) for k in range(0, 1200, 4)]
    assert data(tmp_path, size=16).window(5) == (slice(0, 16), slice(0, 16))
    places = [module.noise_place(k) for k in range(0, 1200, 4)]
    assert len({*places}) > 290 and min(min(places)) >= 0 and max(map(max, places)) < 53 * 61
    assert places[7] == data(tmp_path, size=16, workers=1).noise_place(28)


def test_settings_out_of_range_are_named_with_what_is_allowed(tmp_path):
    album(tmp_path, 2)
    for wrong in (
        {"scale": (0, 1)},
        {"scale": (0.5, 2)},
        {"scale": 0.5},
        {"scale": ("half", 1)},
        {"ratio": (2, 1)},
        {"flip": "maybe"},
        {"size": 4},
        {"margin": -1},
        {"margin": 2.5},
        {"workers": "many"},
        {"val": -1},
    ):
        with pytest.raises(UserError, match=rf"data\.{next(iter(wrong))}="):
            data(tmp_path, **wrong)


# Configs


@pytest.mark.parametrize("name", ["bundled", "folder", "coco"])
def test_a_config_holds_what_the_constructor_takes(tmp_path, name):
    for number in range(10):
        picture(tmp_path / "train2017" / f"{number}.jpg")
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(f"data/{name}", [f"data.root={tmp_path}", "data.val=2", "data.workers=0"]).data
    module = Photos(steps=2, seed=0, **config)
    module.setup()
    assert [batch.shape for batch in module.train_dataloader()] == [(4, 3, 288, 288)] * 2
    assert [batch.shape for batch in module.val_dataloader()] == [(2, 3, 384, 384)]
    assert module.describe() == {
        "root": "train2017", "photos": 8, "held_out": 2, "skipped": 0, "size": 256, "margin": 32, "seed": 0,
    }  # fmt: skip


# COCO's download


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of one zip file of 9 photos that knows byte ranges and hangs up after 3,000 bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("train2017")
        for number in range(9):
            archive.write(picture(tmp_path / "source" / f"{number}.bmp", (number, 0, 0)), f"train2017/{number}.bmp")
    content, ranges = packed.getvalue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            ranges.append(start)
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + 3000])

        def log_message(self, format, *args):
            pass

    monkeypatch.setattr(coco.time, "sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{running.server_port}/train2017.zip"
        yield Archive(url, len(content), hashlib.md5(content).hexdigest(), "train2017"), ranges, content
        running.shutdown()
        thread.join()


def unpacked(root: Path) -> list[int]:
    photos = find_images(root)
    return [np.asarray(Image.open(path))[0, 0, 0] for path in photos]


def test_coco_download_goes_on_where_it_stopped_and_leaves_only_the_photos(tmp_path, server, monkeypatch):
    archive, ranges, content = server
    monkeypatch.setattr(coco, "BATCH", 2)  # so that the archive is cut while it is unpacked
    root = tmp_path / "coco"
    root.mkdir()
    (root / "train2017.zip.part").write_bytes(content[:5000])  # from an earlier, stopped run
    assert fetch_coco(root, archive) == root / "train2017"
    assert ranges == list(range(5000, len(content), 3000)), "no byte is fetched twice"
    assert unpacked(root) == list(range(9))
    assert [path.name for path in root.iterdir() if path.suffix != ".lock"] == ["train2017"]
    ranges.clear()
    fetch_coco(root, archive)
    assert not ranges


@pytest.mark.parametrize("moment", ["while unpacking", "between cutting the archive and mending it"])
def test_coco_unpacking_survives_a_kill(tmp_path, server, monkeypatch, moment):
    archive, ranges, content = server
    root = tmp_path / "coco"
    monkeypatch.setattr(coco, "BATCH", 2)
    give_back = coco._truncate

    def killed(path, end, start, tail):
        give_back(path, end, start, tail)
        if moment != "while unpacking":
            os.truncate(path, end)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(coco, "_truncate", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch_coco(root, archive)
    assert not (root / "train2017").exists(), "a part of the photos must not pass for all"
    before = len(ranges)
    fetch_coco(root, archive)
    assert unpacked(root) == list(range(9))
    assert (len(ranges) > before) == (moment != "while unpacking")


def test_coco_damaged_archive_is_refused(tmp_path, server):
    archive, _, _ = server
    with pytest.raises(UserError, match="arrived damaged"):
        fetch_coco(tmp_path / "coco", Archive(archive.url, archive.size, "0" * 32, archive.folder))
    assert not list((tmp_path / "coco").glob("train2017*"))


def test_coco_needs_room_and_a_server(tmp_path, server, monkeypatch):
    archive, ranges, _ = server
    gone = Archive("http://127.0.0.1:9/train2017.zip", archive.size, archive.md5, archive.folder)
    with pytest.raises(UserError, match="cannot be fetched .* run again later"):
        fetch_coco(tmp_path / "coco", gone)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match="COCO needs .* GB are free. Make room, or choose data.root="):
        fetch_coco(tmp_path / "coco", archive)
    assert not ranges


def test_coco_without_root_or_leave_to_download_tells_both_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"data\.root=.*data\.download=true"):
        data(None, coco=True)


# --- without shared memory


@pytest.fixture
def no_shared_memory(monkeypatch):
    """As PyTorch answers where /dev/shm is missing or cannot be written."""

    def share_memory_(tensor):
        raise RuntimeError("unable to open shared memory object </torch_1_2_0> in read-write mode: No such file (2)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", share_memory_)


def test_no_workers_need_no_shared_memory(tmp_path, no_shared_memory):
    photos = data(album(tmp_path, 8), workers=0)
    assert len(numbers(photos.train_dataloader())) == 32


def test_workers_without_shared_memory_are_refused_with_what_to_do(tmp_path, no_shared_memory):
    with pytest.raises(UserError) as refused:
        data(album(tmp_path, 8), workers=1).train_dataloader()
    text = str(refused.value)
    assert "data.workers=1: there is no shared memory here" in text and "\n" not in text
    assert "data.workers=0" in text and "--shm-size=1g or --ipc=host" in text


def test_workers_by_themselves_do_without(tmp_path, no_shared_memory, caplog):
    photos = data(album(tmp_path, 8), workers="auto")
    assert len(numbers(photos.train_dataloader())) == 32
    assert "data.workers=0" in caplog.text and "--shm-size" in caplog.text


def test_too_little_shared_memory_is_told_before_the_training(tmp_path, monkeypatch):
    """A container's 64 MB, and batches of 100 large crops."""
    monkeypatch.setattr(
        "stylenet.data.datamodule.shutil.disk_usage", lambda place: shutil._ntuple_diskusage(2**26, 0, 2**26)
    )
    monkeypatch.setattr("stylenet.data.datamodule.SHARED", tmp_path)
    with pytest.raises(UserError, match=r"has 67.1 MB, and their batches need 471.9\. Give data.workers=0"):
        data(album(tmp_path, 8), workers=2, size=512, batch_size=100).train_dataloader()
    data(tmp_path, workers=2).train_dataloader()


WITHOUT = "umount -l /dev/shm; mount -t tmpfs -o ro tmpfs /dev/shm || exit 77; exec"


@pytest.mark.parametrize(("workers", "code"), [("0", 0), ("1", 2)])
def test_a_training_in_a_container_without_dev_shm(tmp_path, workers, code):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the rights for a mount of its own")
    options = ["style=starry_night", "net=lite", "steps=1", "data.size=64", "data.batch_size=1", "data.val=1"]
    options += ["data.val_size=64", "style_size=96", "logger=none", f"hydra.run.dir={tmp_path}", f"out={tmp_path}"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *options, f"data.workers={workers}"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{WITHOUT} {shlex.join(command)}"], capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip("needs the rights for a mount of its own")
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "starry_night.safetensors").exists() == (code == 0)
    assert ("--shm-size=1g or --ipc=host" in done.stderr.splitlines()[-1]) == (code == 2)
