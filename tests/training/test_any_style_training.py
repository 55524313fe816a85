"""Training for any style: the network learns to look at the painting, and looks at it once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.nets.style_prediction import Predicted
from stylenet.training.any_style import AnyStyle

STYLES = Path(__file__).parents[2] / "stylenet/assets/styles"
PHOTOS = STYLES.parent / "photos/val"
NET = {"name": "predicted", "widths": [8, 8, 8], "blocks": 1, "code": 4, "hidden": 8, "noise": 1}
LOSS: dict[str, Any] = {
    "scale": "calibrated",
    "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0},
    "content_layers": {"relu3_3": 1.0},
    "style_weight": 8.0,
    "content_weight": 1.0,
}


def model(**loss: Any) -> AnyStyle:
    torch.manual_seed(0)
    made = AnyStyle(NET, LOSS | loss, [], {"lr": 1e-2, "warmup": 1, "final": 1.0}, 10)
    made.loss.calibrate(photos().split(1))
    assert isinstance(made.net, Predicted)
    made.net.standardise(made.net.statistics(paintings()))
    return made


def paintings() -> Tensor:
    each = [to_tensor(open_rgb(STYLES / f"{name}.jpg").resize((48, 48))) for name in ("great_wave", "starry_night")]
    return torch.cat(each)


def photos() -> Tensor:
    return torch.cat([to_tensor(open_rgb(PHOTOS / f"{name}.jpg").resize((48, 48))) for name in ("castle", "red_panda")])


def test_one_look_at_a_painting_is_enough():
    """The loss's VGG and the one in the style network are the same, so its targets and the code come from one pass."""
    made = model()
    torch.nn.init.normal_(made.net.predict[-1].weight)  # type: ignore[arg-type]
    calls: list[int] = []
    made.net.encoder.register_forward_hook(lambda *_: calls.append(1))
    content, code, targets = made.inputs((photos(), paintings()), 0)
    assert not calls and targets is not None and code is not None
    torch.testing.assert_close(code, made.net.style_of(paintings()))
    expected = made.loss.targets_of(paintings())
    for layer, each in targets.grams.items():
        torch.testing.assert_close(each, expected.grams[layer])
    assert torch.equal(content, photos())


@pytest.mark.parametrize("loss", [{"pooling": "average"}, {"style_layers": {"relu1_2": 1.0, "relu2_2": 1.0}}])
def test_two_looks_where_the_loss_sees_otherwise(loss: dict[str, Any]):
    """A loss with another pooling, or of shallow layers alone, changes nothing of the code."""
    made, usual = model(**loss), model()
    for each in (made, usual):
        torch.nn.init.constant_(each.net.predict[-1].weight, 0.5)  # type: ignore[arg-type]
    found, expected = (each.inputs((photos(), paintings()), 0)[1] for each in (made, usual))
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected)


def test_it_learns_which_painting_it_is_given():
    """After some steps, a photo in the style of the one painting is nearer to that painting than to the other."""
    made = model()
    own = made._first_to_learn()
    groups = [
        {"params": [one for name, one in made.net.named_parameters() if one.requires_grad and (name in own) == first]}
        for first in (True, False)
    ]
    adam = torch.optim.Adam([groups[0] | {"lr": 3e-2}, groups[1] | {"lr": 5e-3}])
    made.net.train()
    for _ in range(60):
        content, code, targets = made.inputs((photos(), paintings()), 0)
        terms = made.terms(content, code, targets=targets)
        adam.zero_grad()
        torch.stack([*terms.values()]).sum().backward()
        adam.step()
    made.net.eval()
    codes = made.net.style_of(paintings())
    with torch.no_grad():
        output = made.net(photos()[:1].expand(2, -1, -1, -1), codes)
        right, wrong = (
            made.loss.readings(made.loss(output, photos(), made.loss.targets_of(each)))["style"]
            for each in (paintings(), paintings().flip(0))
        )
    assert right < 0.98 * wrong, (right, wrong)


def test_the_sheet_has_the_paintings_above():
    made = model()
    made._photos = lambda: type("Held", (), {"val_paintings": (paintings() * 255).to(torch.uint8)})()  # type: ignore[method-assign]
    made.net.eval()
    with torch.no_grad():
        rows = made.samples([photos()[:1], photos()[1:]])
    assert [len(row) for row in rows] == [2, 2, 2]
    torch.testing.assert_close(rows[0][1], paintings()[1:], atol=1 / 255, rtol=0)
    assert isinstance(made.net, Predicted)
