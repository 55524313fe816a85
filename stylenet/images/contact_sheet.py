"""Pictures in rows and columns on one white page, with captions. Knows nothing about styles.

Captions use the font that comes with Pillow. Beyond ASCII it has few letters: accents are dropped.
"""

import itertools
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache

from PIL import Image, ImageDraw, ImageFont

from stylenet.system.errors import UserError
from stylenet.system.memory import free_memory

BLACK, GREY = (20, 20, 20), (105, 105, 105)
BYTES = 9  # per pixel of a page: the page, its copy as an array, and the encoder
SECOND = 0.8  # the size of a caption's second line, as a part of the first's
PAD, LINE, END = 0.5, 1.3, 0.4  # above a caption, the height of a line, and below a caption, in text sizes
LONGEST = 300  # letters of a caption that are looked at
# Letters and signs that have no decomposition.
PLAIN = str.maketrans(
    {
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ı": "i", "×": "x"},
        **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th"},
        **{"–": "-", "—": "-", "−": "-", "„": '"'},
    }
)


class ContactSheet:
    """A white page of cells. Pictures are placed one after the other, so only the page and one picture are in memory.

    ``widths`` of the columns and ``heights`` of the rows, ``gap`` between cells, ``margin`` around all: pixels.
    ``above``: pixels above each row, for :meth:`head`. ``text``: the size of the captions below the pictures, in
    pixels; 0 for none. Pictures are centred in their column, or at its left edge if there are captions.
    """

    def __init__(
        self,
        widths: Sequence[int],
        heights: Sequence[int],
        gap: int = 0,
        margin: int = 0,
        above: int = 0,
        text: int = 0,
    ):
        self.widths, self.above, self.text = widths, above, text
        self.below = round(text * (PAD + LINE + LINE * SECOND + END))
        self.lefts = [margin, *itertools.accumulate((width + gap for width in widths), initial=margin)][1:]
        steps = (above + height + self.below + gap for height in heights)
        self.tops = [top + above for top in itertools.accumulate(steps, initial=margin)]
        self.heights = heights
        self.size = self.lefts[-1] - gap + margin, self.tops[-1] - above - gap + margin
        """Width and height of the page in pixels."""

    @cached_property
    def page(self) -> Image.Image:
        """The page. Raises UserError if it does not fit into the free memory."""
        width, height = self.size
        needed, free = width * height * BYTES, free_memory()
        if free is not None and needed > free:
            raise UserError(
                f"A sheet of {width}x{height} pixels takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are "
                "free: give a smaller size=."
            )
        return Image.new("RGB", self.size, "white")

    def head(self, row: int, text: str) -> None:
        """Write a heading above a row."""
        font = ImageFont.load_default(round(self.above * 0.7))
        self._write(self.lefts[0] + 2, self.tops[row] - self.above + 2, text, font, self.size[0] - self.lefts[0], BLACK)

    def place(self, row: int, column: int, picture: Image.Image, caption: Sequence[str] = ()) -> None:
        """Place a picture, and below it up to two lines, shortened with an ellipsis to the width of the column.

        Transparent pixels become white.
        """
        left, top, width = self.lefts[column], self.tops[row], self.widths[column]
        aside = 0 if self.text else (width - picture.width) // 2
        self.page.paste(picture, (left + aside, top), picture if picture.mode == "RGBA" else None)
        below = top + self.heights[row] + self.text * PAD
        for text, size, color in zip(caption, (1.0, SECOND), (BLACK, GREY), strict=False):
            font = ImageFont.load_default(round(self.text * size))
            self._write(left, round(below), text, font, width, color)
            below += self.text * size * LINE

    def _write(self, left: int, top: int, text: str, font: "Font", width: int, color: tuple[int, int, int]) -> None:
        ImageDraw.Draw(self.page).text((left, top), shortened(text, font, width), fill=color, font=font)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def in_rows(rows: Sequence[Sequence[Image.Image]], gap: int = 6) -> Image.Image:
    """Pictures in rows and columns, without captions. Columns are as wide as the widest picture, a row is as high as
    its highest.
    """
    width = max(one.width for row in rows for one in row)
    columns = max(map(len, rows))
    sheet = ContactSheet([width] * columns, [max(one.height for one in row) for row in rows], gap)
    for number, row in enumerate(rows):
        for column, picture in enumerate(row):
            sheet.place(number, column, picture)
    return sheet.page


# --- text


def shortened(text: str, font: Font, width: float) -> str:
    """The text in letters that the font has, cut with an ellipsis to ``width`` pixels."""
    text = spelled(text)
    if font.getlength(text) <= width:
        return text
    cuts = (text[:end].rstrip(" ,:/=") + "…" for end in range(len(text) - 1, 0, -1))
    return next((cut for cut in cuts if font.getlength(cut) <= width), "…")


def spelled(text: str) -> str:
    """The text on one line, in letters that the captions' font has: without accents, and ? for a letter unknown."""
    line = " ".join(text[:LONGEST].split())
    return "".join(letter if can_draw(letter) else _plain(letter) for letter in line)


def has_letters(text: str) -> bool:
    """Whether a caption can spell this text without a ? for letters that its font lacks."""
    return spelled(text).count("?") == " ".join(text[:LONGEST].split()).count("?")


def _plain(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter.translate(PLAIN))
    bare = "".join(part for part in parts if not unicodedata.combining(part))
    return "".join(part if can_draw(part) else "?" for part in bare)


@lru_cache(maxsize=4096)
def can_draw(letter: str) -> bool:
    """Whether the captions' font has this letter."""
    return _drawn(letter) != _drawn("\U0010ffff")  # the box that stands for a letter that a font lacks


def _drawn(letter: str) -> bytes:
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((4, 4), letter, 255, ImageFont.load_default(20))
    return image.tobytes()
