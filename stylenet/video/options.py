"""The user's options for films."""

from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from numbers import Real
from typing import Any

from stylenet.system.errors import UserError
from stylenet.video import temporal

STEADY = 0.6  # of the frame before: flicker falls to less than half, and strokes stay as sharp
FPS = Fraction(25)
SECONDS = 6.0  # of a walk over one picture
ENCODERS = ("cpu", "nvenc")  # what writes H.264: x264, or an NVIDIA GPU's own encoder
DECODERS = ("cpu", "nvdec")  # what reads films: FFmpeg's decoders, or an NVIDIA GPU's own


@dataclass(frozen=True)
class FilmOptions:
    """How films are stylized. Raises UserError for values that are not allowed.

    ``temporal``: how much of the previous result is kept, 0 to 0.95, see :class:`stylenet.video.temporal.Steady`; None
    for STEADY where OpenCV is installed, else 0, as in a preview, whose frames a second the flow would halve. ``flow``:
    a name of ``stylenet.video.temporal.FLOWS``. ``fps``: frames a second of numbered pictures and cameras, 0.01 to
    1000; None for 25. ``preview``: show them in a window as they happen, see :mod:`stylenet.files.live_engine`.
    ``walk``: styles that a film goes through, from the first to the last, see :mod:`stylenet.stylizing.walks`; a single
    picture becomes a film of so many ``seconds``, 0.1 to 3600, None for SECONDS. ``encoder``: a name of ENCODERS.
    ``decoder``: of DECODERS.
    """

    temporal: float | None = None
    flow: str = "auto"
    fps: float | None = None
    preview: bool = False
    walk: Any = None
    seconds: float | None = None
    encoder: str = "cpu"
    decoder: str = "cpu"

    def __post_init__(self) -> None:
        if self.temporal is not None:
            temporal.check(self.temporal)
        _in_range("fps", self.fps, 0.01, 1000, "frames a second, 0.01 to 1000, such as fps=25")
        _in_range("seconds", self.seconds, 0.1, 3600, "the length of a film in seconds, 0.1 to 3600, such as seconds=6")
        if self.seconds is not None and self.walk is None:
            raise UserError(f"seconds={self.seconds} is the length of a walk: give walk=, too.")
        if self.preview is True and self.walk is not None:
            raise UserError("preview=true shows one style, and walk= several: leave one of them out.")
        if self.flow not in temporal.FLOWS:
            raise UserError(f"flow={self.flow}: give {', '.join(temporal.FLOWS[:-1])} or {temporal.FLOWS[-1]}.")
        if self.encoder not in ENCODERS:
            raise UserError(f"encoder={self.encoder}: give {' or '.join(ENCODERS)}.")
        if self.decoder not in DECODERS:
            raise UserError(f"decoder={self.decoder}: give {' or '.join(DECODERS)}.")
        if not isinstance(self.preview, bool):
            raise UserError(f"preview={self.preview}: give true or false.")

    @property
    def rate(self) -> Fraction:
        """Frames a second of sources without times of their own."""
        return FPS if self.fps is None else Fraction(float(self.fps)).limit_denominator(1001)

    @property
    def length(self) -> float:
        """Seconds of a walk over one picture."""
        return SECONDS if self.seconds is None else float(self.seconds)

    @property
    def steadiness(self) -> float:
        """The part of the previous result that is kept, 0 to 0.95."""
        if self.temporal is None:
            return STEADY if find_spec("cv2") and not self.preview else 0.0
        return float(self.temporal)


def _in_range(name: str, value: Any, least: float, most: float, allowed: str) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (is_number and least <= float(value) <= most):
        raise UserError(f"{name}={value}: give {allowed}.")
