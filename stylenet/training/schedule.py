"""The progress of a training, by steps or by the clock, and its learning rate. Knows no network."""

import math
import time
from typing import Any

from stylenet.system.errors import UserError

ENDLESS = 2**31 - 1  # steps of a run that the clock ends
LONGEST = 60 * 24 * 365  # minutes
RISE = 0.05  # part of a run over which the other weights' learning rate rises, once the norms have learned alone


class Schedule:
    """A run of ``steps`` steps, or of ``minutes`` minutes from the creation of this object to the end of the run:
    ``reserve`` seconds are kept for the work after the last step.

    Raises UserError for minutes out of range.
    """

    def __init__(self, steps: int, minutes: float | None = None):
        if minutes is not None:
            number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
            if not number or not 0 < minutes <= LONGEST:
                raise UserError(f"minutes={minutes}: give a number above 0, at most {LONGEST:,} (a year).")
        self.steps = steps if minutes is None else ENDLESS
        self.seconds = None if minutes is None else minutes * 60.0
        self.reserve = 0.0
        self._began, self._before, self._part = time.monotonic(), 0.0, 0.0

    @property
    def spent(self) -> float:
        """Seconds of this run so far, those before it was resumed included."""
        return self._before + time.monotonic() - self._began

    def start(self) -> None:
        """Begin now: what was done since this object was made does not count."""
        self._began = time.monotonic()

    def look(self) -> float:
        """Read the clock and return the share of the time that is used. :meth:`set` applies it, because several
        processes must agree.
        """
        return min(1.0, self.spent / max(1e-9, self.seconds - self.reserve)) if self.seconds is not None else 0.0

    def set(self, part: float) -> None:
        """What part of the time is gone; it never goes back."""
        self._part = max(self._part, part)

    def part(self, step: int) -> float:
        """What part of the run is done, 0 to 1, after ``step`` steps."""
        return self._part if self.seconds is not None else min(1.0, step / self.steps)

    def is_over(self, step: int) -> bool:
        return self.part(step) >= 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent, "reserve": self.reserve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on: the time already spent counts."""
        self._before, self.reserve = state["spent"], state["reserve"]


def share(part: float, final: float) -> float:
    """The share of the learning rate that is left after ``part`` of a run: a half cosine from 1 to ``final``."""
    return final + (1 - final) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, part)))


def rise(part: float, start: float) -> float:
    """0 up to the part ``start`` of a run, 1 after RISE more of it, straight between; 1 throughout for a start of 0."""
    return 1.0 if start <= 0 else min(1.0, max(0.0, (part - start) / RISE))
