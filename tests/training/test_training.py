"""The training itself, with the real VGG on small pictures; whole runs of the script are in test_train_script.py."""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file

from stylenet.data.datamodule import Photos
from stylenet.data.paintings import open_painting
from stylenet.images.color import Colors
from stylenet.images.image_io import to_tensor
from stylenet.nets import checkpoint
from stylenet.nets.base import as_style_net
from stylenet.nets.registry import build
from stylenet.system.errors import UserError
from stylenet.training import precision as precisions
from stylenet.training.module import StyleTransfer
from stylenet.training.precision import has_bf16
from stylenet.training.schedule import Schedule
from stylenet.training.trainer import _spread, compiles, in_turn, stopped_by, train, trainer_for

NET = {"name": "johnson", "widths": [4, 4, 4], "blocks": 1}
LOSS = {
    "scale": "calibrated",
    "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0},
    "content_layers": {"relu2_2": 1.0},
    "style_weight": 4.0,
    "content_weight": 1.0,
}
OPTIMIZER = {"lr": 1e-2, "warmup": 2, "final": 0.1}
TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "gradient_clip_val": 10.0,
    "log_every_n_steps": 1,
    "val_every": 100,
    "checkpoint_every": 100,
    "sheet_every": 100,
    "ema": None,
}
ONE, TWO = ("starry_night",), ("starry_night", "great_wave")
STYLE = {"name": "starry_night", "image": "starry_night.jpg", "size": 48, "title": None}


def model(names: tuple[str, ...] = ONE, steps: int = 4, seed: int = 0, **changes: Any) -> StyleTransfer:
    torch.manual_seed(seed)
    styles = [{"name": name, "image": f"{name}.jpg", "size": 48, "title": None} for name in names]
    return StyleTransfer(
        NET | changes.get("net", {}),
        LOSS | changes.get("loss", {}),
        styles,
        OPTIMIZER | changes.get("optimizer", {}),
        steps,
    )


def photos(steps: int = 4, val: int = 1, margin: int = 0) -> Photos:
    shape: dict[str, Any] = {
        "size": 32,
        "margin": margin,
        "val_size": 32,
        "scale": (0.5, 1.0),
        "ratio": (0.8, 1.25),
        "flip": True,
    }
    return Photos(steps=steps, seed=0, batch_size=2, workers=0, val=val, **shape)


def trainer(folder: Path, steps: int = 4, **changes: Any) -> pl.Trainer:
    return trainer_for(TRAINER | changes, steps, folder, False)


class Diary(Callback):
    """The network's weights after each step."""

    def __init__(self) -> None:
        self.pages: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self.pages.append({key: value.clone() for key, value in pl_module.net.state_dict().items()})


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Ctrl-C stays what it was, whatever a test did to it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# --- the module


def test_the_rate_rises_over_the_warmup_and_falls_along_a_half_cosine():
    settings = model(steps=100, optimizer={"lr": 2.0, "warmup": 4}).configure_optimizers()
    adam, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(101):
        rates.append(adam.param_groups[0]["lr"])
        adam.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.5)  # a quarter of the height
    assert rates[50] == pytest.approx(2 * (0.1 + 0.9 / 2))  # half of the way down to a tenth
    assert rates[100] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(rates[3], rel=1e-3) and rates[3] == pytest.approx(2.0, rel=0.01)


def test_norms_learn_alone_at_first_and_faster_throughout():
    """By hand: over 100 steps, the norms alone for 40; then the others rise for 5. Halfway 0.1 + 0.9 / 2 is left."""
    module = model(
        TWO, steps=100, optimizer={"lr": 1.0, "warmup": 0, "norms": 10, "norms_first": 0.4}, net={"noise": 1}
    )
    settings = module.configure_optimizers()
    adam, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    of_styles, others = ({*map(id, group["params"])} for group in adam.param_groups)
    names = {id(one): name for name, one in module.net.named_parameters()}
    assert of_styles | others == {*names}
    assert {names[one] for one in of_styles} == {name for name in names.values() if "norm" in name or "noise" in name}
    rates = []
    for _ in range(101):
        rates.append([group["lr"] for group in adam.param_groups])
        adam.step()
        schedule.step()
    assert [rate[1] for rate in rates[:41]] == [0.0] * 41 and rates[0][0] == pytest.approx(10)
    half = 0.1 + 0.9 / 2
    assert rates[50] == [pytest.approx(10 * half), pytest.approx(half)]
    assert rates[42][1] == pytest.approx(rates[42][0] / 10 * 2 / 5)


