"""Sheets: each picture is exactly what the style makes of the photo, in the order and the columns asked for."""

import logging
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

import stylenet
from stylenet.images import image_io
from stylenet.nets import catalog, checkpoint
from stylenet.nets.registry import build
from stylenet.runtime.options import Runtime
from stylenet.stylizing import sheets
from stylenet.stylizing.controls import Controls
from stylenet.stylizing.settings import setting
from stylenet.system.errors import UserError

WIDTH, HEIGHT, TEXT, BELOW = 200, 120, 14, 45  # of a picture on the sheet, and its captions
TITLES = {"sea": "Sea, A. Painter, 1901", "sun": "Sun, Frédéric B", "sky": None}


def style(path: Path, *names: str, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    net = build("johnson", widths=(4, 4, 4), blocks=1, n_styles=len(names))
    with torch.no_grad():  # fresh styles are all alike
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    styles = [{"name": name, "title": TITLES.get(name)} for name in names]
    return checkpoint.save(path, net, {"styles": styles})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photo that is larger than on the sheet, and a package without styles of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stylenet.system.places.CLONE", tmp_path / "clone")
    monkeypatch.setattr(catalog, "ASSETS", tmp_path / "assets")
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(noise).resize((400, 240), Image.Resampling.BICUBIC).save("photo.png")
    style(tmp_path / "checkpoints/two.safetensors", "sea", "sun")
    style(tmp_path / "checkpoints/sky.safetensors", "sky", seed=1)
    return tmp_path


def expected(ckpt: str | None = None, **options) -> np.ndarray:
    """A picture of the sheet as the loaded style makes it."""
    photo = image_io.fit_picture(image_io.read("photo.png"), WIDTH).pil()
    return np.asarray(photo if ckpt is None else stylenet.load(ckpt, device="cpu", backend="torch", **options)(photo))


def cell(page: Image.Image, row: int, column: int) -> np.ndarray:
    """The pixels of a picture, and where they must be: margin 21, gap 14, and 45 below for the captions."""
    left, top = 21 + column * (WIDTH + TEXT), 21 + row * (HEIGHT + BELOW + TEXT)
    return np.asarray(page.crop((left, top, left + WIDTH, top + HEIGHT)))


def captions(plan: sheets.Plan) -> list[list[tuple[str, ...] | None]]:
    return [[one.caption if one else None for one in row] for row in plan.rows]


def plan_sheet(styles=None, columns=None, size=WIDTH, photo: Any = "photo.png", **options) -> sheets.Plan:
    return sheets.plan_sheet(photo, styles, columns, size, Controls(**options), Runtime("cpu", "torch"))


def plan_comparison(ckpts, settings=None, columns=None, size=WIDTH) -> sheets.Plan:
    return sheets.plan_comparison("photo.png", ckpts, settings, columns, size, Runtime("cpu", "torch"))


# --- every style


def test_each_picture_is_exactly_what_the_loaded_style_makes(folder: Path):
    page = stylenet.sheet("photo.png", columns=2, size=WIDTH, device="cpu", backend="torch")
    ckpts = [None, "sky", "two:sea", "two:sun"]
    for number, ckpt in enumerate(ckpts):
        assert np.array_equal(cell(page, *divmod(number, 2)), expected(ckpt)), ckpt
    pictures = [expected(ckpt).astype(int) for ckpt in ckpts]
    differences = [np.abs(a - b).mean() for n, a in enumerate(pictures) for b in pictures[:n]]
    assert min(differences) > 1  # else the comparison would say nothing
    assert page.size == (2 * 21 + 2 * WIDTH + TEXT, 2 * 21 + 2 * (HEIGHT + BELOW) + TEXT)


def test_the_controls_apply_to_each_style(folder: Path):
    page = stylenet.sheet("photo.png", ["two:sun"], size=WIDTH, strength=0.5, color="luminance", backend="torch")
    assert np.array_equal(cell(page, 0, 1), expected("two:sun", strength=0.5, color="luminance"))
    Image.new("L", (2, 2), 0).save("black.png")
    page = stylenet.sheet("photo.png", ["sky"], size=WIDTH, mask="black.png", backend="torch")
    assert np.array_equal(cell(page, 0, 1), expected())


def test_captions_are_the_painting_and_below_it_the_name_for_ckpt(folder: Path):
    assert captions(plan_sheet()) == [
        [("Photo", "photo.png"), ("sky",), ("Sea, A. Painter", "two:sea"), ("Sun, Frédéric B", "two:sun")]
    ]
    page = plan_sheet(columns=2).draw()
    for row in range(2):
        for column in range(2):
            left, top = 21 + column * (WIDTH + TEXT), 21 + row * (HEIGHT + BELOW + TEXT) + HEIGHT
            assert (np.asarray(page.crop((left, top + 6, left + WIDTH, top + 26)).convert("L")) < 128).sum() > 20
            second = np.asarray(page.crop((left, top + 26, left + WIDTH, top + 44)).convert("L"))
            assert ((second < 160).sum() > 20) == ((row, column) != (0, 1))  # sky has no title: one line


def test_a_style_that_has_a_file_of_its_own_is_shown_once_and_from_that(folder: Path):
    style(folder / "checkpoints/sun.safetensors", "sun", seed=5)  # another training
    plan = plan_sheet(columns=9)
    assert captions(plan) == [
        [("Photo", "photo.png"), ("sky",), ("Sun, Frédéric B", "sun"), ("Sea, A. Painter", "two:sea")]
    ]
    assert plan.notes == ["sun: also in two; shown once, from a file of that name."]
    page = plan.draw()
    assert np.array_equal(cell(page, 0, 2), expected("sun"))
    assert not np.array_equal(cell(page, 0, 2), expected("two:sun"))


def test_the_same_network_in_two_files_is_loaded_once(folder: Path):
    net, info = checkpoint.load("two:sun")
    checkpoint.save(folder / "checkpoints/sun.safetensors", net, info)
    plan = plan_sheet(columns=9)
    assert [one and one.caption[-1] for one in plan.rows[0]] == ["photo.png", "sky", "sun", "two:sea"]
    with patch.object(sheets.stylizer, "load_one", side_effect=sheets.stylizer.load_one) as load:
        page = plan.draw()
    assert [Path(call.args[0]).stem for call in load.call_args_list] == ["sky", "two"]
    assert np.array_equal(cell(page, 0, 2), expected("sun"))
    assert np.array_equal(cell(page, 0, 3), expected("two:sea"))


def test_a_damaged_style_is_reported_and_left_out_unless_it_is_asked_for(folder: Path, caplog):
    (folder / "checkpoints/bad.safetensors").write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING):
        page = stylenet.sheet("photo.png", size=WIDTH, columns=1, device="cpu", backend="torch")
    assert "bad is left out: checkpoints/bad.safetensors is" in caplog.text
    assert page.size[1] == 2 * 21 + 4 * (HEIGHT + BELOW + TEXT) - TEXT
    with pytest.raises(UserError, match="bad.safetensors is"):
        plan_sheet(["sky", "bad"])


