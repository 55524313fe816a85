"""Less flicker: a network paints two frames differently, even where nothing changed between them.

Each result is blended with the one before it. The optical flow of the photographed frames moves the earlier result to
its new place. The blend is limited to where the flow can be trusted, as in Ruder, Dosovitskiy and Brox 2016, "Artistic
style transfer for videos", section 4.2, but as a filter behind any network. Knows frames; nothing about files or
networks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from stylenet.images import srgb
from stylenet.system.errors import UserError, one_line

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]

MOST = 0.95  # of the frame before: with more, what moves a little would smear
FLOWS = ("auto", "raft", "dis")
SIDE = 960  # pixels of the longer side that flow is computed at
TOLERANCE = 10.0  # levels of 255 by which a point may differ between frames: at twice that, nothing is kept of it
CUT = 0.35  # the part of a frame that must be found in the one before; with less, another shot has begun


def check(temporal: object) -> float:
    """``temporal`` as a float. Raises UserError where it is no number from 0 to 0.95, or OpenCV is not installed."""
    right = isinstance(temporal, int | float) and not isinstance(temporal, bool) and 0 <= temporal <= MOST
    if not right:
        raise UserError(f"temporal={temporal}: give a number from 0 (each frame by itself) to {MOST} (steady).")
    if temporal and find_spec("cv2") is None:
        raise UserError("temporal= needs OpenCV: pip install 'stylenet[video]', or give temporal=0.")
    return float(temporal)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Movement:
    """Where each pixel of a frame was in the one before, ``back (h, w, 2)`` in pixels, and how far that can be trusted,
    ``kept (h, w)`` from 0 to 1. Both at a reduced size.
    """

    back: np.ndarray
    kept: np.ndarray


class Steady:
    """Takes the frames of one film in order: ``steady(frame, stylized)`` is the result with less flicker.

    It has two parts, each for a thread of its own, and each for all frames in order: :meth:`movement` needs no result,
    so it can run ahead of the network, and :meth:`blended` needs no network.

    ``temporal``: how much of the previous result is kept where the scene is the same, 0 to 0.95. ``flow``: a function
    of two grey frames (h, w) of uint8. It gives where each pixel of the first lies in the second: (h, w, 2) of float32,
    pixels to the right and down. None for OpenCV's DIS. ``device``: where PyTorch blends, such as "cuda"; None: on the
    CPU by OpenCV, which takes over where the device's memory is full. Frames and results are (h, w, 3) of uint8 or
    uint16. A change of size or of shot starts afresh. Raises UserError as :func:`check` does.
    """

    def __init__(self, temporal: float, flow: Flow | None = None, device: str | None = None):
        self.temporal = check(temporal)
        self._flow = flow or (dis() if self.temporal else None)
        self._carried = carried if device is None else partial(carried_by_torch, device=device)
        self._seen: np.ndarray | None = None
        self._before: Any = None  # the last result, from 0 to 255, where it is blended

    def __call__(self, frame: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        return self.blended(self.movement(frame), stylized)

    def movement(self, frame: np.ndarray) -> Movement | None:
        """What moved since the frame before. None for the first frame, after a change of size or shot, and where
        nothing is kept.
        """
        if self._flow is None:
            return None
        small = _reduced(srgb.eight_bit(frame))
        before, self._seen = self._seen, small
        if before is None or before.shape != small.shape:
            return None
        found = Movement(*trusted(small, before, self._flow))
        return found if found.kept.mean() > CUT else None

    def blended(self, movement: Movement | None, stylized: np.ndarray) -> np.ndarray:
        """A result with what is kept of the one before."""
        if self._flow is None:
            return stylized
        import torch

        if self._before is not None and self._before.shape != stylized.shape:
            movement = None
        try:
            result, self._before = self._carried(stylized, self._before, movement, self.temporal)
        except torch.OutOfMemoryError:  # the network of the next frame needs the GPU's memory, too
            self._carried = carried
            self._before = None if self._before is None else self._before.cpu().numpy()
            result, self._before = carried(stylized, self._before, movement, self.temporal)
        return result


def carried(
    stylized: np.ndarray, before: np.ndarray | None, movement: Movement | None, part: float
) -> tuple[np.ndarray, np.ndarray]:
    """The result with ``part`` of the one before, as pixels and as what the next call takes as ``before``."""
    import cv2

    levels = np.iinfo(stylized.dtype).max / np.float32(255)
    result = stylized.astype(np.float32) / levels  # from 0 to 255, whatever the depth
    if before is not None and movement is not None:
        (height, width), (h, w) = result.shape[:2], movement.kept.shape
        back = cv2.resize(movement.back, (width, height)) * np.array([width / w, height / h], np.float32)
        moved = warped(before, back, cv2.INTER_CUBIC)
        result += part * cv2.resize(movement.kept, (width, height))[..., None] * (moved - result)
    np.clip(result, 0, 255, out=result)
    return np.rint(result * levels).astype(stylized.dtype), result


def carried_by_torch(
    stylized: np.ndarray, before: Any, movement: Movement | None, part: float, device: str
) -> tuple[np.ndarray, Any]:
    """:func:`carried` by PyTorch on a device, where ``before`` stays. It reads between pixels exactly, OpenCV at
    steps of 1/32: they differ by a level of 255 here and there.
    """
    import torch
    import torch.nn.functional as F

    def on_device(array: np.ndarray) -> Any:
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device).float()

    levels = np.iinfo(stylized.dtype).max / 255
    with torch.inference_mode():
        result = on_device(stylized) / levels
        if before is not None and movement is not None:
            (height, width), (h, w) = result.shape[:2], movement.kept.shape
            both = torch.cat([on_device(movement.back), on_device(movement.kept)[..., None]], 2)
            large = F.interpolate(both.permute(2, 0, 1)[None], (height, width), mode="bilinear")[0]
            across = torch.arange(width, device=device) + large[0] * (width / w)
            down = torch.arange(height, device=device)[:, None] + large[1] * (height / h)
            places = torch.stack([across * (2 / max(1, width - 1)) - 1, down * (2 / max(1, height - 1)) - 1], -1)
            planes = before.permute(2, 0, 1)[None]
            moved = F.grid_sample(planes, places[None], "bicubic", "border", align_corners=True)[0].permute(1, 2, 0)
            result += part * large[2, ..., None] * (moved - result)
        result.clamp_(0, 255)
        pixels = (result * levels).round_().to(torch.int32 if stylized.dtype == np.uint16 else torch.uint8)
        return pixels.cpu().numpy().astype(stylized.dtype, copy=False), result


def trusted(frame: np.ndarray, before: np.ndarray, flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of ``frame`` was in ``before`` (h, w, 2), and how far that can be trusted, 0 to 1 (h, w).

    Both pictures are (h, w, 3) of uint8. Pixels that were hidden are not trusted: there the flow back and forth does
    not return to its start, within the bound of Sundaram, Brox and Keutzer 2010,
    |there + back|^2 <= 0.01 (|there|^2 + |back|^2) + 0.5. Pixels whose look changed, as by a light that went on, are
    not trusted either.
    """
    import cv2

    grey, grey_before = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (frame, before))
    back, there = flow(grey, grey_before), flow(grey_before, grey)
    round_trip = warped(there, back)
    error = ((back + round_trip) ** 2).sum(-1)
    found = error <= 0.01 * ((back**2).sum(-1) + (round_trip**2).sum(-1)) + 0.5
    height, width = grey.shape
    across, down = np.arange(width) + back[..., 0], np.arange(height)[:, None] + back[..., 1]
    inside = (across >= -0.5) & (across <= width - 0.5) & (down >= -0.5) & (down <= height - 0.5)
    blurred = [cv2.GaussianBlur(one.astype(np.float32), (0, 0), 1.5) for one in (frame, before)]
    difference = np.abs(blurred[0] - warped(blurred[1], back)).max(-1)
    alike = np.clip(2 - difference / TOLERANCE, 0, 1)
    # The border of what was hidden is known to a pixel or two only: rather a little less than a ghost.
    sure = cv2.erode((found & inside).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    return back, cv2.GaussianBlur(sure * alike.astype(np.float32), (0, 0), 1.0)


def warped(picture: np.ndarray, flow: np.ndarray, interpolation: int = 1) -> np.ndarray:
    """``picture`` (h, w, c), read at each pixel's place plus ``flow`` (h, w, 2), in pixels. Edges continue outside."""
    import cv2

    height, width = flow.shape[:2]
    across = np.arange(width, dtype=np.float32) + flow[..., 0]
    down = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(picture, across, down, interpolation, borderMode=cv2.BORDER_REPLICATE)


def dis() -> Flow:
    """OpenCV's dense inverse search: Kroeger et al. 2016, "Fast optical flow using dense inverse search"."""
    cv2 = import_module("cv2")
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return search.calc(first, second, np.zeros((*first.shape, 2), np.float32))

    return flow


def raft(device: str = "cpu") -> Flow:
    """torchvision's small RAFT: Teed and Deng 2020. Raises UserError where its weights cannot be had."""
    import torch
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    try:
        net = raft_small(weights=Raft_Small_Weights.DEFAULT).eval().to(device)
    except (OSError, RuntimeError) as error:  # no connection; a broken download
        raise UserError(f"flow=raft: its weights cannot be had ({one_line(error)}). Give flow=dis.") from error

    @torch.inference_mode()
    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape
        sides = [max(128, -(-side // 8) * 8) for side in (height, width)]  # what the net takes
        both = [
            torch.from_numpy(np.pad(one, [(0, sides[0] - height), (0, sides[1] - width)], mode="edge"))
            for one in (first, second)
        ]
        pair = [(one.to(device).float() / 127.5 - 1).expand(1, 3, -1, -1).contiguous() for one in both]
        moved = net(*pair)[-1][0, :, :height, :width]
        return np.ascontiguousarray(moved.permute(1, 2, 0).float().cpu().numpy())

    return flow


def flow_of(name: str, device: str = "cpu") -> Flow:
    """The flow of a name in FLOWS. ``auto``: RAFT on a GPU where its weights can be had, else DIS.

    Raises UserError where RAFT is asked for and its weights cannot be had.
    """
    if name == "raft":
        return raft(device)
    if name == "auto" and device.startswith("cuda"):
        try:
            return raft(device)
        except UserError:
            pass
    return dis()


def _reduced(frame: np.ndarray) -> np.ndarray:
    """The frame (h, w, 3) with a longer side of SIDE pixels at most."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1, SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
