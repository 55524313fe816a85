"""What rides along with a training, each at its own job; all together are in test_train_script.py."""

import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from stylenet.system.errors import UserError
from stylenet.training.callbacks import LogMetrics, SampleGrid, callbacks
from stylenet.training.checkpointing import LAST, AtomicFiles, LastCheckpoint, WeightEMA
from stylenet.training.guards import NonFiniteGuard, StopOnSignal
from stylenet.training.schedule import Schedule


def module(norm: float = 1.0, **terms: float) -> Any:
    """What a module leaves after a step."""
    values = {name: torch.tensor(value) for name, value in terms.items()}
    return SimpleNamespace(
        last_terms=values,
        last_norm=torch.tensor(norm),
        loss=SimpleNamespace(readings=lambda terms: {"loss": sum(terms.values()), **terms}),
        log_dict=lambda *args, **settings: None,
        schedule=Schedule(1000),
    )


def trainer(step: int, steps: int = 1000, **more: Any) -> Any:
    optimizers = [SimpleNamespace(param_groups=[{"lr": 0.5}])]
    return SimpleNamespace(
        global_step=step, max_steps=steps, world_size=1, loggers=[], optimizers=optimizers, is_global_zero=True, **more
    )


# --- the guard


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_term_that_is_no_number_stops_the_run_with_step_term_and_advice(bad: float, tmp_path: Path):
    guard = NonFiniteGuard(tmp_path, checkpoint_every=100)
    guard.on_train_batch_end(trainer(1), module(style=1.0, content=2.0))
    with pytest.raises(UserError, match=r"step 2: content .*optimizer\.lr.*no checkpoint was written"):
        guard.on_train_batch_end(trainer(2), module(style=1.0, content=bad))


def test_a_gradient_that_is_no_number_is_named_and_the_last_checkpoint_too(tmp_path: Path):
    (tmp_path / LAST).touch()
    guard = NonFiniteGuard(tmp_path, checkpoint_every=100)
    with pytest.raises(UserError, match=rf"step 7: the gradient .*resume={tmp_path / LAST}"):
        guard.on_train_batch_end(trainer(7), module(norm=float("nan"), style=1.0))


def test_an_exploding_loss_names_its_largest_term(tmp_path: Path):
    guard = NonFiniteGuard(tmp_path, checkpoint_every=100)
    guard.on_train_batch_end(trainer(1), module(style=1.0, content=1.0))
    guard.on_train_batch_end(trainer(2), module(style=1500.0, content=400.0))  # 950 times the lowest
    with pytest.raises(UserError, match="step 3: style exploded"):
        guard.on_train_batch_end(trainer(3), module(style=1500.0, content=600.0))


