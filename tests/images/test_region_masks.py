"""Masks in which each colour is a region."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from stylenet.images import region_masks
from stylenet.system.errors import UserError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def stripes(*colors: tuple[int, int, int], size: tuple[int, int] = (60, 60)) -> Image.Image:
    """Stripes of equal height, from the top."""
    return Image.fromarray(np.array(colors, np.uint8)[:, None]).resize(size, Image.Resampling.NEAREST)


def rows(labels: np.ndarray) -> list[int]:
    """The region of each stripe of 60 rows in thirds, all of which are of one region."""
    assert (labels == labels[:, :1]).all()
    return labels[[10, 30, 50], 0].tolist()


def test_equal_colours_are_equal_regions_whatever_their_order_and_size():
    (first, second), note = region_masks.labels(stripes(RED, GREEN, BLUE), stripes(BLUE, BLUE, RED, size=(30, 60)))
    (red, green, blue), others = rows(first), rows(second)
    assert len({red, green, blue}) == 3 and others == [blue, blue, red]
    assert first.dtype == second.dtype == np.int64 and second.shape == (60, 30)
    assert note == "only content_mask= has #00ff00: matched with the whole style photo"


def test_numbers_as_grey_levels_are_regions():
    (first, second), note = region_masks.labels(
        stripes((0, 0, 0), (1, 1, 1), (2, 2, 2)), stripes((2, 2, 2), (1, 1, 1), (3, 3, 3))
    )
    assert rows(first) == [0, 1, 2] and rows(second)[:2] == [2, 1]
    assert rows(second)[2] not in (0, 1, 2)
    assert note.endswith("; only style_mask= has #030303: not used")


@pytest.mark.parametrize("how", ["jpeg", "soft"])
def test_losses_and_soft_edges_are_read_as_the_nearest_region(how: str):
    clean = stripes(RED, GREEN, BLUE, size=(90, 60)).resize((270, 180), Image.Resampling.NEAREST)
    soft = clean.filter(ImageFilter.GaussianBlur(2)) if how == "soft" else clean
    noise = np.random.default_rng(0).integers(-8, 9, (180, 270, 3))
    mask = Image.fromarray(np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8))
    if how == "jpeg":
        file = io.BytesIO()
        mask.save(file, "JPEG", quality=60)
        mask = Image.open(file).convert("RGB")
    assert mask.getcolors(region_masks.MOST) is None
    (first, second), note = region_masks.labels(mask, clean)
    assert note == ""
    assert (first != second).mean() < 0.01


def test_masks_are_resized_by_the_nearest_pixel():
    assert region_masks.resized(np.array([[1, 2], [3, 4]]), (4, 2)).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert region_masks.resized(np.arange(9).reshape(3, 3), (1, 1)).tolist() == [[4]]


def test_masks_that_share_no_colour_and_pictures_are_refused():
    with pytest.raises(UserError, match="has the colours #ff0000, style_mask= #0000ff: they share none"):
        region_masks.labels(stripes(RED), stripes(BLUE))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    with pytest.raises(UserError, match="style_mask= is a picture with too many colours for a mask"):
        region_masks.labels(stripes(RED), noise)