def test_styles_are_names_files_and_one_of_several_in_the_order_given(folder: Path):
    style(folder / "elsewhere/mine.safetensors", "sea", seed=3)
    plan = plan_sheet(["two:sun", "elsewhere/mine.safetensors", "two"], columns=9)
    names = [one and one.caption[-1] for one in plan.rows[0]]
    assert names == ["photo.png", "two:sun", "mine", "two:sea", "two:sun"] and plan.notes == []
    page = plan.draw()
    for column, ckpt in enumerate(["two:sun", "elsewhere/mine.safetensors", "two:sea", "two:sun"], 1):
        assert np.array_equal(cell(page, 0, column), expected(ckpt))
    assert captions(plan_sheet("two:sea"))[0][1] == ("Sea, A. Painter", "two:sea")


def test_a_title_in_letters_that_captions_have_not_gives_way_to_the_name(folder: Path):
    net, info = checkpoint.load("sky")
    checkpoint.save(folder / "tokyo.safetensors", net, info | {"styles": [{"name": "t", "title": "東京, 画家, 1900"}]})
    assert captions(plan_sheet("tokyo.safetensors"))[0][1] == ("tokyo",)


@pytest.mark.parametrize(("columns", "shape"), [(1, (4, 1)), (2, (2, 2)), (3, (2, 3)), (4, (1, 4)), (50, (1, 4))])
def test_columns(folder: Path, columns: int, shape: tuple[int, int]):
    plan = plan_sheet(columns=columns)
    assert (len(plan.rows), len(plan.rows[0])) == shape and plan.count == 4
    assert sum(one is None for one in plan.rows[-1]) == math.prod(shape) - 4