def test_the_loss_sees_the_window_alone():
    """A network that paints its border may do there what it likes: neither loss nor gradient comes from there."""
    module = model(net={"upsample": "nearest"})
    module.loss.calibrate([torch.rand(2, 3, 24, 24)])
    content = torch.rand(2, 3, 32, 32)
    window = torch.arange(5, 29), torch.arange(2, 26)
    with torch.no_grad():
        inside = slice(5, 29), slice(2, 26)
        expected = module.loss(module.net(content)[:, :, *inside], content[:, :, *inside])
        seen = module.terms(content, None, window)
    assert {name: float(term) for name, term in seen.items()} == pytest.approx(
        {name: float(term) for name, term in expected.items()}, rel=1e-4
    )

    class PixelByPixel(torch.nn.Module):
        def forward(self, content: torch.Tensor, style: None) -> torch.Tensor:
            return 1 - content

    module.net = as_style_net(PixelByPixel())
    picture = content.clone().requires_grad_()
    total = torch.stack([*module.terms(picture, None, window).values()]).sum()
    (grad,) = torch.autograd.grad(total, picture)
    assert grad[:, :, *inside].abs().sum() > 0
    grad[:, :, *inside] = 0
    assert not grad.any()


def test_samples_take_turns_at_the_styles():
    two = model(TWO)
    assert model().choose_styles(0, 3) is None
    assert two.choose_styles(0, 3).tolist() == [[1, 0], [0, 1], [1, 0]]  # type: ignore[union-attr]
    assert two.choose_styles(3, 2).tolist() == [[0, 1], [1, 0]]  # type: ignore[union-attr]


def test_the_gradient_is_clipped_and_its_norm_from_before_is_charted():
    module = model()
    for parameter in module.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    first = next(module.net.parameters())
    assert first.grad is not None
    first.grad[0, 0, 0, :2] = torch.tensor([3.0, 4.0])
    module.configure_gradient_clipping(None, gradient_clip_val=1.0)
    assert float(module.last_norm) == 5
    assert first.grad[0, 0, 0, :2].tolist() == pytest.approx([0.6, 0.8], rel=1e-4)
    module.configure_gradient_clipping(None)
    assert float(module.last_norm) == pytest.approx(1, rel=1e-4)


def test_vgg_is_in_no_checkpoint_and_not_trained():
    module = model()
    trained = {name for name, _ in module.named_parameters()}
    assert trained == {f"net.{name}" for name, _ in module.net.named_parameters()}
    assert not [name for name in module.state_dict() if "conv" in name and not name.startswith("net.")]


def test_a_style_file_tells_which_picture_it_was(tmp_path: Path):
    file = tmp_path / "red one.png"
    Image.new("RGB", (64, 48), "red").save(file)
    style = {"name": "x", "image": str(file), "size": 48, "title": None}
    info = json.loads(json.dumps(StyleTransfer(NET, LOSS, [style], OPTIMIZER, 4).info()))
    assert info["styles"][0]["image"] == "red one.png" and str(tmp_path) not in json.dumps(info)
    assert info["styles"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"optimizer": {"lr": "fast"}}, r"optimizer\.lr=fast: give a number of 0 or more"),
        ({"optimizer": {"final": 2}}, r"optimizer\.final=2: give a number from 0 to 1"),
        ({"optimizer": {"warmup": 0.5}}, r"optimizer\.warmup=0\.5: give a whole number"),
        ({"loss": {"style_weight": "lots"}}, r"loss\.style_weight=lots: give a number"),
        ({"loss": {"scale": "nosuch"}}, "nosuch.*calibrated, johnson, pytorch_examples"),
        ({"loss": {"style_layers": {"relu9_9": 1.0}}}, "relu9_9.*relu1_2"),
        ({"net": {"widths": 8}}, "net=johnson"),
        ({"net": {"name": "nosuch"}}, "net=nosuch.*johnson"),
    ],
)
def test_a_wrong_number_or_name_is_answered_in_a_line(wrong: dict[str, Any], told: str):
    with pytest.raises(UserError, match=told) as answer:
        model(**wrong)
    assert "\n" not in str(answer.value)


