"""The loss: each term worked out by hand, the published formulas, and what "calibrated" promises to who reads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.perceptual import (
    PerceptualLoss,
    content_distance,
    gram,
    out_of_range,
    products,
    style_distance,
    tv,
)
from stylenet.losses.vgg import VGG
from stylenet.system.errors import UserError

ROOT = Path(__file__).parents[2]
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
SIDE = 48


def picture(name: str, side: int = SIDE) -> Tensor:
    found = next((ROOT / "stylenet" / "assets").rglob(f"{name}.jpg"))
    return to_tensor(open_rgb(found).resize((side, side)))


def loss(*styles: str, **args: Any) -> PerceptualLoss:
    defaults: dict[str, Any] = {
        "scale": "calibrated",
        "style_layers": dict.fromkeys(LAYERS, 1.0),
        "content_layers": {"relu3_3": 1.0},
        "style_weight": 4.0,
        "content_weight": 1.0,
    }
    return PerceptualLoss([picture(style) for style in styles or ("starry_night",)], **(defaults | args))


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.cat([picture(name) for name in ("astronaut", "castle", "coffee", "cat")])


@pytest.fixture(scope="module")
def calibrated(photos: Tensor) -> PerceptualLoss:
    made = loss("starry_night", "great_wave")
    made.calibrate(photos[k : k + 1] for k in range(len(photos)))
    return made


def read(made: PerceptualLoss, output: Tensor, content: Tensor, style: Tensor | None = None) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(value) for name, value in made.readings(made(output, content, made.targets(style))).items()}


@pytest.mark.parametrize("places", [1, 6, 16, 48])
def test_gram_in_parts_is_the_sum_over_all_places(places: int):
    """How a GPU takes it; 3 to 16 parts, which must not matter."""
    features = torch.randn(2, places, 3).bfloat16()
    wanted = torch.einsum("bni,bnj->bij", features.double(), features.double())
    torch.testing.assert_close(products(features, torch.float64), wanted)
    assert products(features).dtype == torch.float32


def test_terms_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # F = [[1, 2], [3, 4]]: c 2, h 1, w 2
    grams = gram(features)
    assert grams.tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]
    assert style_distance(grams, torch.tensor([[[1.25, 2.75], [0.75, 4.25]]])).tolist() == [8.0]  # 0 + 0 + 4 + 4
    assert content_distance(features, torch.tensor([[[[1.0, 0.0]], [[3.0, 7.0]]]])).tolist() == [13 / 4]
    image = torch.tensor([[0.0, 1.0], [3.0, 7.0]]).expand(2, 1, 2, 2)
    assert tv(image) == (9 + 36) + (1 + 16)  # down, across; each picture the same
    assert out_of_range(torch.tensor([-0.5, 0.0, 1.0, 3.0])) == (0.25 + 4) / 4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gram_has_the_right_gradient_and_keeps_the_layout(layout: torch.memory_format):
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(gram, features)
    (grad,) = torch.autograd.grad(gram(features)[:, 0, 1].sum(), features)  # G01 = sum(F0 F1) / (c h w)
    assert grad.is_contiguous(memory_format=layout)
    torch.testing.assert_close(grad[:, 0], features[:, 1] / 60)
    torch.testing.assert_close(grad[:, 2], torch.zeros_like(grad[:, 2]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_grams_of_large_half_precision_features_are_exact(dtype: torch.dtype):
    """10^3 squared and summed over 64 x 64 is far over what float16 holds."""
    features = (torch.randn(1, 8, 64, 64) * 1000).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        grams = gram(features)
    exact = torch.einsum("bchw,bdhw->bcd", features.double(), features.double()) / features[0].numel()
    assert grams.dtype == torch.float32
    torch.testing.assert_close(grams.double(), exact, rtol=1e-4, atol=exact.amax().item() * 1e-5)


def features_of(output: Tensor, content: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    vgg = VGG(LAYERS)
    return vgg(output), vgg(content), vgg(picture("starry_night"))


PYTORCH_EXAMPLES: dict[str, Any] = {
    "scale": "pytorch_examples",
    "style_layers": dict.fromkeys(LAYERS, 1.0),
    "content_layers": {"relu2_2": 1.0},
    "style_weight": 1e10,
    "content_weight": 1e5,
}


def test_the_config_holds_the_published_numbers():
    with initialize_config_dir(str(ROOT / "configs" / "loss"), version_base=None):
        config: Any = OmegaConf.to_container(compose("pytorch_examples"))
    off = {"tv_weight": 0, "range_weight": 0, "repeat_weight": 0, "vgg": "vgg16", "vgg_path": None}
    assert config == PYTORCH_EXAMPLES | off


def test_pytorch_examples_is_that_projects_formula(photos: Tensor):
    output, content = photos.flip(0), photos
    ours = loss(**PYTORCH_EXAMPLES)(output, content)
    y, x, s = features_of(output, content)
    expected = 1e5 * F.mse_loss(y["relu2_2"], x["relu2_2"])
    for layer in LAYERS:
        b, c, h, w = y[layer].shape
        rows, target = y[layer].view(b, c, h * w), s[layer].view(1, c, -1)
        gram_y, gram_s = rows.bmm(rows.transpose(1, 2)) / (c * h * w), target @ target.mT / target.numel()
        expected += 1e10 * F.mse_loss(gram_y, gram_s.expand(b, -1, -1))
    torch.testing.assert_close(sum(ours.values()), expected, rtol=1e-4, atol=0)


def test_johnson_is_equations_2_to_4(photos: Tensor):
    output, content = photos.flip(0), photos
    weights = {"relu1_2": 1.0, "relu2_2": 2.0, "relu3_3": 0.5, "relu4_3": 3.0}
    ours = loss(scale="johnson", style_layers=weights, style_weight=5.0, content_weight=2.0, tv_weight=1e-6)
    terms = ours(output, content)
    y, x, s = features_of(output, content)
    both = y["relu3_3"], x["relu3_3"]
    expected = {"content/relu3_3": 2.0 * sum((a - b).pow(2).sum() / a.numel() for a, b in zip(*both, strict=True))}
    for layer, weight in weights.items():
        target = torch.einsum("chw,dhw->cd", s[layer][0], s[layer][0]) / s[layer].numel()
        grams = [torch.einsum("chw,dhw->cd", one, one) / one.numel() for one in y[layer]]
        expected[f"style/{layer}"] = 5.0 * weight * sum(torch.dist(g, target) ** 2 for g in grams)
    rows, columns = output[:, :, 1:] - output[:, :, :-1], output[..., 1:] - output[..., :-1]
    expected["tv"] = 1e-6 * (rows.pow(2).sum() + columns.pow(2).sum())
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value / len(photos), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("style", "side"), [("starry_night", 48), ("great_wave", 72)])
def test_calibrated_untouched_photos_score_1_and_the_painting_0_at_any_style_and_size(style: str, side: int):
    made = loss(style, style_layers=dict.fromkeys(LAYERS[:3], 1.0))  # the painting keeps its size
    photos = torch.cat([picture(name, side) for name in ("astronaut", "castle", "coffee", "cat")])
    made.calibrate([photos[:3], photos[3:]])  # batches of any size
    untouched = read(made, photos, photos)
    assert untouched == pytest.approx(
        {"loss": 4, "style": 1, "content": 0, "content/relu3_3": 0} | {f"style/{x}": 1 for x in LAYERS[:3]}
    )
    assert read(made, picture(style), picture("fig"))["style"] == pytest.approx(0, abs=1e-6)
    unseen = torch.cat([picture(name, side) for name in ("red_panda", "lake", "fig", "rocket")])
    assert 0.4 < read(made, unseen, unseen)["style"] < 2.5
    assert read(made, photos[1:], photos[:-1])["content"] == pytest.approx(1)  # the very pairs that were measured
    assert 0.5 < read(made, unseen, photos)["content"] < 2


def test_layers_are_averaged_by_their_weights_and_readings_take_all_weights_off(photos: Tensor):
    layers = {"relu1_2": 3.0, "relu2_2": 1.0}
    made = loss(style_layers=layers, content_layers=layers, style_weight=10.0, content_weight=0.5, tv_weight=1e-3)
    made.calibrate(photos.split(1))
    output, content = photos[:2], photos[2:]
    terms, readings = made(output, content), read(made, output, content)
    for kind, weight in (("style", 10.0), ("content", 0.5)):
        first, second = readings[f"{kind}/relu1_2"], readings[f"{kind}/relu2_2"]
        assert first != pytest.approx(second)
        assert readings[kind] == pytest.approx(0.75 * first + 0.25 * second)
        assert float(terms[f"{kind}/relu1_2"]) == pytest.approx(weight * 0.75 * first)
    assert readings["tv"] == pytest.approx(float(tv(output)))
    assert readings["loss"] == pytest.approx(sum(float(term) for term in terms.values()))


def test_no_weight_is_no_error(photos: Tensor):
    made = loss(style_layers={"relu1_2": 1.0}, content_layers={"relu1_2": 0.0}, style_weight=0.0, range_weight=2.0)
    made.calibrate(photos.split(1))
    assert read(made, photos * 3 - 1, photos) == pytest.approx(
        {"style": 0, "style/relu1_2": 0, "content": 0, "content/relu1_2": 0}
        | {"range": float(out_of_range(photos * 3 - 1)), "loss": 2 * float(out_of_range(photos * 3 - 1))}
    )


def test_each_photo_of_a_batch_has_its_own_style(calibrated: PerceptualLoss, photos: Tensor):
    single = {style: loss(style) for style in ("starry_night", "great_wave")}
    for made in single.values():
        made.calibrate(photos.split(1))
    scores = [
        read(single["great_wave"], photos[:1], photos[:1]),
        read(single["starry_night"], photos[1:2], photos[1:2]),
    ]
    both = read(calibrated, photos[:2], photos[:2], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert both["style"] == pytest.approx((scores[0]["style"] + scores[1]["style"]) / 2, rel=1e-4)
    assert read(calibrated, photos, photos) == pytest.approx(read(single["starry_night"], photos, photos), rel=1e-4)


def test_mixed_styles_are_mixed_grams(calibrated: PerceptualLoss):
    layer, features = "relu3_3", VGG(["relu3_3"])
    a, b, seen = (gram(features(picture(name))[layer]) for name in ("starry_night", "great_wave", "fig"))
    reference = calibrated.get_buffer(f"style_reference_{layer}")
    expected = (seen - (0.3 * a + 0.7 * b)).square().sum() / (0.3 * reference[0] + 0.7 * reference[1])
    found = read(calibrated, picture("fig"), picture("fig"), torch.tensor([[0.3, 0.7]]))
    assert found[f"style/{layer}"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("style", [None, torch.tensor([[0.25, 0.75], [1.0, 0.0]])])
def test_targets_are_those_of_the_batch(calibrated: PerceptualLoss, style: Tensor | None):
    targets = calibrated.targets(style)
    assert targets.grams.keys() == targets.references.keys() == set(LAYERS)
    for layer in LAYERS:
        grams, references = (calibrated.get_buffer(f"{kind}_{layer}") for kind in ("target", "style_reference"))
        shares = torch.tensor([[1.0, 0.0]]) if style is None else style
        torch.testing.assert_close(targets.grams[layer], (shares[..., None, None] * grams).sum(1))
        torch.testing.assert_close(targets.references[layer], (shares * references).sum(1))


def test_bf16_scores_what_float32_scores(calibrated: PerceptualLoss, photos: Tensor):
    exact = read(calibrated, photos.flip(0), photos)
    with torch.autocast("cpu", torch.bfloat16):
        half = read(calibrated, photos.flip(0), photos)
        chosen = read(calibrated, photos.flip(0), photos, torch.tensor([[1.0, 0.0]]).expand(4, 2))
    assert half == pytest.approx(exact, rel=0.05)
    assert chosen == pytest.approx(half, rel=1e-5)  # the targets are not rounded on the way


def test_the_gradient_reaches_the_output_alone(calibrated: PerceptualLoss, photos: Tensor):
    output, content = photos[:1].clone().requires_grad_(), photos[1:2].clone().requires_grad_()
    terms = calibrated(output, content)
    torch.stack([*terms.values()]).sum().backward()
    assert output.grad is not None and output.grad.isfinite().all() and output.grad.abs().max() > 0
    assert content.grad is None
    assert not [*calibrated.parameters()] and not any(x.requires_grad for x in calibrated.buffers())


def test_the_calibration_is_all_that_is_kept_and_it_comes_back(
    calibrated: PerceptualLoss, photos: Tensor, tmp_path: Path
):
    references = {f"style_reference_{x}" for x in LAYERS} | {"content_reference_relu3_3"}
    assert calibrated.state_dict().keys() == references | {"is_calibrated"}
    assert calibrated.calibration().keys() == references
    assert calibrated.calibration()["style_reference_relu1_2"] == pytest.approx(
        calibrated.get_buffer("style_reference_relu1_2").tolist()
    )
    torch.save(calibrated.state_dict(), tmp_path / "loss.pt")
    again = loss("starry_night", "great_wave")
    again.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert read(again, photos.flip(0), photos) == read(calibrated, photos.flip(0), photos)


def test_nothing_is_scored_before_there_is_something_to_score_by(photos: Tensor):
    made = loss(style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0})
    with pytest.raises(UserError, match="calibrate\\(\\)"):
        made(photos, photos)
    for bad in ([], [photos[:1]], [photos[:1], photos[:1]], [picture("starry_night")] * 2):
        with pytest.raises(UserError, match="at least 2 different photos"):
            made.calibrate(bad)
    assert not made.get_buffer("is_calibrated") and made.get_buffer("content_reference_relu1_1") == 1
    made.calibrate([photos])
    assert made(photos, photos)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"scale": "mean"}, "loss.scale=mean: no such scale. Allowed: calibrated, johnson, pytorch_examples, gatys."),
        ({"style_layers": {"relu3_4": 1.0}}, "layer 'relu3_4' is not in vgg16. Allowed: relu1_1, relu1_2"),
        ({"content_layers": {"conv4_2": 1.0}}, "layer 'conv4_2' is not in vgg16. Allowed: relu1_1, relu1_2"),
        ({"vgg": "resnet"}, "Allowed: vgg16, vgg19."),
    ],
)
def test_what_there_is_not_is_told_in_one_line(args: dict[str, Any], told: str):
    with pytest.raises(UserError) as error:
        loss(**args)
    assert told in str(error.value) and "\n" not in str(error.value)


# --- paintings that come with the batch


def test_a_painting_of_the_batch_is_a_style_like_any_other(photos: Tensor, calibrated: PerceptualLoss):
    """Targets made of paintings on the way, and references made of two moments of the photos, are those of styles that
    the loss knew beforehand and measured photo by photo.
    """
    made = PerceptualLoss([], "calibrated", dict.fromkeys(LAYERS, 1.0), {"relu3_3": 1.0}, 4.0, 1.0)
    made.calibrate(photos[k : k + 1] for k in range(len(photos)))
    paintings = torch.cat([picture("starry_night"), picture("great_wave")])
    found, known = made.targets_of(paintings), calibrated.targets(torch.eye(2))
    for layer in LAYERS:
        torch.testing.assert_close(found.grams[layer], known.grams[layer])
        torch.testing.assert_close(found.references[layer], known.references[layer], rtol=1e-4, atol=0)
    output, content = photos[:2].flip(3), photos[:2]
    expected = calibrated(output, content, known)
    for name, term in made(output, content, found).items():
        torch.testing.assert_close(term, expected[name], rtol=1e-4, atol=1e-6)


def test_its_references_are_resumed(photos: Tensor):
    arguments: Any = ([], "calibrated", {"relu2_2": 1.0}, {"relu3_3": 1.0}, 4.0, 1.0)
    made, again = PerceptualLoss(*arguments), PerceptualLoss(*arguments)
    made.calibrate(photos[k : k + 1] for k in range(len(photos)))
    with pytest.raises(UserError, match="calibrate"):
        again.require_calibration()
    again.load_state_dict(made.state_dict())
    paintings = picture("great_wave")
    assert again.targets_of(paintings).references == made.targets_of(paintings).references


@pytest.mark.parametrize("scale", ["johnson", "pytorch_examples", "gatys"])
def test_paintings_of_the_batch_in_the_other_scales(scale: str, photos: Tensor):
    known = loss("starry_night", scale=scale)
    made = loss("starry_night", scale=scale)
    made.__init__([], scale, known.style_layers, known.content_layers, 4.0, 1.0)  # type: ignore[misc]
    expected = known(photos[:1], photos[1:2])
    for name, term in made(photos[:1], photos[1:2], made.targets_of(picture("starry_night"))).items():
        torch.testing.assert_close(term, expected[name])