@pytest.mark.parametrize(("size", "rows"), [((300, 200), 4), ((200, 300), 3), ((1200, 200), 7)])
def test_columns_are_chosen_for_a_page_that_is_a_little_wider_than_high(folder: Path, size: tuple[int, int], rows: int):
    Image.new("RGB", size).save("photo.png")
    plan = plan_sheet(["two"] * 9, size=max(size))
    assert len(plan.rows) == rows and 0.8 < plan.size[0] / plan.size[1] < 2.2


def test_small_and_narrow_photos_have_room_for_captions(folder: Path):
    Image.new("RGB", (20, 300), "red").save("photo.png")
    page = plan_sheet("sky", size=300).draw()
    assert page.size[0] == 2 * 21 + 2 * 192 + TEXT
    assert [page.getpixel((x, 100)) for x in (20, 21, 40, 41)] == [(255, 255, 255), *[(255, 0, 0)] * 2, (255, 255, 255)]


def test_a_pillow_image_and_transparency(folder: Path):
    photo = Image.open("photo.png").convert("RGBA")
    photo.putalpha(0)
    page = plan_sheet("sky", photo=photo)
    assert captions(page)[0][0] == ("Photo",)
    assert (cell(page.draw(), 0, 1) == 255).all()


# --- comparisons


def test_checkpoints_side_by_side(folder: Path):
    page = stylenet.compare("photo.png", ["sky", "two:sun"], size=WIDTH, device="cpu", backend="torch")
    for column, ckpt in enumerate([None, "sky", "two:sun"]):
        assert np.array_equal(cell(page, 0, column), expected(ckpt))
    assert page.size[1] == 2 * 21 + HEIGHT + BELOW
    assert captions(plan_comparison(["sky", "two:sun"])) == [
        [("Photo", "photo.png"), ("sky",), ("Sun, Frédéric B", "two:sun")]
    ]


def test_one_checkpoint_in_several_settings(folder: Path):
    settings = ["strength=0.5", {"stroke": 2, "color": "luminance"}, Controls(mix="sun"), "mix=[0.25, 0.75],strength=1"]
    page = stylenet.compare("photo.png", "two", settings, size=WIDTH, device="cpu", backend="torch")
    options = [{"strength": 0.5}, {"stroke": 2, "color": "luminance"}, {"mix": "sun"}, {"mix": [0.25, 0.75]}]
    for column, one in enumerate(options, 1):
        assert np.array_equal(cell(page, 0, column), expected("two", **one)), one
    assert captions(plan_comparison("two", settings))[0][1:] == [
        ("strength=0.5", "two: Sea, A. Painter"),
        ("stroke=2, color=luminance", "two: Sea, A. Painter"),
        ("mix=sun", "two: Sun, Frédéric B"),
        ("mix=[0.25, 0.75], strength=1", "two"),
    ]


def test_a_row_for_each_checkpoint_and_a_column_for_each_setting(folder: Path):
    Image.new("L", (2, 2), 0).save("black.png")
    settings = ["strength=0.5", "mask=black.png"]
    page = stylenet.compare("photo.png", ["two", "sky"], settings, size=WIDTH, device="cpu", backend="torch")
    assert np.array_equal(cell(page, 0, 0), expected()) and (cell(page, 1, 0) == 255).all()
    for row, ckpt in enumerate(["two", "sky"]):
        assert np.array_equal(cell(page, row, 1), expected(ckpt, strength=0.5))
        assert np.array_equal(cell(page, row, 2), expected())
    with pytest.raises(UserError, match="columns=2: this comparison has a row for each of the 2 checkpoints"):
        plan_comparison(["two", "sky"], settings, columns=2)


