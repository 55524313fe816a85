"""Every control of the page changes the picture as the Python program does, in a real browser."""

from pathlib import Path

import numpy as np
import pytest
from pages import add_painting, choose, downloaded, settled
from PIL import Image

import stylenet
from stylenet.page.styles import BUNDLED

LEVELS = 2  # of 255 that a pixel may differ by


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= LEVELS, f"{difference.max()} at most, {difference.mean():.3f} in the mean"


def array(photo: Path) -> np.ndarray:
    return np.asarray(Image.open(photo).convert("RGB"))


def style(page, title: str) -> None:
    page.locator("#styles label", has_text=title).click()


def brush(page, name: str) -> None:
    page.locator("#brush label", has_text=name).click()


def drag(page, *places: tuple[float, float]) -> None:
    """Drag the pointer over the picture, by places in parts of its width and height."""
    box = page.locator("#frame").bounding_box()
    for number, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def mask_of(page) -> Image.Image:
    """The painted mask, 255 where the style is."""
    pixels, width, height = page.evaluate(
        """() => {
        const canvas = document.getElementById("mask");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [Array.from(data.filter((_, place) => place % 4 === 3)), canvas.width, canvas.height];
    }"""
    )
    return Image.fromarray(255 - np.array(pixels, np.uint8).reshape(height, width))


@pytest.fixture
def page(opened, photo):
    page = opened(viewport={"width": 1280, "height": 900})
    choose(page, photo)
    return page


CONTROLS = {  # what is set on the page, and the same for Python
    "strength": ({"strength": "35"}, {"strength": 0.35}),
    "broad strokes": ({"stroke": "1"}, {"stroke": 2}),
    "odd strokes": ({"stroke": "0.25"}, {"stroke": 2**0.25}),
    "fine strokes": ({"stroke": "-0.5"}, {"stroke": 2**-0.5}),
    "luminance": ({"color": "Photo’s"}, {"color": "luminance"}),
    "histogram": ({"color": "Photo’s range"}, {"color": "histogram"}),
    "all": (
        {"strength": "60", "stroke": "1.5", "color": "Photo’s"},
        {"strength": 0.6, "stroke": 2**1.5, "color": "luminance"},
    ),
}


