"""The descent on pixels: against an optimum worked out by hand, a second implementation, and its own promises."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import Tensor, nn

import stylenet.losses.perceptual
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.optimizing.optimizer import NotANumber, beginning, enlarge, optimize, sizes
from stylenet.system.errors import UserError

ASSETS = ROOT / "stylenet" / "assets"


def picture(name: str, side: int = 48) -> Tensor:
    return to_tensor(open_rgb(next(ASSETS.glob(f"**/{name}.jpg"))).resize((side, side)))


# --- the formula


class Pixels(nn.Module):
    """Stands in for VGG: its features are the picture's own three channels."""

    def __init__(self, layers: Any, *args: Any):
        super().__init__()
        self.layers = list(layers)

    def forward(self, image: Tensor, layers: Any = None) -> dict[str, Tensor]:
        return dict.fromkeys(layers or self.layers, image)


def channels(*rows: list[float]) -> Tensor:
    """F, a row for each channel, as a picture one pixel high."""
    return torch.tensor(rows)[None, :, None, :]


@pytest.mark.parametrize("times", [1, 3])  # a style image of another size weighs no more
def test_the_published_formula_by_hand(monkeypatch: pytest.MonkeyPatch, times: int):
    monkeypatch.setattr(stylenet.losses.perceptual, "VGG", Pixels)
    style = channels([0, 0], [0, 0], [1, 1]).repeat(1, 1, 1, times)
    layers = {"a": 3.0, "b": 1.0}
    loss = PerceptualLoss([style], "gatys", layers, {"c": 7.0}, style_weight=100.0, content_weight=10.0)
    terms = loss(channels([1, 0], [0, 2], [1, 1]), channels([1, 0], [0, 0], [1, 3]))
    # G = [[1 0 1] [0 4 2] [1 2 2]], A = [[0 0 0] [0 0 0] [0 0 2]]: sum (G - A)^2 = 27; N = 3, M = 2: E = 27 / 144
    # 1/2 sum (F - P)^2 = (2^2 + 2^2) / 2; layers are averaged by their weights
    expected = {"content/c": 10 * 4.0, "style/a": 100 * 0.75 * 27 / 144, "style/b": 100 * 0.25 * 27 / 144}
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected)


def plain_features(image: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, found = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1), {}
    for conv in ("1_1", "1_2", None, "2_1", "2_2", None, "3_1"):
        if conv is None:
            x = F.avg_pool2d(x, 2)
        else:
            x = F.conv2d(x, state[f"conv{conv}.weight"], state[f"conv{conv}.bias"], padding=1).relu()
            found[f"relu{conv}"] = x
    return found


