"""Pages of pictures: where each picture is, what captions say and that they stay within their column."""

from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image, ImageFont

from stylenet.images import contact_sheet
from stylenet.images.contact_sheet import ContactSheet, can_draw, has_letters, in_rows, shortened, spelled
from stylenet.system.errors import UserError


def flat(color: str, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def dark(page: Image.Image, box: tuple[int, int, int, int]) -> np.ndarray:
    """Columns of the box that hold something else than white."""
    return np.flatnonzero((np.asarray(page.crop(box).convert("L")) < 200).any(0))


def test_pictures_are_where_widths_heights_gap_and_margin_put_them():
    sheet = ContactSheet([10, 30], [20, 5], gap=3, margin=7)
    assert sheet.size == (7 + 10 + 3 + 30 + 7, 7 + 20 + 3 + 5 + 7)
    sheet.place(0, 0, flat("red", 10, 20))
    sheet.place(1, 1, flat("blue", 10, 5))  # centred in its column
    expected = Image.new("RGB", sheet.size, "white")
    expected.paste("red", (7, 7, 17, 27))
    expected.paste("blue", (20 + 10, 30, 40, 35))
    assert sheet.page.tobytes() == expected.tobytes()


def test_transparency_becomes_white():
    sheet = ContactSheet([2], [1])
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 255))
    sheet.place(0, 0, picture)
    assert [sheet.page.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]


def test_captions_are_below_their_picture_and_not_wider_than_its_column():
    sheet = ContactSheet([120, 120], [40, 40], gap=10, margin=5, text=16)
    sheet.place(0, 0, flat("red", 120, 40), ("A long title " * 9, "name"))
    below = sheet.size[1] // 2
    assert 70 < dark(sheet.page, (5, 46, 260, below))[-1] < 120
    first, second = (dark(sheet.page, (5, top, 125, top + 21)) for top in (53, 74))
    assert len(first) > 2 * len(second) > 10
    assert not len(dark(sheet.page, (0, below + 2, *sheet.size)))


def test_headings_are_above_their_row():
    sheet = ContactSheet([80], [10, 10], above=20)
    sheet.head(1, "net")
    assert sheet.size == (80, 60)
    assert not len(dark(sheet.page, (0, 0, 80, 30))) and len(dark(sheet.page, (0, 30, 80, 50)))


def test_rows_of_pictures_of_several_sizes():
    page = in_rows([[flat("red", 4, 4), flat("blue", 2, 3)], [flat("lime", 4, 2)]], gap=1)
    expected = Image.new("RGB", (9, 7), "white")
    for color, box in (("red", (0, 0, 4, 4)), ("blue", (6, 0, 8, 3)), ("lime", (0, 5, 4, 7))):
        expected.paste(color, box)
    assert page.tobytes() == expected.tobytes()


def test_a_page_that_does_not_fit_into_the_memory_is_refused():
    with patch.object(contact_sheet, "free_memory", return_value=2 * 10**9):
        with pytest.raises(UserError, match="A sheet of 20000x20000 pixels takes 3.6 GB of memory, 2.0 GB are free"):
            _ = ContactSheet([20_000], [20_000]).page


def test_long_texts_end_in_an_ellipsis_and_short_ones_stay():
    font = ImageFont.load_default(15)
    assert shortened("Udnie", font, 100) == "Udnie"
    short = shortened("The Great Wave off Kanagawa, Katsushika Hokusai", font, 100)
    assert short.endswith("…") and "The Great Wave".startswith(short[:-1]) and 70 < font.getlength(short) <= 100
    assert shortened("Udnie", font, 1) == "…"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Portrait of Félix Fénéon", "Portrait of Felix Feneon"),
        ("Bjørn Łuk, Weiß – „Ærø”", 'Bjorn Luk, Weiss - "AEro”'),
        ("two\nlines\tand  spaces", "two lines and spaces"),
        ("東京 one", "?? one"),
    ],
)
def test_texts_are_spelled_in_the_letters_of_the_font(text: str, seen: str):
    assert spelled(text) == seen
    assert all(map(can_draw, seen))


def test_only_a_text_that_can_be_spelled_is_a_caption():
    assert has_letters("Who? Félix") and not has_letters("東京")