def test_more_than_five_pictures_are_broken_into_rows_and_columns_are_obeyed(folder: Path):
    assert [len(plan_comparison(["sky"] * count).rows) for count in (1, 4, 5)] == [1, 1, 2]
    assert len(plan_comparison(["sky"] * 4, columns=2).rows) == 3


def test_files_of_one_name_are_told_apart_by_their_folders(folder: Path):
    files = [style(folder / f"runs/{run}/style.safetensors", "sky", seed=seed) for seed, run in enumerate("ab")]
    assert captions(plan_comparison(files))[0][1:] == [("a/style",), ("b/style",)]


def test_the_next_network_is_loaded_after_the_last_is_gone(folder: Path):
    """One at a time, however many checkpoints there are."""
    import gc
    import weakref

    alive: list[weakref.ref] = []
    load = sheets.stylizer.load_one

    def loading(*args):
        gc.collect()
        assert not any(one() for one in alive)
        made = load(*args)
        alive.append(weakref.ref(made.net))
        return made

    with patch.object(sheets.stylizer, "load_one", loading):
        plan_comparison(["sky", "two", "two:sun"]).draw()
    assert len(alive) == 3


# --- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": 0}, "columns=0: give the pictures in a row"),
        ({"columns": 2.5}, "columns=2.5: give the pictures in a row"),
        ({"size": 63}, "size=63: give a picture's longer side in whole pixels, at least 64"),
        ({"size": True}, "size=True: give"),
        ({"styles": []}, "styles=: give names or files of styles"),
        ({"styles": [3]}, r"styles=\[3\]: give names or files of styles"),
        ({"styles": "nope"}, "^styles=nope: no such style or file"),
        ({"styles": "two:nope"}, "nope: no such style in this checkpoint. There are: sea, sun"),
        ({"mix": "sun"}, "mix='sun': a sheet shows each style by itself"),
        ({"photo": 3}, "Cannot show 3: give one photo"),
        ({"photo": "absent.png"}, "absent.png"),
    ],
)
def test_mistakes_of_a_sheet_are_named_before_any_picture_is_made(folder: Path, options: dict, message: str):
    with patch.object(sheets.stylizer, "load_one", side_effect=AssertionError), pytest.raises(UserError, match=message):
        plan_sheet(**options)


@pytest.mark.parametrize(
    ("ckpts", "settings", "message"),
    [
        ([], None, "ckpts=: give names or files"),
        (["sky", "nope"], None, "^ckpts=nope: no such style or file"),
        ("sky", "strenght=1", "settings=strenght=1: there is no control 'strenght'. Did you mean strength?"),
        ("sky", ["strength=1", "stroke"], "settings=stroke: 'stroke' is not of the form name=value"),
        ("sky", "strength=1,strength=2", "strength= is there twice"),
        ("sky", "strength=2", "settings: strength=2: give a number from 0"),
        ("sky", "strength=1,color=photo", "settings=strength=1,color=photo: color=photo: give style, luminance"),
        ("sky", [3], "settings=3: give controls as a text"),
        ("two", "mix=moon", "mix=moon: there is no such style in this checkpoint"),
        ("sky", "mask=absent.png", "absent.png"),
    ],
)
def test_mistakes_of_a_comparison_are_named_before_any_picture_is_made(folder: Path, ckpts, settings, message: str):
    with patch.object(sheets.stylizer, "load_one", side_effect=AssertionError), pytest.raises(UserError, match=message):
        plan_comparison(ckpts, settings)


def test_no_styles_at_all(folder: Path):
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="There is no style to show"):
        plan_sheet()


def test_unknown_keywords_are_refused(folder: Path):
    with pytest.raises(TypeError, match="There is no option 'strenght'. Did you mean strength"):
        stylenet.sheet("photo.png", strenght=1)
    with pytest.raises(TypeError, match="There is no option 'strength'"):
        stylenet.compare("photo.png", "sky", strength=1)


def test_settings_as_texts():
    assert setting("").text == "default" and setting("").controls == Controls()
    assert setting(" stroke = 2 , mask_invert=false").controls == Controls(stroke=2)
    assert setting(Controls(strength=0.5, mix=[1, 0])).text == "strength=0.5, mix=[1, 0]"
    assert setting(Controls()).text == "default"
