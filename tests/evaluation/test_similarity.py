"""SSIM, LPIPS, CFSD and ArtFID against values worked out by hand and other implementations of the same formula."""

import math
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as reference
from torchmetrics.image.fid import FrechetInceptionDistance

from stylenet.data.paintings import BUNDLED, open_painting
from stylenet.evaluation.metrics import squares
from stylenet.evaluation.similarity import CFSD_PLACES, Similarity, frechet, structural_distance
from stylenet.images.image_io import to_tensor
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.system.errors import UserError


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    return squares(None, 128, 4)


@pytest.fixture(scope="module")
def measure() -> Similarity:
    return Similarity()


@pytest.fixture(scope="module")
def paintings() -> list[Tensor]:
    return [to_tensor(open_painting(str(path), 128)) for path in sorted(BUNDLED.glob("*.jpg"))]


def test_a_picture_is_like_itself(measure: Similarity, photos: list[Tensor]):
    assert measure(photos[0], photos[0]) == pytest.approx({"ssim": 1, "lpips": 0, "cfsd": 0}, abs=1e-4)


def test_more_change_is_less_alike_by_every_measure(measure: Similarity, photos: list[Tensor]):
    photo = photos[0]
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    slight, strong = ((photo + sigma * noise).clamp(0, 1) for sigma in (0.05, 0.2))
    near, far, other = (measure(picture, photo) for picture in (slight, strong, photos[1]))
    assert near["ssim"] > far["ssim"] > other["ssim"]
    assert near["lpips"] < far["lpips"] and near["lpips"] < other["lpips"]
    assert near["cfsd"] < far["cfsd"] < other["cfsd"]


def test_structure_cares_less_for_colour_than_for_place(measure: Similarity, photos: list[Tensor]):
    photo = photos[0]
    repainted, mirrored = photo[:, [1, 2, 0]], photo.flip(3)
    assert measure(repainted, photo)["cfsd"] < 0.7 * measure(mirrored, photo)["cfsd"]


def test_ssim_of_even_pictures_is_their_luminance_term(measure: Similarity):
    dark, light = torch.full((1, 3, 32, 32), 0.02), torch.full((1, 3, 32, 32), 0.06)
    assert measure(dark, light)["ssim"] == pytest.approx(25 / 41, abs=1e-3)  # (2 * .0012 + .0001) / (.004 + .0001)


def test_lpips_is_that_of_torchmetrics_on_our_weights(
    measure: Similarity, photos: list[Tensor], monkeypatch: pytest.MonkeyPatch
):
    convolutions = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
    features = torchvision.models.vgg.make_layers(convolutions)  # type: ignore[arg-type]
    values = list(vgg_weights().state.values())
    features.load_state_dict(dict(zip(features.state_dict(), values, strict=True)))
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_: features)  # instead of a download
    net = reference._NoTrainLpips(net="vgg")
    for output, photo in zip(photos, photos[1:], strict=False):
        assert measure(output, photo)["lpips"] == pytest.approx(float(net(output, photo, normalize=True)), rel=1e-4)


def test_structural_distance_of_two_places_by_hand():
    # The photo's first place has ln 3 with itself and 0 else: softmax (3/4, 1/4). All other rows: (1/2, 1/2).
    photo = torch.tensor([math.sqrt(math.log(3)), 0.0]).view(1, 1, 1, 2)
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert structural_distance(torch.zeros(1, 1, 1, 2), photo) == pytest.approx(by_hand / 2, rel=1e-5)
    two_channels = torch.cat([photo, photo], dim=1) * math.sqrt(2)  # 2 * 2 ln 3 / 2^2
    assert structural_distance(torch.zeros(1, 2, 1, 2), two_channels) == pytest.approx(by_hand / 2, rel=1e-5)


def test_structural_distance_is_the_published_one_up_to_the_rows_left_out(measure: Similarity):
    def published(output: Tensor, photo: Tensor) -> float:
        rows = [(x[0].flatten(1).T / 256 @ (x[0].flatten(1) / 256)).softmax(1) for x in (output, photo)]
        return float(nn.functional.kl_div(rows[0].log(), rows[1], reduction="batchmean"))

    a, b = (measure.vgg(square, ["relu3_1"])["relu3_1"] for square in squares(None, 256, 2))
    assert structural_distance(a, b) == pytest.approx(published(a, b), rel=0.05)
    small = a[..., :32, :32], b[..., :32, :32]  # all rows of so small a picture are taken
    assert structural_distance(*small) == pytest.approx(published(*small), rel=1e-3)


