"""Read float arrays from a pickle without executing it. Knows only how numpy pickles an array.

A pickle is a program: every name in it is imported and called. Here stand-ins replace the three names that numpy writes
for an array. Every other name is rejected.
"""

import io
import pickle
from typing import Any

import numpy as np

_FLOATS = {"f2", "f4", "f8"}


def _ndarray(*args: object) -> None:
    raise pickle.UnpicklingError("the pickle calls numpy.ndarray itself, which could allocate any amount of memory")


def _reconstruct(kind: object, shape: object, code: object) -> np.ndarray:
    """An empty array, whatever shape the pickle requests; the pickle's state fills it later."""
    return np.empty(0, "f4")


def _dtype(code: object, *flags: object) -> np.dtype:
    if code not in _FLOATS:
        raise pickle.UnpicklingError(f"the pickle holds an array of {code!r}; only float arrays are allowed")
    return np.dtype(str(code), copy=True)  # a copy: the state that follows sets its byte order


_ALLOWED = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # numpy 2
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle imports {module}.{name}; only float arrays are allowed") from None


def float_arrays(data: bytes) -> Any:
    """The dicts, lists, strings, numbers and float arrays pickled in ``data``.

    Raises pickle.UnpicklingError for anything else, before any of it is imported or called.
    """
    return _ArraysOnly(io.BytesIO(data)).load()