def test_what_was_bad_in_between_is_still_known_at_the_end(tmp_path: Path):
    """On a GPU the figures are read only now and then: the first bad step must not get lost."""
    guard = NonFiniteGuard(tmp_path, checkpoint_every=100, every=10)
    guard._check = lambda names: None  # type: ignore[method-assign]
    for step, style in enumerate([1.0, float("nan"), float("nan"), 1.0], 1):
        guard.on_train_batch_end(trainer(step), module(style=style))
    del guard._check
    with pytest.raises(UserError, match="step 2: style"):
        guard.on_train_end(trainer(4), module(style=1.0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(bad: float, tmp_path: Path):
    """The loss before the step may be fine: the checkpoint would hold the weights after it."""
    net = torch.nn.Conv2d(3, 4, 3)
    guard, now = NonFiniteGuard(tmp_path, checkpoint_every=100), SimpleNamespace(net=net)
    guard.on_save_checkpoint(trainer(100), now, {})
    with torch.no_grad():
        net.weight[2, 1, 0, 0] = bad
    with pytest.raises(UserError, match=r"step 200: a weight .*no checkpoint was written"):
        guard.on_save_checkpoint(trainer(200), now, {})


# --- charts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("stylenet.training.callbacks.time.monotonic", lambda: clock.now)
    return clock


def told(seconds_a_step: float, steps: int, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said in the first minute of a training."""
    caplog.set_level(logging.INFO)
    charts, begun, step = LogMetrics(every=10), clock.now, 0
    while clock.now + seconds_a_step - begun <= 60 and step < steps:
        clock.now, step = clock.now + seconds_a_step, step + 1
        charts.on_train_batch_end(trainer(step, steps), module(style=1.0), None, torch.zeros(4), step)
    return caplog.messages


def test_a_long_training_is_told_in_the_first_minute_with_the_way_out(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
):
    """From 1 s to 17 s: 15 s are over at step 16; 9,984 steps at 1 s."""
    (line,) = told(1.0, 10_000, clock, caplog)
    assert line.startswith("about 2 h 46 min for the 9984 steps left") and "experiment=quick" in line


def test_a_very_slow_machine_is_told_in_the_first_minute_too(clock: SimpleNamespace, caplog: pytest.LogCaptureFixture):
    (line,) = told(25.0, 10_000, clock, caplog)
    assert "69 h" in line and "experiment=quick" in line


def test_a_short_training_gets_no_advice_and_a_very_short_one_no_word(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
):
    (line,) = told(1.0, 300, clock, caplog)
    assert line == "about 5 min for the 284 steps left"
    caplog.clear()
    assert told(0.01, 300, clock, caplog) == []


def test_charts_count_images_without_the_time_of_validations(clock: SimpleNamespace):
    logged: list[tuple[int, dict[str, float]]] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((step, metrics)))
    charts = LogMetrics(every=2)
    for step in range(1, 9):
        clock.now += 0.5
        now = trainer(step, callback_metrics={"val/loss": torch.tensor(7.0), "loss": torch.tensor(1.0)})
        now.loggers = [logger]
        charts.on_train_batch_end(now, module(norm=3.0, style=1.5), None, torch.zeros(4), step)
        if step == 4:
            clock.now += 100
            charts.on_validation_end(now, module(style=1.5))
    assert [step for step, _ in logged] == [2, 4, 4, 6, 8]
    assert logged[2][1] == {"val/loss": 7.0}
    assert logged[0][1] == {"train/loss": 1.5, "train/style": 1.5, "train/grad_norm": 3.0, "train/lr": 0.5}
    assert [metrics.get("train/images_per_s") for _, metrics in logged] == [None, 8.0, None, None, 8.0]


# --- the sheet


def test_the_sheet_has_photos_above_their_stylizations(tmp_path: Path):
    photos = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 100, 255)]
    net = torch.nn.Module()
    model = SimpleNamespace(
        eval=net.eval,
        train=net.train,
        prepare=lambda photo: photo / 255,
        samples=lambda photos: [photos, [1 - photo for photo in photos]],
        schedule=Schedule(1000),
    )
    now = trainer(5, datamodule=SimpleNamespace(val_photos=photos))
    SampleGrid(tmp_path, every=5, photos=2).on_train_batch_end(now, model)
    sheet = Image.open(tmp_path / "sheets/000005.jpg")
    assert sheet.size == (32, 32)
    corners = [sheet.getpixel(place) for place in ((8, 8), (24, 8), (8, 24), (24, 24))]
    expected = [0, 100, 255, 155]
    assert all(abs(a[0] - b) <= 2 for a, b in zip(corners, expected, strict=True))  # type: ignore[index]
    assert net.training


# --- stopping, and files


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_is_not_held_back(number: signal.Signals, tmp_path: Path):
    heard: list[int] = []
    before = signal.signal(number, lambda got, frame: heard.append(got))
    try:
        stopper, now = StopOnSignal(tmp_path), trainer(3, should_stop=False)
        stopper.on_train_start(now, None)
        os.kill(os.getpid(), number)
        assert now.should_stop and stopper.stopped_by == number and heard == []
        os.kill(os.getpid(), number)
        assert heard == [number]
    finally:
        stopper.on_exception(now, None, KeyboardInterrupt())
        handlers = [signal.getsignal(other) for other in StopOnSignal.signals if other != number]
        signal.signal(number, before)
    assert all(getattr(handler, "__qualname__", "").startswith("StopOnSignal") is False for handler in handlers)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    files = AtomicFiles()
    files.save_checkpoint({"step": 1}, tmp_path / LAST)
    with pytest.raises(Exception, match="pickle"):
        files.save_checkpoint({"step": lambda: 2}, tmp_path / LAST)
    assert files.load_checkpoint(tmp_path / LAST) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_what_a_kill_left_half_written_goes_with_the_next_checkpoint(tmp_path: Path):
    half = [tmp_path / f".{'0123456789abcdef'}{suffix}" for suffix in (".ckpt", ".jpg")]
    mine = [tmp_path / ".mine.ckpt", tmp_path / "other.ckpt"]
    for file in (*half, *mine):
        file.write_bytes(b"PK")
    AtomicFiles().save_checkpoint({"step": 1}, tmp_path / LAST)
    assert {*tmp_path.iterdir()} == {half[1], *mine, tmp_path / LAST}


def test_the_average_comes_after_whoever_saves_the_weights_for_resuming(tmp_path: Path):
    kinds = [type(callback) for callback in callbacks(tmp_path, 10, 100, 100, ema=0.9)]
    assert (
        kinds.index(NonFiniteGuard) < kinds.index(StopOnSignal) < kinds.index(WeightEMA) < kinds.index(LastCheckpoint)
    )
    assert WeightEMA not in [type(callback) for callback in callbacks(tmp_path, 10, 100, 100, ema=None)]