# --- from another style


def test_init_takes_the_weights_for_each_of_the_new_styles(tmp_path: Path):
    torch.manual_seed(7)
    source = build("johnson", widths=[4, 4, 4], blocks=1)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    path = checkpoint.save(tmp_path / "other.safetensors", source, {})
    two = model(TWO)
    two.start_from(str(path))
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = source(photo)
        for style in torch.eye(2):
            assert torch.allclose(two.net(photo, style[None]), expected, atol=1e-5)


def test_init_finds_styles_by_name_and_begins_others_at_the_mean(tmp_path: Path):
    torch.manual_seed(7)
    source = build("johnson", widths=[4, 4, 4], blocks=1, n_styles=3)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    styles = [{"name": name} for name in ("udnie", "starry_night", "the_scream")]
    path = checkpoint.save(tmp_path / "three.safetensors", source, {"styles": styles})
    two = model(("great_wave", "starry_night"), net={"noise": 1})
    noise = two.net.get_parameter("noise.weight")
    assert 0.02 < noise.std() < 0.2  # a new network has little
    two.start_from(str(path))
    assert 0.2 < noise.std() < 0.9  # the source has none: more is added
    torch.nn.init.zeros_(noise)
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        mean, second = torch.full((1, 3), 1 / 3), torch.tensor([[0.0, 1.0, 0.0]])
        for style, theirs in zip(torch.eye(2), (mean, second), strict=True):
            assert torch.allclose(two.net(photo, style[None]), source(photo, theirs), atol=1e-5)


@pytest.mark.parametrize("net", [{"widths": [4, 4, 8]}, {"blocks": 2}])
def test_init_from_another_kind_of_net_is_answered_in_a_line(net: dict[str, Any], tmp_path: Path):
    path = checkpoint.save(tmp_path / "other.safetensors", model(net=net).net, {})
    with pytest.raises(UserError, match=r"init=.*other\.safetensors holds .*net=") as answer:
        model().start_from(str(path))
    assert "\n" not in str(answer.value)


# --- runs