def test_cfsd_stands_for_a_picture_of_512_px(measure: Similarity, photos: list[Tensor]):
    features = [measure.vgg(photo, ["relu3_1"])["relu3_1"] for photo in photos[:2]]
    assert measure(photos[0], photos[1])["cfsd"] == pytest.approx(CFSD_PLACES * structural_distance(*features))


def test_frechet_of_two_gaussians_by_hand():
    # Variances 1 and 4 along one axis, 9 and 1 along the other, means 3 apart: 3^2 + (1 - 2)^2 + (3 - 1)^2.
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * math.sqrt(3) / 2
    first = corners * torch.tensor([1.0, 3.0])
    second = corners * torch.tensor([2.0, 1.0]) + torch.tensor([3.0, 0.0])
    assert frechet(first, second) == pytest.approx(14, rel=1e-6)
    assert frechet(first, first) == pytest.approx(0, abs=1e-6)


def test_frechet_is_that_of_torchmetrics():
    class Given(nn.Module):
        num_features = 5

        def forward(self, x: Tensor) -> Tensor:
            return x

    torch.manual_seed(0)
    a, b = torch.randn(40, 5) @ torch.randn(5, 5), torch.randn(30, 5) @ torch.randn(5, 5) + 1
    metric = FrechetInceptionDistance(Given()).set_dtype(torch.float64)
    metric.update(a.double(), real=True)
    metric.update(b.double(), real=False)
    assert frechet(a, b) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_artfid_is_made_of_its_two_parts(measure: Similarity, photos: list[Tensor], paintings: list[Tensor]):
    photos, paintings = photos[:2], paintings[:2]
    figures = measure.artfid(iter(photos), iter(photos), iter(paintings))
    assert figures["lpips"] == pytest.approx(0, abs=1e-6)
    assert figures["artfid_vgg"] == pytest.approx(1 + figures["frechet_vgg"])
    other = measure.artfid(photos, photos[::-1], paintings)
    lpips = sum(measure(a, b)["lpips"] for a, b in zip(photos, photos[::-1], strict=True)) / len(photos)
    assert other["artfid_vgg"] == pytest.approx((1 + lpips) * (1 + figures["frechet_vgg"]))


def test_paintings_are_nearer_to_paintings_than_photos_are(
    measure: Similarity, photos: list[Tensor], paintings: list[Tensor]
):
    distances = [measure.artfid(x, x, paintings)["frechet_vgg"] for x in (photos, paintings[:4])]
    assert distances[1] < distances[0]


def test_one_painting_is_too_few(measure: Similarity, photos: list[Tensor], paintings: list[Tensor]):
    with pytest.raises(UserError, match="1 outputs and 1 paintings"):
        measure.artfid(photos[:1], photos[:1], paintings[:1])


def test_artfid_takes_its_authors_inception_where_it_is_given(
    measure: Similarity, photos: list[Tensor], paintings: list[Tensor], tmp_path: Path
):
    torch.manual_seed(0)
    net = torchvision.models.Inception3(init_weights=False).eval()
    for norm in (layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_var.fill_(0.1)  # type: ignore[union-attr] # else nothing of the picture would be left at the end
    heads = {"fc1.weight": torch.zeros(3, 2048), "fc2.weight": torch.zeros(2, 2048)}  # the authors' net has two
    torch.save({key: x for key, x in net.state_dict().items() if "fc" not in key} | heads, tmp_path / "art.pth")
    found = measure.artfid(photos[:2], photos[:2], paintings[:2], tmp_path / "art.pth")
    net.fc = nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        features = [torch.cat([net(picture) for picture in kind[:2]]) for kind in (photos, paintings)]
    distance = frechet(*features)
    assert distance > 1e-3
    assert found == pytest.approx({"artfid": 1 + distance, "frechet": distance, "lpips": 0}, rel=1e-4, abs=1e-6)
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other.pth does not hold ArtFID's Inception.*art_inception.pth"):
        measure.artfid(photos, photos, paintings, tmp_path / "other.pth")


def test_without_torchmetrics_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    with pytest.raises(UserError, match=r"pip install 'stylenet\[evaluate\]'"):
        Similarity()
