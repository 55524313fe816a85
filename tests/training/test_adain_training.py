"""Training a decoder for any style, with the real VGG on small pictures."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import ROOT

from stylenet.data.datamodule import Photos
from stylenet.nets import checkpoint
from stylenet.nets.registry import build
from stylenet.system.errors import UserError
from stylenet.training.any_style import AnyStyle
from stylenet.training.trainer import trainer_for

NET = {"name": "adain", "widths": [8, 12, 16]}
LOSS = {
    "scale": "calibrated",
    "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0},
    "content_layers": {"relu3_3": 1.0},
    "style_weight": 8.0,
    "content_weight": 1.0,
}
# norms_first is that of experiment=any: a decoder has no norms, and must learn nevertheless
OPTIMIZER = {"lr": 3e-3, "warmup": 3, "final": 0.1, "norms": 1, "norms_first": 0.3}
TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "gradient_clip_val": 10.0,
    "log_every_n_steps": 1,
    "val_every": 100,
    "checkpoint_every": 100,
    "sheet_every": 100,
    "ema": 0.5,
}


def model(steps: int = 4, **changes: Any) -> AnyStyle:
    torch.manual_seed(0)
    return AnyStyle(NET | changes, LOSS, [], OPTIMIZER, steps)


def photos(steps: int = 4) -> Photos:
    return Photos(
        paintings=ROOT / "stylenet/assets/styles",
        val_paintings=1,
        steps=steps,
        seed=0,
        size=32,
        margin=8,
        batch_size=2,
        workers=0,
        val=1,
        val_size=32,
        scale=(0.5, 1.0),
        ratio=(0.8, 1.25),
        flip=True,
    )


class Terms(pl.Callback):
    """The loss of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self.losses.append(float(sum(pl_module.last_terms.values())))


def trained(module: AnyStyle, folder: Path, steps: int) -> list[float]:
    runner, terms = trainer_for(TRAINER, steps, folder, False), Terms()
    runner.callbacks.append(terms)  # type: ignore[attr-defined]
    runner.fit(module, photos(steps))
    return terms.losses


def test_the_loss_falls_and_only_the_decoder_learns(tmp_path: Path):
    module = model(30)
    before = {name: value.clone() for name, value in module.net.state_dict().items()}
    losses = trained(module, tmp_path, 30)
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    for name, value in module.net.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_all_of_the_decoder_learns_from_the_first_step():
    """Without norms there is nothing that could learn first."""
    settings = model(10).configure_optimizers()
    (group,) = settings["optimizer"].param_groups
    assert group["lr"] == pytest.approx(3e-3 / 3)  # a third of the warmup


def test_a_training_begins_from_another_of_its_kind(tmp_path: Path):
    other = build(**NET)
    for weight in other.parameters():
        weight.data += 0.1
    file = checkpoint.save(tmp_path / "other.safetensors", other, {"styles": []})
    module = model()
    module.start_from(str(file))
    for name, value in module.net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"name": "johnson", "widths": (4, 4, 4), "blocks": 0}, "or from a net=photowct: give init=photo"),
        ({"name": "photowct"}, "give these widths, or init=null"),
        (
            {"name": "adain", "widths": (4, 4, 4)},
            "sizes are others. Give the same net=... and its arguments, or init=null",
        ),
    ],
)
def test_it_does_not_begin_from_others(tmp_path: Path, other: dict[str, Any], told: str):
    file = checkpoint.save(tmp_path / "other.safetensors", build(**other), {"styles": []})
    with pytest.raises(UserError, match=told) as error:
        model().start_from(str(file))
    assert "\n" not in str(error.value)


def test_the_others_do_not_begin_from_it(tmp_path: Path):
    file = checkpoint.save(tmp_path / "other.safetensors", build(**NET), {"styles": []})
    predicted = {"name": "predicted", "widths": (4, 4, 4), "blocks": 1, "code": 4, "hidden": 4}
    torch.manual_seed(0)
    with pytest.raises(UserError, match="it has no .* Give the same net="):
        AnyStyle(predicted, LOSS, [], OPTIMIZER, 4).start_from(str(file))