def test_the_average_is_what_is_shipped_and_vgg_is_left_alone(tmp_path: Path):
    """By hand: the average starts at the first step's weights, then a = 0.9 a + 0.1 w."""
    module, diary, path = model(), Diary(), tmp_path / "a.safetensors"
    runner = trainer(tmp_path, ema=0.9)
    runner.callbacks.insert(0, diary)  # type: ignore[attr-defined]
    before = {name: value.clone() for name, value in module.loss.vgg.named_buffers()}
    train(module, photos(), runner, path)
    expected = diary.pages[0]
    for page in diary.pages[1:]:
        expected = {key: 0.9 * expected[key] + 0.1 * value for key, value in page.items()}
    shipped = load_file(path)
    assert all(torch.allclose(shipped[key], value, atol=1e-6) for key, value in expected.items())
    assert any(not torch.allclose(shipped[key], value, atol=1e-4) for key, value in diary.pages[-1].items())
    assert all(torch.equal(before[name], value) for name, value in module.loss.vgg.named_buffers())


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize("names", [ONE, TWO])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_halves_are_a_whole(names: tuple[str, ...], ema: float | None, tmp_path: Path):
    whole = train(model(names), photos(), trainer(tmp_path / "whole", ema=ema), tmp_path / "whole.safetensors")
    train(model(names), photos(), trainer(tmp_path / "half", 2, ema=ema), tmp_path / "half.safetensors")
    rest = trainer(tmp_path / "rest", ema=ema)
    last = str(tmp_path / "half/last.ckpt")
    resumed = train(model(names, seed=1), photos(), rest, tmp_path / "rest.safetensors", last)
    one, other = load_file(whole), load_file(resumed)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_noise_is_elsewhere_in_each_step(tmp_path: Path):
    """Else it is learned by heart, and every photo has the same spot in the same corner."""
    module, data, seen = model(net={"noise": 1}), photos(), []

    class Watching(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            seen.append(tuple(pl_module.net.noise.place.tolist()))

    runner = trainer(tmp_path, 3)
    runner.callbacks.append(Watching())  # type: ignore[attr-defined]
    train(module, data, runner, tmp_path / "a.safetensors")
    assert seen == [data.noise_place(k * data.batch_size) for k in range(3)] and len({*seen}) == 3


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize("margin", [0, 8])
def test_with_windows_and_noise_two_halves_are_a_whole(margin: int, tmp_path: Path):
    def run(name: str, steps: int = 4, last: str | None = None, seed: int = 0) -> Path:
        options: dict[str, Any] = {"net": {"noise": 1}, "optimizer": {"norms": 3, "norms_first": 0.5}, "seed": seed}
        runner = trainer(tmp_path / name, steps)
        return train(model(**options), photos(margin=margin), runner, tmp_path / f"{name}.safetensors", last)

    whole, _ = run("whole"), run("half", 2)
    one, other = (load_file(file) for file in (whole, run("rest", 4, str(tmp_path / "half/last.ckpt"), seed=1)))
    assert all(torch.equal(one[key], other[key]) for key in one) and one["noise.weight"].abs().min() > 0


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
def test_a_run_of_minutes_ends_in_time_and_a_resumed_one_counts_what_was_spent(tmp_path: Path, monkeypatch: Any):
    """The clock is made to go a second a step. Of 12 seconds 1.3 are kept: half a step, and four photos of the size of
    half a step each, at 0.4 of the time."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Ticking(Callback):
        def __init__(self, until: int) -> None:
            self.rates: list[float] = []
            self.until = until

        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            nonlocal now
            now += 1.0
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
            trainer.should_stop = len(self.rates) >= self.until

    def run(name: str, until: int = 1000, last: str | None = None) -> tuple[list[float], dict[str, Any]]:
        clock = Schedule(5, minutes=0.2)
        module = StyleTransfer(NET, LOSS, [dict(STYLE)], OPTIMIZER | {"warmup": 0}, clock.steps, schedule=clock)
        ticking, runner = Ticking(until), trainer(tmp_path / name, clock.steps)
        runner.callbacks.insert(0, ticking)  # type: ignore[attr-defined]
        path = train(module, photos(clock.steps, val=4), runner, tmp_path / f"{name}.safetensors", last)
        return ticking.rates, checkpoint.load(path)[1]["training"]

    rates, told = run("whole")
    assert (len(rates), told["steps"], told["minutes"]) == (11, 11, 0.2) and "loss" in told["val"]
    assert rates[0] == 1e-2 and rates == sorted(rates, reverse=True) and rates[-1] < 0.002
    run("half", until=5)
    now += 1000  # between the two nothing is spent
    rest, told = run("rest", last=str(tmp_path / "half/last.ckpt"))
    assert (len(rest), told["steps"]) == (6, 11)
    assert rest[1:] == pytest.approx(rates[6:])
    again, told = run("again", last=str(tmp_path / "rest/last.ckpt"))
    assert (again, told["steps"]) == ([], 11)  # the minutes are over
    clock = Schedule(5, minutes=0.2)
    module = StyleTransfer(NET, LOSS, [dict(STYLE)], OPTIMIZER, clock.steps, schedule=clock)
    now += 13
    with pytest.raises(UserError, match=r"minutes=0.2 were over before the first step: to begin took 0.2. Give more"):
        train(module, photos(clock.steps), trainer(tmp_path / "late", clock.steps), tmp_path / "late.safetensors")
    assert not (tmp_path / "late.safetensors").exists()


def test_half_a_style_file_is_half_the_size_and_nearly_the_same(tmp_path: Path):
    whole = train(model(steps=1), photos(1), trainer(tmp_path / "a", 1), tmp_path / "whole.safetensors")
    half = train(model(steps=1), photos(1), trainer(tmp_path / "b", 1), tmp_path / "half.safetensors", half=True)
    one, other = load_file(whole), load_file(half)
    assert all(value.dtype == torch.float16 for value in other.values())
    assert all(torch.allclose(one[key], other[key].float(), atol=1e-3) for key in one)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own
@pytest.mark.parametrize("works", [True, False])
def test_a_compiled_run_learns_the_same_and_one_that_cannot_compile_goes_on(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """With the compiler's front only: its back, the C++ compiler, is torch's to test, and takes a minute."""

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    backend = partial(torch.compile, backend="eager" if works else broken)
    monkeypatch.setattr(torch, "compile", backend)
    module = model(TWO)
    module.compile_training()
    with caplog.at_level("WARNING", "stylenet.training.module"):
        compiled = train(module, photos(), trainer(tmp_path / "a", ema=0.9), tmp_path / "a.safetensors")
    assert ("going on without: " in caplog.text) == (not works)
    plain = train(model(TWO), photos(), trainer(tmp_path / "b", ema=0.9), tmp_path / "b.safetensors")
    assert load_file(compiled).keys() == load_file(plain).keys()
    ends = [checkpoint.load(path)[1]["training"]["val"]["loss"] for path in (compiled, plain)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


def test_a_run_compiles_only_where_that_is_asked_for():
    assert compiles(True) and not compiles(False) and not compiles("auto")
    with pytest.raises(UserError, match="compile=maybe: give true, false or auto"):
        compiles("maybe")


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_a_run_without_validation_photos_ships_a_style_without_figures(tmp_path: Path):
    runner = trainer(tmp_path, 1)
    path = train(model(steps=1), photos(1, val=0), runner, tmp_path / "a.safetensors")
    _, info = checkpoint.load(path)
    assert info["training"]["val"] == {} and info["training"]["steps"] == 1 and stopped_by(runner) is None


def test_the_figures_are_taken_at_the_end_even_between_two_validations(tmp_path: Path):
    path = train(model(), photos(val=2), trainer(tmp_path, val_every=3), tmp_path / "a.safetensors")
    _, info = checkpoint.load(path)
    val = info["training"]["val"]
    assert val["loss"] == pytest.approx(4 * val["style"] + val["content"], rel=1e-3)


class Watcher(Callback):
    """The steps at which the run was validated; SIGTERM comes at step ``stop``."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.validated: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if trainer.global_step == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.validated.append(trainer.global_step)


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 4]), (3, [3, 4])])
def test_the_end_is_validated_once(every: int, expected: list[int], tmp_path: Path):
    runner, watcher = trainer(tmp_path, val_every=every), Watcher()
    runner.callbacks.append(watcher)  # type: ignore[attr-defined]
    train(model(), photos(), runner, tmp_path / "a.safetensors")
    assert watcher.validated == expected