def set_all(page, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        if name == "color":
            page.get_by_text(value, exact=True).click()
        else:
            page.locator(f"#{name}").fill(value)
    settled(page)


def test_the_style_alone_gives_the_networks_picture_and_not_the_photo(page, photo):
    found = downloaded(page)
    same(found, stylenet.load("the_scream_lite")(array(photo)))
    assert np.abs(found.astype(int) - array(photo)).mean() > 20


def test_each_style_is_its_own(page, photo, styles):
    style(page, "Plain 0")
    settled(page)
    same(downloaded(page), stylenet.load(styles[1])(array(photo)))
    style(page, "Pair 1")
    settled(page)
    same(downloaded(page), stylenet.load(styles[2], mix="pair_1")(array(photo)))


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_gives_the_picture_that_python_gives(page, photo, name):
    before = downloaded(page)
    on_page, in_python = CONTROLS[name]
    set_all(page, on_page)
    found = downloaded(page)
    same(found, stylenet.load("the_scream_lite", **in_python)(array(photo)))
    assert np.abs(found.astype(int) - before).mean() > 3  # it changed something


def test_two_styles_of_one_network_are_mixed_in_it(page, photo, styles):
    style(page, "Pair 0")
    page.get_by_label("Mix with").select_option("Pair 1")
    set_all(page, {"share": "30"})
    same(downloaded(page), stylenet.load(styles[2], mix=[0.7, 0.3])(array(photo)))
    set_all(page, {"share": "100"})
    same(downloaded(page), stylenet.load(styles[2], mix="pair_1")(array(photo)))


def grey(photo: Path, level: int) -> Image.Image:
    return Image.fromarray(np.full(array(photo).shape[:2], level, np.uint8))


def test_styles_of_two_networks_are_mixed_as_with_grey_masks(page, photo, styles):
    page.get_by_label("Mix with").select_option("Plain 0")
    set_all(page, {"share": "40"})
    both = ["the_scream_lite", styles[1]]
    same(downloaded(page), stylenet.load(both, mask=[grey(photo, 153), grey(photo, 102)])(array(photo)))


def test_a_painting_of_ones_own_gives_pythons_picture_alone_and_mixed(page, photo, styles, tmp_path):
    large, line = tmp_path / "a street.png", tmp_path / "line.png"
    with Image.open(BUNDLED / "street_in_auvers.jpg") as street:
        street.resize((701, 450)).save(large)  # its style is seen at 512 x 329
    with Image.open(BUNDLED / "summertime.jpg") as summer:
        summer.resize((90, 7)).save(line)  # and this one's at 90 x 32
    wild = styles[3]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/")[-1]))
    add_painting(page, large)
    own = downloaded(page)
    same(own, stylenet.load(wild, style=large)(array(photo)))
    page.evaluate("document.getElementById('stop').click()")  # a new worker
    page.get_by_label("Mix with").select_option("The Great Wave off Kanagawa")
    set_all(page, {"share": "30"})
    wave = BUNDLED / "great_wave.jpg"
    same(downloaded(page), stylenet.load(wild, style={large: 0.7, wave: 0.3})(array(photo)))
    assert asked.count("wild.onnx") == 2 and asked.count("wild_style.onnx") == 1  # its style is known by now
    add_painting(page, line)
    page.get_by_label("Mix with").select_option("a street")
    set_all(page, {"share": "60"})
    same(downloaded(page), stylenet.load(wild, style={line: 0.4, large: 0.6})(array(photo)))
    set_all(page, {"share": "0"})
    found = downloaded(page)
    same(found, stylenet.load(wild, style=line)(array(photo)))
    assert np.abs(found.astype(int) - own).mean() > 3  # each painting has its own style
    page.get_by_label("Mix with").select_option("Plain 0")  # of another network
    set_all(page, {"share": "40"})
    both = stylenet.load([wild, styles[1]], style=line, mask=[grey(photo, 153), grey(photo, 102)])
    same(downloaded(page), both(array(photo)))


def test_the_mask_is_painted_by_brush_and_may_be_inverted(page, photo):
    brush(page, "Keep photo")
    page.get_by_label("Brush size").fill("25")
    drag(page, (0.2, 0.2), (0.6, 0.7))
    settled(page)
    mask = mask_of(page)
    levels = np.asarray(mask)
    assert levels[0, -1] == 255 and levels.min() == 0 and len(np.unique(levels)) > 10  # soft at its border
    found = downloaded(page)
    same(found, stylenet.load("the_scream_lite", mask=mask)(array(photo)))
    same(found[levels == 0], array(photo)[levels == 0])
    page.get_by_label("Inverted").check()
    settled(page)
    same(downloaded(page), stylenet.load("the_scream_lite", mask=mask, mask_invert=True)(array(photo)))
    page.get_by_label("Inverted").uncheck()
    brush(page, "Paint back")
    drag(page, (0.2, 0.2), (0.4, 0.45))
    settled(page)
    less = np.asarray(mask_of(page))
    assert less.astype(int).sum() > levels.astype(int).sum()
    same(downloaded(page), stylenet.load("the_scream_lite", mask=Image.fromarray(less))(array(photo)))
    page.get_by_role("button", name="Clear the mask").click()
    settled(page)
    same(downloaded(page), stylenet.load("the_scream_lite")(array(photo)))


def test_the_mask_is_painted_with_the_keyboard_too(page, photo):
    brush(page, "Keep photo")
    page.locator("#mask").focus()
    page.keyboard.down(" ")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.up(" ")
    settled(page)
    mask = mask_of(page)
    width, height = mask.size
    assert mask.getpixel((width // 2, height // 2)) == mask.getpixel((int(width * 0.6), height // 2)) == 0
    assert mask.getpixel((width // 4, height // 2)) == 255
    same(downloaded(page), stylenet.load("the_scream_lite", mask=mask)(array(photo)))


def test_a_large_photo_is_painted_smaller_and_comes_back_whole_with_a_word(opened, tmp_path, photo):
    large = tmp_path / "large.png"
    Image.open(photo).resize((1300, 914), Image.Resampling.BICUBIC).save(large)
    page = opened()
    page.get_by_label("Painted at").select_option("512 pixels, fast")
    choose(page, large)
    assert "Painted at 512 × 360 pixels" in page.text_content("#status")
    assert "strokes are 2.5 times as broad" in page.text_content("#status")
    same(downloaded(page), stylenet.load("the_scream_lite", stroke=1300 / 512)(array(large)))
    brush(page, "Keep photo")
    drag(page, (0.3, 0.3), (0.7, 0.4))
    settled(page)
    mask = mask_of(page)
    assert mask.size == (1024, 720)  # stretched to the photo
    same(downloaded(page), stylenet.load("the_scream_lite", stroke=1300 / 512, mask=mask)(array(large)))


def test_a_photo_is_upright_and_one_pixel_is_a_photo(opened, tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    turned = tmp_path / "turned.png"
    Image.open(photo).save(turned, exif=exif)
    page = opened()
    choose(page, turned)
    upright = np.rot90(array(photo), -1).copy()
    same(downloaded(page), stylenet.load("the_scream_lite")(upright))
    dot = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (200, 30, 90)).save(dot)
    choose(page, dot)
    same(downloaded(page), stylenet.load("the_scream_lite")(array(dot)))
