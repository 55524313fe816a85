"""Whether this process was forked after computing began: it does not have its parent's threads.

PyTorch, OpenVINO, ONNX Runtime and OpenCV would wait for these threads forever. Single-threaded PyTorch works.
"""

import ctypes
import logging
import os
import sys
import weakref

log = logging.getLogger(__name__)

_used = False  # a style was loaded in this process or an ancestor
_running: weakref.WeakSet[object] = weakref.WeakSet()
_copies = 0  # forks since then, between the first process and this one


def use() -> None:
    """Call this before any computation: forks are counted from now on."""
    global _used
    if _copies:
        _settle()
    _used = True


def copies() -> int:
    """Number of forks between the process that first loaded a style and this one; 0 without a fork."""
    return _copies


def keep(running: object) -> None:
    """Never destroy ``running`` in a fork of this process: its destructor would wait for missing threads."""
    _running.add(running)


def _settle() -> None:
    """Limit this process to single-threaded PyTorch."""
    import torch  # imported late: it takes seconds

    if torch.get_num_threads() > 1:
        log.warning(
            "This process was forked after a style was loaded: it computes in one thread. "
            "To use all threads, load the style after the fork only, or start processes with spawn."
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
