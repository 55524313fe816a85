"""Whether this process is a forked copy of one that has computed: the threads of its parent do not exist in it.

PyTorch, OpenVINO, ONNX Runtime and OpenCV would wait for these threads for ever. PyTorch in one thread works.
"""

import ctypes
import logging
import os
import sys
import weakref

log = logging.getLogger(__name__)

_used = False  # something was loaded here, or in what this process was forked from
_running: weakref.WeakSet[object] = weakref.WeakSet()
_copies = 0  # how many forks after that lie between the first process and this one


def use() -> None:
    """To be called before anything computes: from now on a fork of this process counts."""
    global _used
    if _copies:
        _settle()
    _used = True


def copies() -> int:
    """How many forks made this process after something was loaded: 0 in the process that a program began as."""
    return _copies


def keep(running: object) -> None:
    """Never end ``running`` in a fork of this process: it would wait there for its threads. The process is its end."""
    _running.add(running)


def _settle() -> None:
    """What computes here from now on: PyTorch, in one thread."""
    import torch  # here: it costs seconds, and the scripts ask for this module before

    if torch.get_num_threads() > 1:
        log.warning(
            "This process was forked from one that had loaded a style: it computes in one thread. "
            "Load the style after the fork only, or start processes by spawn, and each has all threads."
        )
        torch.set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


def _forked() -> None:
    global _copies
    _copies += _used
    for running in _running:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(running))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
