"""The bundled pictures: each accounted for, of the promised size, and fit to train with."""

import csv
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "stylenet" / "assets"
STYLE_CONFIGS = ROOT / "configs" / "style"
FREE = {"LicenseRef-public-domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0"}
PHOTOS = sorted((ASSETS / "photos").rglob("*.jpg"))
PAINTINGS = sorted((ASSETS / "styles").glob("*.jpg"))


def sources(folder: str) -> list[dict[str, str]]:
    with open(ASSETS / folder / "SOURCES.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def short_side(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)


@pytest.mark.parametrize("folder", ["photos", "styles", "masks"])
def test_every_file_is_listed_once_and_nothing_else_is(folder: str):
    there = [p.relative_to(ASSETS / folder).as_posix() for p in (ASSETS / folder).rglob("*") if p.is_file()]
    assert sorted(row["file"] for row in sources(folder)) == sorted(set(there) - {"SOURCES.csv"})


def test_the_network_for_people_is_free_and_credited():
    (row,) = sources("masks")
    assert row["licence"] == "Apache-2.0" and "==" in row["source"] and len(row["sha256"]) == 64
    assert all(row.values())


@pytest.mark.parametrize("row", sources("photos") + sources("styles"), ids=lambda row: row["file"])
def test_every_picture_is_free_and_credited(row: dict[str, str]):
    assert row["licence"] in FREE
    assert all(row[column].strip() for column in ("title", "author", "path", "changes"))
    assert "==" in row["source"]


@pytest.mark.parametrize("path", PHOTOS + PAINTINGS, ids=lambda path: path.stem)
def test_every_picture_opens_as_plain_rgb(path: Path):
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert not image.getexif()
        assert "icc_profile" not in image.info


def test_the_photos_are_many_and_small():
    sides = [short_side(path) for path in PHOTOS]
    assert len(PHOTOS) >= 20
    assert min(sides) >= 300
    assert max(sides) == median(sides) == 512
    assert 2e6 < sum(path.stat().st_size for path in PHOTOS) < 3.5e6


def test_four_larger_photos_are_held_out():
    held_out = sorted((ASSETS / "photos" / "val").glob("*.jpg"))
    assert len(held_out) == 4
    assert {short_side(path) for path in held_out} == {512}


def test_no_photo_is_there_twice():
    """As thumbnails of 8 x 8 grey values, any two of the photos differ by more than 16 of 255 on average."""
    small = []
    for path in PHOTOS:
        with Image.open(path) as image:
            small.append(np.asarray(image.convert("L").resize((8, 8)), dtype=float))
    closest = min(np.abs(a - b).mean() for i, a in enumerate(small) for b in small[:i])
    assert closest > 16


def test_the_paintings_are_large_enough_to_learn_from():
    assert len(PAINTINGS) >= 3
    assert short_side(ASSETS / "styles" / "starry_night.jpg") == 1024
    assert min(map(short_side, PAINTINGS)) >= 400


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_starry_night_has_neither_a_black_border_nor_bare_canvas(side: str):
    """In the scan the black around the canvas has luminance 7 and the unpainted canvas edge 160 or more."""
    with Image.open(ASSETS / "styles" / "starry_night.jpg") as image:
        grey = np.asarray(image.convert("L"), dtype=float)
    edge = {"top": grey[:4], "bottom": grey[-4:], "left": grey[:, :4], "right": grey[:, -4:]}[side]
    assert 25 < edge.mean() < 125


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
def test_every_painting_has_a_style_config_of_its_name(path: Path):
    with initialize_config_dir(str(STYLE_CONFIGS.parent), version_base="1.3"):
        style = compose(overrides=[f"+style={path.stem}"]).style
    assert list(style) == [path.stem]
    assert style[path.stem].image == path.name
    assert style[path.stem].title.strip()


def test_every_style_config_has_its_painting_and_several_go_together():
    texts = {path.stem: path.read_text() for path in STYLE_CONFIGS.glob("*.yaml")}
    names = sorted(name for name, text in texts.items() if "image: ???" not in text and name not in ("any", "photo"))
    assert names == [path.stem for path in PAINTINGS]
    with initialize_config_dir(str(STYLE_CONFIGS.parent), version_base="1.3"):
        assert sorted(compose(overrides=[f"+style=[{','.join(names)}]"]).style) == names
