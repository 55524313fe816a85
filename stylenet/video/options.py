"""The user's options for films."""

from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from numbers import Real

from stylenet.system.errors import UserError
from stylenet.video import temporal

STEADY = 0.6  # of the frame before: flicker falls to less than half, and strokes stay as sharp
FPS = Fraction(25)


@dataclass(frozen=True)
class FilmOptions:
    """How films are stylized. Raises UserError for values that are not allowed.

    ``temporal``: how much of the previous result is kept, 0 to 0.95, see :class:`stylenet.video.temporal.Steady`; None
    for STEADY where OpenCV is installed, else 0, as in a preview, whose frames a second the flow would halve. ``flow``:
    a name of ``stylenet.video.temporal.FLOWS``. ``fps``: frames a second of numbered pictures and cameras, 0.01 to
    1000; None for 25. ``preview``: show them in a window as they happen, see :mod:`stylenet.files.live_engine`.
    """

    temporal: float | None = None
    flow: str = "auto"
    fps: float | None = None
    preview: bool = False

    def __post_init__(self) -> None:
        if self.temporal is not None:
            temporal.check(self.temporal)
        if self.flow not in temporal.FLOWS:
            raise UserError(f"flow={self.flow}: give {', '.join(temporal.FLOWS[:-1])} or {temporal.FLOWS[-1]}.")
        is_number = isinstance(self.fps, Real) and not isinstance(self.fps, bool)
        if self.fps is not None and not (is_number and 0.01 <= float(self.fps) <= 1000):
            raise UserError(f"fps={self.fps}: give frames a second, 0.01 to 1000, such as fps=25.")
        if not isinstance(self.preview, bool):
            raise UserError(f"preview={self.preview}: give true or false.")

    @property
    def rate(self) -> Fraction:
        """Frames a second of sources without times of their own."""
        return FPS if self.fps is None else Fraction(float(self.fps)).limit_denominator(1001)

    @property
    def steadiness(self) -> float:
        """The part of the previous result that is kept, 0 to 0.95."""
        if self.temporal is None:
            return STEADY if find_spec("cv2") and not self.preview else 0.0
        return float(self.temporal)