def test_a_stopped_run_is_not_held_up_and_claims_no_figures_of_earlier_weights(tmp_path: Path):
    runner, watcher = trainer(tmp_path, val_every=2), Watcher(stop=3)
    runner.callbacks.append(watcher)  # type: ignore[attr-defined]
    _, info = checkpoint.load(train(model(), photos(), runner, tmp_path / "a.safetensors"))
    assert stopped_by(runner) == signal.SIGTERM and watcher.validated == [2]
    assert info["training"]["steps"] == 3 and info["training"]["val"] == {}


def test_ctrl_c_at_a_moment_that_is_not_ours_is_passed_on(tmp_path: Path):
    class Impatient(Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            raise KeyboardInterrupt

    runner = trainer(tmp_path)
    runner.callbacks.insert(0, Impatient())  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        train(model(), photos(), runner, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_a_checkpoint_of_another_run_is_answered_in_a_line(tmp_path: Path):
    train(model(), photos(), trainer(tmp_path), tmp_path / "a.safetensors")
    for other in (model(TWO), model(net={"blocks": 2})):
        with pytest.raises(UserError, match=r"another network, loss or number of styles"):
            train(other, photos(), trainer(tmp_path / "x"), tmp_path / "b.safetensors", str(tmp_path / "last.ckpt"))
    with pytest.raises(UserError, match="not a checkpoint of a training"):
        train(model(), photos(), trainer(tmp_path / "x"), tmp_path / "b.safetensors", str(tmp_path / "a.safetensors"))


# --- the trainer


@pytest.mark.parametrize(
    ("able", "times", "precision"),
    [
        ({"amx_bf16": True}, (0.2, 0.1), "bf16-mixed"),
        ({"avx512_bf16": True}, (0.2, 0.3), "32-true"),  # it has the instruction, and not its speed
        ({"avx512_bf16": True}, (0.2, 0.19), "32-true"),  # as good as a tie, which the next run may see otherwise
        ({"avx2": True}, (0.2, 0.1), "32-true"),
    ],
)
def test_precision_auto_is_bf16_where_the_processor_has_it_and_gains_by_it(
    able: dict[str, bool], times: tuple[float, float], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    taken = dict(zip((torch.float32, torch.bfloat16), times, strict=True))
    monkeypatch.setattr(precisions, "_seconds", taken.__getitem__)
    monkeypatch.setenv(precisions.KNOWN, "")  # so that it is as before afterwards
    monkeypatch.delenv(precisions.KNOWN)
    assert trainer(tmp_path, precision="auto").precision == precision
    monkeypatch.setattr(precisions, "_seconds", lambda dtype: pytest.fail("asked again"))
    assert trainer(tmp_path, precision="auto").precision == precision


def test_a_cpu_is_asked_about_itself_even_beside_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert has_bf16("auto") and has_bf16("gpu") and not has_bf16("cpu")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ema": 1.5}, r"trainer\.ema=1\.5: give a number from 0 to 1"),
        ({"val_every": 0}, r"trainer\.val_every=0: give a whole number of 1 or more"),
        ({"sheet_every": 2.5}, r"trainer\.sheet_every=2\.5"),
        ({"accelerator": "abacus"}, "trainer: .*abacus"),
        ({"no_such_thing": 1}, "trainer: .*no_such_thing"),
    ],
)
def test_a_wrong_setting_is_answered_in_a_line(wrong: dict[str, Any], told: str, tmp_path: Path):
    with pytest.raises(UserError, match=told) as answer:
        trainer(tmp_path, **wrong)
    assert "\n" not in str(answer.value)


def test_color_match_gives_the_painting_the_colours_of_the_photos():
    noise = torch.rand(4, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    photos = noise[:, 3:] * 0.3 + noise[:, :3] * 0.05 + 0.3  # grey for the most part, as photos are
    style = {"name": "starry_night", "image": "starry_night.jpg", "size": 64, "title": None}
    matched = StyleTransfer(NET, LOSS, [style | {"color": "match"}], OPTIMIZER, 4, lambda: Colors([photos]))
    painting = to_tensor(matched.pictures[0])
    torch.testing.assert_close(painting.mean((0, 2, 3)), photos.mean((0, 2, 3)), atol=0.01, rtol=0)
    torch.testing.assert_close(painting.std((0, 2, 3)), photos.std((0, 2, 3)), atol=0.01, rtol=0)
    plain = StyleTransfer(NET, LOSS, [style], OPTIMIZER, 4, lambda: Colors([photos]))
    assert plain.pictures[0].tobytes() == open_painting("starry_night.jpg", 64).tobytes()
    assert matched.info()["styles"][0]["color"] == "match"
    harsh = StyleTransfer(NET, LOSS, [style | {"color": "match"}], OPTIMIZER, 4, lambda: Colors([noise[:, :3].round()]))
    plain = StyleTransfer(NET, LOSS, [style], OPTIMIZER, 4)
    contrasts = [to_tensor(net.pictures[0]).std((0, 2, 3)) for net in (harsh, plain)]
    assert (contrasts[0] < 1.55 * contrasts[1]).all()  # a painting is not made harsh


# --- explosions


class Exploding(Callback):
    """The step ``at`` leaves weights that are finite and paint nonsense."""

    def __init__(self, at: int, by: float = 1e4):
        self.at, self.by = at, by

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if trainer.global_step == self.at:
            with torch.no_grad():
                for weight in pl_module.net.last.parameters():
                    weight.mul_(self.by)


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize(
    ("at", "more"),
    [(4, {}), (4, {"val_every": 2}), (4, {"ema": 0.5}), (6, {})],  # the last one as the run ends
)
def test_weights_that_exploded_in_the_step_of_a_checkpoint_are_not_the_last_good_one(
    at: int, more: dict[str, Any], tmp_path: Path
):
    """In the same step the loss is still that of the weights before it."""
    runner = trainer(tmp_path, 6, checkpoint_every=2, **more)
    runner.callbacks.insert(0, Exploding(at))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=rf"step {at}: .* exploded .*last good checkpoint is {tmp_path}/last.ckpt"):
        train(model(steps=6, net={"output": "linear"}), photos(6), runner, tmp_path / "a.safetensors")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == at - 2
    rest = trainer(tmp_path / "rest", 6, checkpoint_every=2, **more)
    train(
        model(steps=6, net={"output": "linear"}),
        photos(6),
        rest,
        tmp_path / "b.safetensors",
        str(tmp_path / "last.ckpt"),
    )


def test_a_run_that_goes_well_is_the_same_however_often_it_looks_after_its_weights(tmp_path: Path):
    often = train(model(TWO), photos(), trainer(tmp_path / "a", checkpoint_every=1), tmp_path / "a.safetensors")
    once = train(model(TWO), photos(), trainer(tmp_path / "b"), tmp_path / "b.safetensors")
    one, other = load_file(often), load_file(once)
    assert all(torch.equal(one[key], other[key]) for key in one)


# --- several runs at once


def test_runs_at_once_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = [in_turn(TRAINER | {"accelerator": "auto"}, number)["devices"] for number in range(4)]
    assert chosen == [[0], [1], [0], [1]]
    assert in_turn(TRAINER, 1)["devices"] == 1  # on a processor
    assert in_turn(TRAINER | {"accelerator": "gpu", "devices": [1]}, 0)["devices"] == [1]  # as it was said
    assert in_turn(TRAINER | {"accelerator": "gpu", "devices": "auto"}, 1)["devices"] == "auto"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert in_turn(TRAINER | {"accelerator": "gpu"}, 3)["devices"] == 1
    settings = {**TRAINER, "devices": [1], "strategy": "auto"}
    _spread(settings)
    assert settings["strategy"] == "auto"  # one device, whichever it is, needs no other process


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize("key", ["_instantiator", "_class_path", "_target_"])
def test_a_hostile_checkpoint_runs_nothing(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """GHSA-qqmf-gpg7-g8gw: hyperparameters that name a function, which Lightning imported and called. As resume=, as
    ckpt= and as init= the file is used for its weights, or refused, and what it names is not even imported.
    """
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('harm').touch()\ndef run(*given, **named): return given[0]"
    )
    monkeypatch.syspath_prepend(tmp_path)
    train(model(), photos(), trainer(tmp_path / "half", 2), tmp_path / "half.safetensors")
    last = tmp_path / "half" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    assert saved["stylenet"]["net"]["name"] == "johnson"
    for name in ("hyper_parameters", "datamodule_hyper_parameters"):
        saved[name] = {**saved.get(name, {}), key: "planted.run"}
    saved |= {"hparams_name": "kwargs", "datamodule_hparams_name": "kwargs", key: "planted.run"}
    saved["stylenet"] |= {key: "planted.run"}
    torch.save(saved, last)
    train(model(seed=1), photos(), trainer(tmp_path / "rest"), tmp_path / "rest.safetensors", str(last))
    checkpoint.load(last)
    model().start_from(str(last))
    assert not (tmp_path / "harm").exists() and "planted" not in sys.modules


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It may be out of shared memory.",
        "unable to write to file </torch_7_1_0>: No space left on device (28)",
    ],
)
def test_shared_memory_that_fills_in_the_midst_is_told_in_a_line(said: str, tmp_path: Path, monkeypatch: Any):
    def fit(*given: Any, **named: Any) -> None:
        raise RuntimeError(said)

    runner = trainer(tmp_path)
    monkeypatch.setattr(runner, "fit", fit)
    with pytest.raises(UserError, match="The shared memory is full .*data.workers=0.*--shm-size"):
        train(model(), photos(), runner, tmp_path / "a.safetensors")
