"""Equivalent steps of a pass: on curves worked out by hand, and in a real optimisation."""

import pytest
import torch

from stylenet.data.paintings import open_painting
from stylenet.evaluation.equivalent_steps import BEYOND, as_record, equivalent_steps, median, run_until, summary
from stylenet.evaluation.metrics import squares
from stylenet.images.image_io import to_tensor
from stylenet.losses.perceptual import PerceptualLoss


@pytest.mark.parametrize(
    ("curve", "goal", "expected"),
    [
        ([8.0, 4.0, 2.0, 1.0], 3.0, 1.5),
        ([8.0, 4.0, 2.0, 1.0], 4.0, 1.0),
        ([8.0, 4.0, 5.0, 3.0], 3.5, 2.75),
        ([8.0, 4.0], 9.0, 0.0),
        ([8.0, 4.0], 3.9, None),
    ],
)
def test_the_first_crossing_counts_interpolated(curve: list[float], goal: float, expected: float | None):
    assert equivalent_steps(curve, goal) == expected


def test_the_seconds_are_those_until_the_crossing():
    run = as_record([8.0, 4.0, 2.0], [10.0, 11.0, 13.0], 3.0)
    assert (run["worth"], run["seconds"], run["iteration_s"]) == (1.5, 2.0, 1.5)


def test_a_photo_that_never_gets_there_counts_as_more_than_any_number():
    assert median([3.0, None, 1.0]) == 3.0
    assert median([3.0, None]) is None
    run = {"iteration_s": 0.5, "seconds": 1.0}
    found = summary([run | {"worth": 4.0}, run | {"worth": None, "seconds": None}, run | {"worth": 2.0}], 50)
    assert (found["median"], found["min"], found["max"], found["reached"], found["photos"]) == (4.0, 2.0, None, 2, 3)


def test_a_run_ends_a_few_iterations_after_the_goal_and_its_curve_falls():
    photo = squares(None, 64, 2)[0]
    layers = {"relu1_2": 1.0}, {"relu2_2": 1.0}
    loss = PerceptualLoss([to_tensor(open_painting("great_wave.jpg", 96))], "johnson", *layers, 1.0, 0.01)
    whole = run_until(loss, photo, photo, -1.0, 14)
    assert len(whole["curve"]) == 15 and whole["worth"] is None
    assert whole["curve"][-1] < 0.5 * whole["curve"][0]
    with torch.no_grad():
        assert whole["curve"][0] == pytest.approx(float(sum(loss(photo, photo).values())), rel=1e-4)
    goal = (whole["curve"][2] + whole["curve"][3]) / 2
    steps = []
    stopped = run_until(loss, photo, photo, goal, 14, steps.append)
    assert stopped["worth"] == pytest.approx(2.5, abs=0.02)
    assert len(stopped["curve"]) == 4 + BEYOND and steps == [*range(4 + BEYOND)]
