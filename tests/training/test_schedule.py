"""How far a run is, and the learning rate that follows: by hand."""

import math
import time

import pytest

from stylenet.system.errors import UserError
from stylenet.training.schedule import Schedule, rise, share


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_steps_are_counted_where_no_minutes_are_given(clock):
    run = Schedule(steps=8)
    assert [run.part(step) for step in (0, 2, 8, 9)] == [0, 0.25, 1, 1]
    clock[0] += 1e6
    run.set(run.look())
    assert run.part(2) == 0.25 and not run.is_over(7) and run.is_over(8)


def test_minutes_are_the_clocks_with_the_ending_in_them(clock):
    run = Schedule(steps=8, minutes=2)
    run.reserve = 20.0
    clock[0] += 50
    assert run.look() == 0.5 and run.part(1000) == 0  # it counts when it is said
    run.set(run.look())
    assert run.part(0) == 0.5 and not run.is_over(1000)
    run.set(0.25)
    assert run.part(0) == 0.5  # the learning rate does not rise again because the end got nearer
    clock[0] += 50
    run.set(run.look())
    assert run.is_over(1)


def test_a_run_that_goes_on_counts_what_was_spent_and_not_the_night_between(clock):
    first = Schedule(steps=8, minutes=2)
    clock[0] += 30
    first.set(first.look())
    saved = first.state_dict()
    clock[0] += 8 * 3600
    second = Schedule(steps=8, minutes=2)
    clock[0] += 15  # to start it takes its time too
    second.load_state_dict(saved)
    assert second.spent == 45 and second.part(0) == 0
    second.set(second.look())
    assert second.part(0) == 45 / 120


def test_what_comes_before_the_start_is_not_counted(clock):
    run = Schedule(steps=8, minutes=2)
    clock[0] += 3600  # a download
    run.start()
    clock[0] += 60
    assert run.look() == 0.5


def test_the_rate_falls_along_a_half_cosine_and_rises_late_where_norms_are_first():
    assert [share(part, 0.1) for part in (0, 0.5, 1, 2)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert share(0.25, 0) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert [rise(part, 0.2) for part in (0, 0.2, 0.21, 0.25, 1)] == pytest.approx([0, 0, 0.2, 1, 1])
    assert rise(0, 0) == 1


@pytest.mark.parametrize("minutes", [0, -1, True, "ten", float("nan"), 1e9])
def test_minutes_out_of_range_are_answered_in_a_line(minutes):
    with pytest.raises(UserError, match=r"minutes=.*above 0"):
        Schedule(5, minutes)
