"""Training the decoder of photorealistic transfer, with the real VGG on small photos."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, RunScript

from stylenet.data.datamodule import Photos
from stylenet.losses.reconstruction import VARIANCE, ReconstructionLoss
from stylenet.nets import checkpoint
from stylenet.nets.photowct import PhotoWCT
from stylenet.system.errors import UserError
from stylenet.training.reconstruction import Reconstruction

FOLDER = ROOT / "stylenet/assets/photos/train"
LOSS: dict[str, Any] = {"pixel_weight": 2.0, "feature_weight": 3.0}
OPTIMIZER = {"lr": 1e-4, "warmup": 1, "final": 0.1, "norms": 1, "norms_first": 0.0}


def model(unpool: str = "proportions") -> Reconstruction:
    torch.manual_seed(0)
    return Reconstruction({"name": "photowct", "unpool": unpool}, LOSS, [], OPTIMIZER, 4)


def test_the_loss_by_hand():
    """Pixels: (0.2^2 + 0.4^2) / 2 = 0.1. Features 3 and 4 decoded as 3 and 0: 8 of the 12.5 that they have."""
    picture, photo = torch.tensor([0.2, 0.4]), torch.zeros(2)
    terms = ReconstructionLoss(**LOSS)(
        picture, photo, {"relu1_1": torch.tensor([3.0, 0.0])}, {"relu1_1": torch.tensor([3.0, 4.0])}
    )
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(
        {"pixels": 2 * 0.1 / VARIANCE, "features/relu1_1": 3 * 8 / 12.5}
    )
    read = ReconstructionLoss(**LOSS).readings(terms)
    assert {name: float(value) for name, value in read.items()} == pytest.approx(
        {"loss": 2 * 0.1 / VARIANCE + 3 * 8 / 12.5, "pixels": 0.1 / VARIANCE, "features/relu1_1": 8 / 12.5}
    )


def test_every_step_of_the_decoder_is_compared_with_what_the_encoder_had_there():
    """A decoder that is told what the encoder had makes no error but in the pixels."""
    module = model()
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        terms = module.terms(photo, None)
        assert [*terms] == ["pixels", *(f"features/relu{x}" for x in ("3_3", "3_2", "3_1", "2_2", "2_1", "1_2", "1_1"))]
        wanted, _ = module.net.encoder.seen(photo)
        order = [wanted[layer] for layer in reversed(wanted)][1:] + [photo]
        module.net.decoder.step = lambda name, x, left: order.pop(0)  # type: ignore[method-assign]
        assert all(float(term) == 0 for term in module.terms(photo, None).values())


def test_a_run_begins_with_a_fitted_decoder_learns_and_resumes(run_script: RunScript, tmp_path: Path):
    options = ["net=photowct", "logger=csv", "out=null", "data.size=64", "data.batch_size=2", "data.workers=0",
               "data.val=1", "data.val_size=48", "trainer.val_every=2"]  # fmt: skip
    told = run_script("train.py", *options, "steps=2")
    assert told.returncode == 0, told.stderr
    assert "by least squares" in told.stderr
    path = Path(told.stdout.strip())
    net, info = checkpoint.load(path)
    assert path.stem == "photo" and isinstance(net, PhotoWCT) and info["styles"] == []
    val = info["training"]["val"]
    assert val["pixels"] < 1.5  # 3 or more without the fit
    again = run_script("train.py", *options, "steps=4", f"resume={path.parent / 'last.ckpt'}")
    assert again.returncode == 0, again.stderr
    assert "by least squares" not in again.stderr
    begun, went_on = net.state_dict(), checkpoint.load(again.stdout.strip())[0].state_dict()
    for name, value in begun.items():
        assert torch.equal(value, went_on[name]) == name.startswith("encoder."), name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["net=photowct", "style=starry_night"], "net=photowct learns from photos and has no style: leave style= out."),
        (["style=photo"], "style=photo is chosen by net=photowct, this is net=johnson"),
        (["net=photowct", "add=starry_night"], "add=starry_night adds a style, and net=photowct has none"),
        (["net=photowct", "net.unpool=average"], "unpool='average'"),
        (["net=photowct", "init=starry_night"], "init=starry_night holds the net"),
    ],
)
def test_options_that_do_not_go_together(run_script: RunScript, options: list[str], told: str):
    found = run_script("train.py", *options, "logger=none", "steps=1")
    assert found.returncode == 2 and told in found.stderr and "Traceback" not in found.stderr


def test_a_training_begins_from_another_of_its_kind(tmp_path: Path):
    other = PhotoWCT()
    file = checkpoint.save(tmp_path / "other.safetensors", other, {"styles": []})
    module = model()
    module.start_from(str(file))
    for name, value in module.net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    with pytest.raises(UserError, match=r"init=.*give a checkpoint of the same net="):
        model("positions").start_from(str(file))


def test_the_same_photos_give_the_same_start(tmp_path: Path):
    """A resumed run must not differ, nor a second process."""
    found: list[Any] = []
    for _ in range(2):
        module = model()
        sizes: dict[str, Any] = {"size": 32, "margin": 0, "val_size": 32, "scale": (0.5, 1.0), "ratio": (0.8, 1.25)}
        photos = Photos(steps=1, seed=0, batch_size=2, workers=0, val=1, flip=True, root=FOLDER, **sizes)
        photos.setup("fit")
        found.append(module.fitted_to([photos.crops[k][None] for k in range(4)]))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])
