"""The figures react to what they are said to measure: planted artefacts, the painting itself, an unrelated photo."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stylenet import checkpoint
from stylenet.errors import UserError
from stylenet.evaluate import border, evaluate, grid, painting_of, squares
from stylenet.images import to_tensor
from stylenet.nets import build
from stylenet.paintings import BUNDLED, open_painting


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


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_faint_grid_is_seen_and_photos_have_none(photos: list[Tensor], period: int, axis: int):
    lines = torch.cos(torch.arange(128) * 2 * torch.pi / period).view([-1 if i == axis else 1 for i in range(4)])
    for photo in photos:
        assert grid(photo) < 3
        assert grid(photo + 0.05 * lines) > 3 * grid(photo)


def test_a_grid_of_another_period_is_not_counted(photos: list[Tensor]):
    wave = 0.02 * torch.cos(torch.arange(128) * 2 * torch.pi / 8).view(1, 1, 1, -1)
    assert grid(photos[0] + wave) == pytest.approx(grid(photos[0]), rel=0.2)


def test_a_ring_at_the_border_is_seen():
    torch.manual_seed(0)
    even = torch.rand(1, 3, 96, 96)
    ringed = even.clone()
    ringed[..., :8, :] = (ringed[..., :8, :] - 0.5) * 2 + 0.5
    assert border(even) == pytest.approx(1, abs=0.03)
    assert border(ringed) > 1.2


def test_untouched_photos_score_1_in_style_and_0_in_content(photos: list[Tensor], painting: Image.Image):
    figures = evaluate(Fixed(lambda photo: photo), photos, painting)
    assert figures["style"] == 1 and figures["content"] == 0
    assert figures["border"] == {"mean": 1, "worst": 1}
    assert figures["grid"] == figures["grid_of_photos"]


def test_unrelated_photos_score_1_in_content(photos: list[Tensor], painting: Image.Image):
    following = iter([*photos[-1:], *photos[:-1]])
    assert evaluate(Fixed(lambda photo: next(following)), photos, painting)["content"] == pytest.approx(1, abs=1e-4)


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
    assert painting_of(info, "starry_night.jpg").width == 768
    with pytest.raises(UserError, match="painting=painting.jpg"):
        painting_of({}, None)


def test_the_script_prints_and_writes_the_figures(run_script, tmp_path: Path):
    torch.manual_seed(0)
    net = build("johnson", widths=(4, 4, 4), blocks=1)
    checkpoint.save(tmp_path / "tiny.safetensors", net, {"styles": [{"name": "t", "image": "starry_night.jpg"}]})
    data = f"data={BUNDLED.parent / 'photos' / 'train'}"
    done = run_script("evaluate.py", "ckpt=tiny.safetensors", data, "sizes=[64,96]", "photos=2", "output=out.json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "out.json").read_text())
    assert [figures["size"] for figures in printed["figures"].values()] == [64, 96]