def plain_gram(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return torch.stack([(row * rows).sum(1) for row in rows])


def plain_objective(style: Tensor, content: Tensor, beta: float) -> Callable[[Tensor], Tensor]:
    """Eq. 1, 4, 5 and 7 of the paper, written out, over another VGG pass and Grams row by row."""
    state = vgg_weights("vgg16").state
    with torch.no_grad():
        wanted = plain_features(content, state)["relu2_2"]
        targets = {name: plain_gram(x[0]) for name, x in plain_features(style, state).items() if name.endswith("_1")}

    def objective(image: Tensor) -> Tensor:
        found = plain_features(image, state)
        total = 0.5 * (found["relu2_2"] - wanted).pow(2).sum()
        for name, target in targets.items():
            n, m = found[name].shape[1], found[name].shape[2] * found[name].shape[3]
            total = total + beta / 3 * (plain_gram(found[name][0]) - target).pow(2).sum() / (4 * n**2 * m**2)
        return total

    return objective


def plain_descent(objective: Callable[[Tensor], Tensor], start: Tensor, evaluations: int) -> float:
    """Torch's own L-BFGS with its line search, the picture free of bounds; the lowest objective it saw."""
    image, seen = start.clone().requires_grad_(), []
    rule = torch.optim.LBFGS([image], max_iter=evaluations, max_eval=evaluations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        value = objective(image)
        (image.grad,) = torch.autograd.grad(value, image)
        seen.append(value.item())
        return value.detach()

    rule.step(closure)
    return min(seen)


@pytest.mark.parametrize("init", ["content", "noise"])
def test_the_objective_is_that_of_another_implementation_and_gets_as_low(init: str):
    style, content = picture("great_wave", 40), picture("castle", 40)
    layers = dict.fromkeys(["relu1_1", "relu2_1", "relu3_1"], 1.0)
    loss = PerceptualLoss([style], "gatys", layers, {"relu2_2": 1.0}, 1e6, 1.0, pooling="average")
    objective, start = plain_objective(style, content, 1e6), beginning(init, content, style)
    ours: list[float] = []
    out = optimize(loss, content, start, 60, seen=lambda step, terms, image: ours.append(float(sum(terms.values()))))
    with torch.no_grad():
        assert ours[0] == pytest.approx(objective(start).item(), rel=1e-4)
        assert ours[-1] == pytest.approx(objective(out).item(), rel=1e-4)
    lowest = plain_descent(objective, start, 60)
    assert ours[-1] == pytest.approx(lowest, rel=0.01) and lowest < 0.5 * ours[0]


# --- the descent


TARGET = torch.linspace(-0.5, 1.5, 75).view(1, 3, 5, 5)  # the first and the last quarter cannot be reached


def bowl(output: Tensor, content: Tensor, style: Tensor | None = None) -> dict[str, Tensor]:
    """Least at ``TARGET``, a thousand times as steep in some pixels as in others; in [0, 1] least at its clamp."""
    steep = torch.logspace(0, 3, 75).view_as(TARGET)[..., torch.randperm(5, generator=torch.Generator().manual_seed(0))]
    return {"bowl": (steep * (output - TARGET).square()).sum(), "rest": content.sum()}


START = torch.full_like(TARGET, 0.5)


@pytest.mark.parametrize(("optimizer", "steps"), [("lbfgs", 60), ("adam", 300)])
def test_it_finds_the_lowest_picture_there_is(optimizer: str, steps: int):
    found = optimize(bowl, START, START, steps, optimizer=optimizer)
    torch.testing.assert_close(found, TARGET.clamp(0, 1), atol=2e-3, rtol=0)


def test_torch_lbfgs_is_torchs_own_descent():
    """A step by its first step each, against as many iterations of it in one call; inside the range all the way."""
    inside = TARGET.clamp(0.3, 0.7)

    def well(output: Tensor, content: Tensor, style: Tensor | None = None) -> dict[str, Tensor]:
        return {"well": ((output - inside).square() * (1 + 9 * inside)).sum()}

    expected = START.clone().requires_grad_()
    torchs = torch.optim.LBFGS([expected], 1, max_iter=6, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        torchs.zero_grad()
        well(expected, START)["well"].backward()
        return well(expected, START)["well"]

    torchs.step(closure)
    torch.testing.assert_close(optimize(well, START, START, 6, optimizer="torch_lbfgs"), expected.detach())


@pytest.mark.parametrize("lr", [1.0, 30.0])
def test_what_is_told_is_what_one_gets_and_it_never_goes_up(lr: float):
    calls, told = [], []

    def counted(output: Tensor, content: Tensor, style: Tensor | None) -> dict[str, Tensor]:
        calls.append(output)
        return bowl(output, content)

    def seen(step: int, terms: Any, image: Tensor) -> None:
        assert image.min() >= 0 and image.max() <= 1
        assert {name: float(term) for name, term in terms.items()} == pytest.approx(
            {name: float(term) for name, term in bowl(image, START).items()}
        )
        told.append((step, float(sum(terms.values())), image.clone()))

    out = optimize(counted, START, START * 3, 40, lr=lr, seen=seen)
    assert [step for step, _, _ in told] == list(range(41)) and len(calls) == 41
    torch.testing.assert_close(told[0][2], torch.ones_like(START))  # 1.5 is no colour
    objectives = [objective for _, objective, _ in told]
    lowest = float(sum(bowl(TARGET.clamp(0, 1), START).values()))
    assert objectives == sorted(objectives, reverse=True) and objectives[-1] == pytest.approx(lowest, rel=1e-3)
    assert torch.equal(out, told[-1][2])


def test_it_stops_when_told_so():
    seen: list[Tensor] = []
    out = optimize(bowl, START, START, 50, seen=lambda step, terms, image: seen.append(image) or step == 3)
    assert len(seen) == 4 and torch.equal(out, seen[-1]) and not torch.equal(out, START)


@pytest.mark.parametrize("optimizer", ["lbfgs", "torch_lbfgs", "adam"])
def test_where_numbers_end_the_last_good_picture_is_kept(optimizer: str):
    good: list[Tensor] = []

    def breaks(output: Tensor, content: Tensor, style: Tensor | None) -> dict[str, Tensor]:
        terms = bowl(output, content)
        return terms if len(good) < 4 else {"bowl": terms["bowl"] * torch.nan}

    with pytest.raises(NotANumber, match=r"after step (3|1\d) is not a number") as error:
        optimize(breaks, START, START, 50, optimizer=optimizer, seen=lambda step, terms, image: good.append(image))
    assert error.value.image is not None and torch.equal(error.value.image, good[-1]) and good[-1].isfinite().all()
    with pytest.raises(NotANumber, match="start from is not a number"):
        optimize(lambda output, *_: {"bowl": output.sum() * torch.nan}, START, START, 5)


def test_a_place_without_a_number_is_gone_around():
    def cliff(output: Tensor, content: Tensor, style: Tensor | None) -> dict[str, Tensor]:
        return {
            "log": ((output - 0.495).log() + 1 / (100 * (output - 0.495))).sum()
        }  # least at 0.505, none below 0.495

    found = optimize(cliff, START, torch.full_like(START, 0.7), 60)
    torch.testing.assert_close(found, torch.full_like(START, 0.505), atol=1e-3, rtol=0)


def test_an_optimizer_there_is_not():
    with pytest.raises(UserError, match="optimizer=sgd: no such optimizer. Allowed: lbfgs, torch_lbfgs, adam."):
        optimize(bowl, START, START, 5, optimizer="sgd")


# --- starts and sizes


def test_the_starts():
    content, style = torch.rand(1, 3, 20, 32), torch.zeros(1, 3, 40, 40)
    style[..., 8:32, :] = 1  # 40x40 over 20x32: enlarged by 0.8 to 32x32, of which the middle 20 rows are kept
    assert beginning("content", content, style) is content
    torch.testing.assert_close(beginning("style", content, style)[..., 3:17, :], torch.ones(1, 3, 14, 32))
    assert beginning("style", content, style).shape == content.shape
    noise = beginning("noise", content, style, seed=1)
    assert noise.shape == content.shape and 0.25 < noise.std() < 0.33  # 1 / sqrt(12) = 0.29
    assert torch.equal(noise, beginning("noise", content, style, seed=1))
    assert not torch.equal(noise, beginning("noise", content, style, seed=2))
    with pytest.raises(UserError, match="init=zeros: no such start. Allowed: content, style, noise."):
        beginning("zeros", content, style)


def test_sizes_rise_to_the_last():
    assert sizes(512, False) == [512] and sizes(512, True) == [128, 256, 512] and sizes(200, True) == [200]
    assert sizes(512, [100, 300]) == [100, 300, 512] and sizes(512, [512]) == [512]
    for wrong in ([300, 200], [600], [100, 100]):
        with pytest.raises(UserError, match="give sizes that rise, none above size=512"):
            sizes(512, wrong)


def test_enlarging_keeps_the_picture():
    small, large = (
        to_tensor(open_rgb(ASSETS / "photos/val/castle.jpg").resize(shape)) for shape in [(48, 32), (96, 64)]
    )
    again = enlarge(small, (64, 96))
    assert again.shape == large.shape and again.min() >= 0 and again.max() <= 1
    assert (again - large).abs().mean() < 0.06
