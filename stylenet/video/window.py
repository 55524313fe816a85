"""A window that shows frames, by OpenCV. Knows arrays and keys; nothing about films or networks."""

import os
import sys
from importlib import import_module
from typing import Any

import numpy as np

from stylenet.system.errors import UserError

KEYS = (ord("q"), ord("Q"), 27)  # 27: Esc


def prepare() -> Any:
    """OpenCV, which must be imported before PyAV: both bring libxcb, and with PyAV's a window hangs for ever.

    Raises UserError where OpenCV is missing, PyAV came first, or there is no screen.
    """
    late = "av" in sys.modules and "cv2" not in sys.modules
    try:
        cv2 = import_module("cv2")
    except ImportError as error:
        raise UserError("preview=true needs OpenCV with windows: pip install opencv-python.") from error
    if sys.platform.startswith("linux"):
        if late:
            raise UserError("preview=true hangs where PyAV is imported before OpenCV: import cv2 first, then av.")
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Qt would end the whole process here, without an exception.
            raise UserError(
                "preview=true needs a screen, but DISPLAY is unset: start it on a desktop, or leave it out."
            )
    return cv2


class Window:
    """A window of ``size``, width and height in pixels, that can be resized. q, Esc and its cross end it.

    Raises UserError where there is no screen, or an OpenCV that has no windows.
    """

    def __init__(self, title: str, size: tuple[int, int]):
        self._cv2: Any = prepare()
        self._title = title
        try:
            flags = ("WINDOW_NORMAL", "WINDOW_KEEPRATIO", "WINDOW_GUI_NORMAL")  # the last: without Qt's buttons
            self._cv2.namedWindow(title, sum(getattr(self._cv2, flag) for flag in flags))
            self._cv2.resizeWindow(title, *size)
        except self._cv2.error as error:
            raise UserError(
                "preview=true needs an OpenCV with windows, and the one here has none: "
                "pip uninstall -y opencv-python-headless && pip install opencv-python."
            ) from error

    def show(self, rgb: np.ndarray) -> None:
        """Show a frame (h, w, 3), uint8. It is on the screen after the next :meth:`ended`."""
        self._cv2.imshow(self._title, np.ascontiguousarray(rgb[..., ::-1]))

    def ended(self) -> bool:
        """Draw, handle what the user did, and return whether the window is to be closed, or is closed already."""
        key = self._cv2.waitKey(1)
        if key >= 0 and key & 0xFF in KEYS:
            return True
        return self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window, if the user has not."""
        try:
            self._cv2.destroyWindow(self._title)
            self._cv2.waitKey(1)  # closes it on a Mac
        except self._cv2.error:
            pass
