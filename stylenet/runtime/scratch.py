"""Storage for temporary arrays, in memory as far as possible and in temporary files beyond. Knows only bytes.

The files have no name, so the system removes them when the process ends, however it ends.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from stylenet.system.atomic import NO_ROOM
from stylenet.system.errors import UserError

GIGABYTE = 1e9


class Scratch:
    """Blocks of bytes to write and read. What is given back is used again: on a disk that costs far less than new room.

    ``folder``: where the files lie; None for :func:`place`. ``memory``: bytes that blocks may take in memory, all
    together. A ``with`` block closes it. Raises UserError where the folder cannot be written or is full.
    """

    def __init__(self, folder: str | Path | None = None, memory: int = 0):
        self.folder, self.memory = folder or place(), memory
        self._unused: list[Block] = []
        self._all: list[Block] = []

    def take(self, size: int) -> "Block":
        """A block of at least ``size`` bytes, which hold anything."""
        fitting = [block for block in self._unused if size <= block.size <= 1.25 * size]
        if fitting:
            block = min(fitting, key=lambda block: block.size)
            self._unused.remove(block)
            return block
        self._release(size)
        block = InMemory(size) if size <= self.memory else InFile(size, self.folder)
        self.memory -= size if isinstance(block, InMemory) else 0
        self._all.append(block)
        return block

    def give_back(self, block: "Block") -> None:
        if block in self._all:
            self._unused.append(block)

    def close(self) -> None:
        for block in self._all:
            block.close()
        self._all, self._unused = [], []

    def _release(self, size: int) -> None:
        """Close unused blocks: none of them suits, and the new one may need their room."""
        for block in self._unused:
            self.memory += block.size if isinstance(block, InMemory) else 0
            self._all.remove(block)
            block.close()
        self._unused = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InMemory:
    """A block in memory; what it reads is a view, good until the block is given back."""

    def __init__(self, size: int):
        self.size, self._bytes = size, np.empty(size, np.uint8)

    def write(self, start: int, data: np.ndarray) -> None:
        self._bytes[start : start + data.nbytes] = data.reshape(-1).view(np.uint8)

    def read(self, start: int, size: int) -> np.ndarray:
        return self._bytes[start : start + size]

    def close(self) -> None:
        self._bytes = np.empty(0, np.uint8)


class InFile:
    """A block in a file without a name. Read and written, not mapped: mapped pages would count as the process's."""

    def __init__(self, size: int, folder: str | Path):
        self.size, self.folder = size, folder
        try:
            free = shutil.disk_usage(folder).free
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)
        except OSError as error:
            raise UserError(f"Cannot write temporary files to {folder}: {error.strerror}. Give scratch=.") from error
        if size > free:
            self.close()
            raise _full(folder, size, free)

    def write(self, start: int, data: np.ndarray) -> None:
        left = data.reshape(-1).view(np.uint8).data
        try:
            self._file.seek(start)
            while left:  # one call writes 2 GB at most, and less where the disk fills up
                left = left[self._file.write(left) :]
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise UserError(f"Cannot write temporary files to {self.folder}: {error.strerror}.") from error
            raise _full(self.folder, self.size, shutil.disk_usage(self.folder).free) from error

    def read(self, start: int, size: int) -> np.ndarray:
        data = np.empty(size, np.uint8)
        left = data.data
        self._file.seek(start)
        while left and (count := self._file.readinto(left)):  # type: ignore[attr-defined]
            left = left[count:]
        return data

    def close(self) -> None:
        self._file.close()


Block = InMemory | InFile


def place() -> Path:
    """Where large temporary files belong: TMPDIR if it is set, else /var/tmp, since /tmp may be memory, else /tmp."""
    large = Path("/var/tmp")
    usable = "TMPDIR" not in os.environ and os.access(large, os.W_OK | os.X_OK)
    return large if usable else Path(tempfile.gettempdir())


def _full(folder: str | Path, size: int, free: int) -> UserError:
    return UserError(
        f"No room in {folder} for the temporary files of a picture this large: {size / GIGABYTE:.1f} GB more are "
        f"needed, {free / GIGABYTE:.1f} GB are free. Give scratch=/another/folder, or a smaller size=."
    )
