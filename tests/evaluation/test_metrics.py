"""The figures react to what they are said to measure: planted artefacts, the painting itself, an unrelated photo."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.data.paintings import BUNDLED, open_painting
from stylenet.evaluation.metrics import KnownPhotos, evaluate, named_squares, painting_file, painting_of, squares
from stylenet.images.image_io import to_tensor
from stylenet.system.errors import UserError


class Fixed(nn.Module):
    """Answers with a function of the photo."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, content: Tensor) -> Tensor:
        return self.function(content)


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    return squares(None, 128, 4)


@pytest.fixture(scope="module")
def painting() -> Image.Image:
    return open_painting("starry_night.jpg", 256)


def test_untouched_photos_score_1_in_style_and_0_in_content(photos: list[Tensor], painting: Image.Image):
    figures = evaluate(Fixed(lambda photo: photo), photos, painting)
    assert figures["style"] == 1 and figures["content"] == 0
    assert figures["border"] == {"mean": 1, "worst": 1}
    assert figures["bands"] == {"mean": 1, "worst": 1}
    for name in ("grid", "dots", "weave", "flat", "saturated"):
        assert figures[name] == figures[f"{name}_of_photos"]


def test_an_even_grey_picture_is_flat_all_over_and_the_painting_is_not(photos: list[Tensor], painting: Image.Image):
    assert evaluate(Fixed(lambda photo: photo * 0 + 0.5), photos, painting)["flat"] == {"mean": 1, "worst": 1}
    crop = to_tensor(painting)[..., :128, :128]
    assert evaluate(Fixed(lambda photo: crop), photos, painting)["flat"]["worst"] < 0.1


def test_unrelated_photos_score_1_in_content(photos: list[Tensor], painting: Image.Image):
    following = iter([*photos[-1:], *photos[:-1]])
    assert evaluate(Fixed(lambda photo: next(following)), photos, painting)["content"] == pytest.approx(1, abs=1e-4)


def test_several_styles_on_photos_seen_once_have_the_figures_of_each_by_itself(
    photos: list[Tensor], painting: Image.Image
):
    known, other = KnownPhotos(), open_painting("great_wave.jpg", 256)
    dark, bright = Fixed(lambda photo: photo * 0.5), Fixed(lambda photo: photo.sqrt())
    for net, picture in ((dark, painting), (bright, other)):
        assert evaluate(net, photos, picture, known=known) == evaluate(net, photos, picture)


def test_the_painting_itself_scores_0_in_style(painting: Image.Image):
    picture = to_tensor(painting)
    photos = [picture.flip(1), picture.flip(1) * 0.5]
    assert evaluate(Fixed(lambda photo: picture), photos, painting)["style"] < 1e-4


def test_a_small_painting_is_taken_at_its_own_size(photos: list[Tensor]):
    assert evaluate(Fixed(lambda photo: photo), photos, open_painting("starry_night.jpg", 100))["style_size"] == 100


@pytest.mark.parametrize(
    ("size", "count", "message"), [(8, 4, "sizes=8"), ("big", 4, "sizes=big"), (64, 1, "photos=1")]
)
def test_sizes_and_counts_that_make_no_sense_are_answered(size, count, message):
    with pytest.raises(UserError, match=f"{message}: give whole numbers"):
        squares(None, size, count)


def test_one_photo_is_too_few(photos: list[Tensor], painting: Image.Image):
    with pytest.raises(UserError, match="1 photo"):
        evaluate(Fixed(lambda photo: photo), photos[:1], painting)


def test_the_painting_is_that_of_the_style_file_unless_one_is_given():
    info = {"styles": [{"image": "great_wave.jpg"}]}
    assert painting_of(info, None).size == (661, 445)
    assert painting_of(info, "starry_night.jpg").width == 1024
    with pytest.raises(UserError, match="painting=painting.jpg"):
        painting_of({}, None)


def test_a_folder_of_paintings_gives_the_one_that_the_style_names(tmp_path: Path):
    (tmp_path / "mine.jpg").write_bytes((BUNDLED / "great_wave.jpg").read_bytes())
    assert painting_file({"styles": [{"image": "mine.jpg"}]}, str(tmp_path)) == tmp_path / "mine.jpg"
    with pytest.raises(UserError, match="has no other.jpg: use the picture itself"):
        painting_file({"styles": [{"image": "other.jpg"}]}, str(tmp_path))
    with pytest.raises(UserError, match="does not name its painting: use the picture itself"):
        painting_file({}, str(tmp_path))


def test_photos_keep_their_names_whatever_folder_they_are_in(tmp_path: Path):
    (tmp_path / "far").mkdir()
    photos = sorted((BUNDLED.parent / "photos" / "val").glob("*.jpg"))[:2]
    for photo, place in zip(photos, ("a.jpg", "far/b.jpg"), strict=True):
        (tmp_path / place).write_bytes(photo.read_bytes())
    found = dict(named_squares(str(tmp_path), 64, 10))
    assert [*found] == ["a.jpg", "far/b.jpg"]
    assert torch.equal(found["far/b.jpg"], squares(None, 64, 4)[1])
