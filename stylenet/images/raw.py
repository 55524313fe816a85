"""Recognise camera raw files by their bytes. They hold sensor data and a small preview, not the photo.

Most are TIFF files whose first page is the preview. Knows TIFF directories; nothing about pixels.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

SUFFIXES = frozenset(
    ".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw"
    " .nef .nrw .orf .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
_HEADS = {  # first bytes of raw files that are not standard TIFF
    **{
        b"IIRO": "Olympus",
        b"IIRS": "Olympus",
        b"MMOR": "Olympus",
        b"IIU\0": "Panasonic",
        b"FUJIFILMCCD-RAW": "Fujifilm",
    },
    **{b"FOVb": "Sigma", b"\0MRM": "Minolta", b"II\x1a\0\0\0HEAPCCDR": "Canon"},
}
_SENSOR = {32803, 34892}  # PhotometricInterpretation: a colour filter array, linear raw
_MOST = 256  # maximum directories read per file
_ENTRIES = 2000  # maximum per directory
_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes per value, by type
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SUBS = 254, 255, 256, 257, 262, 330
_CFA, _DNG = (33421, 33422), 50706
_WANTED = {_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SUBS, *_CFA, _DNG}


@dataclass(frozen=True)
class Directory:
    """A picture in a TIFF file. ``sides``: width, height. ``reduced``: marked as a reduced copy or a mask. ``sensor``:
    it holds sensor values. ``dng``: the file is in Adobe's raw format.
    """

    sides: tuple[int, int]
    reduced: bool
    sensor: bool
    dng: bool
    subs: tuple[int, ...] = ()


def kind(head: bytes) -> str | None:
    """The camera maker, if these are the first bytes of a raw file; else None."""
    if head[4:11] == b"ftypcrx" or (head[:2] in (b"II", b"MM") and head[8:10] == b"CR"):
        return "Canon"
    return next((maker for start, maker in _HEADS.items() if head.startswith(start)), None)


def is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def directories(file: BinaryIO) -> tuple[list[Directory], list[Directory]]:
    """The pages of a TIFF file in order, and their SubIFDs. A broken directory ends the list.

    The file position is restored.
    """
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(16)
        order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
        start = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])[0]
        pages = [*_chain(file, order, big, start)]
        below = [one for page in pages for sub in page.subs for one in _chain(file, order, big, sub, 1)]
        return pages, below[:_MOST]
    except (struct.error, OSError, ValueError, OverflowError):
        return [], []
    finally:
        file.seek(place)


def shows_sensor(pages: list[Directory], below: list[Directory]) -> bool:
    """Whether a TIFF file with these directories is a camera raw file."""
    return any(one.sensor or one.dng for one in [*pages, *below])


def further_pages(pages: list[Directory]) -> int:
    """Number of pages after the first, excluding smaller copies of it and masks."""
    return sum(not (page.reduced or _is_copy(pages[0].sides, page.sides)) for page in pages[1:])


def _is_copy(large: tuple[int, int], small: tuple[int, int]) -> bool:
    """Whether this may be an unmarked smaller copy: at most half as large, same aspect ratio."""
    (width, height), (across, down) = large, small
    return 2 * max(across, down) <= max(width, height) and abs(across * height - down * width) <= max(width, height)


def _chain(file: BinaryIO, order: str, big: bool, place: int, most: int = _MOST) -> Iterator[Directory]:
    seen: set[int] = set()
    while place and place not in seen and len(seen) < most:
        seen.add(place)
        try:
            directory, place = _directory(file, order, big, place)
        except (struct.error, OSError, ValueError, OverflowError):
            return
        yield directory


def _directory(file: BinaryIO, order: str, big: bool, place: int) -> tuple[Directory, int]:
    """The directory at an offset in the file, and the offset of the next one."""
    file.seek(place)
    wide, length, number = (8, 20, "Q") if big else (2, 12, "I")
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(wide))[0]
    if count > _ENTRIES:
        raise ValueError("no directory")
    entries = file.read(count * length)
    after = struct.unpack(f"{order}{number}", file.read(struct.calcsize(number)))[0]
    tags: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(entries), length):
        tag = struct.unpack_from(f"{order}H", entries, start)[0]
        if tag in _WANTED:
            tags[tag] = _values(file, order, big, entries[start : start + length])
    one = {tag: (values or (0,))[0] for tag, values in tags.items()}
    reduced = bool(one.get(_SUBFILE, 0) & 0b101) or one.get(_OLD_SUBFILE) == 2
    sensor = one.get(_PHOTOMETRIC) in _SENSOR or any(tag in tags for tag in _CFA)
    sides = one.get(_WIDTH, 0), one.get(_HEIGHT, 0)
    return Directory(sides, reduced, sensor, _DNG in tags, tags.get(_SUBS, ())), after


def _values(file: BinaryIO, order: str, big: bool, entry: bytes) -> tuple[int, ...]:
    """The integers of an entry; () for other types."""
    letter, room = ("Q", 8) if big else ("I", 4)
    kind, count = struct.unpack_from(f"{order}H{letter}", entry, 2)
    size = _SIZES.get(kind)
    if size is None:
        return ()
    count = min(count, _MOST)
    data = entry[-room:]
    if size * count > room:
        file.seek(struct.unpack(f"{order}{letter}", data)[0])
        data = file.read(size * count)
    return struct.unpack_from(f"{order}{count}{_LETTERS[size]}", data)
