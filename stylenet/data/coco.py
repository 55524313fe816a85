"""Download COCO's 118,287 training photos on request. Knows nothing about their use.

The download (18 GB) resumes, is verified by size and hash, and is unpacked from the end of the archive. The archive is
truncated meanwhile, so photos and archive never need the disk space of two copies.
"""

import hashlib
import logging
import os
import shutil
import time
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from stylenet.system import console
from stylenet.system.errors import UserError

CHUNK = 1 << 20  # bytes
PATIENCE = 8  # consecutive attempts without data before giving up
ROOM = 1.05  # required disk space, relative to the archive: partial blocks, and the batch being unpacked
BATCH = 4096  # photos unpacked before the archive is truncated

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """A zip file of photos on a server: its address, size in bytes, MD5, and the folder it unpacks to."""

    url: str
    size: int
    md5: str
    folder: str


TRAIN2017 = Archive(
    url="http://images.cocodataset.org/zips/train2017.zip",
    size=19_336_861_798,
    md5="cced6f7f71b7629ddf16f17bbcfab6b2",
    folder="train2017",
)


def fetch_coco(root: Path, archive: Archive = TRAIN2017) -> Path:
    """Download and unpack the archive into ``root/<folder>``, unless that exists, and return the folder.

    May be interrupted at any time and called again. Raises UserError: disk full, server unreachable, archive damaged.
    """
    photos = root / archive.folder
    if photos.is_dir():
        return photos
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{archive.folder}.lock"):
            if not photos.is_dir():  # another process may have fetched it while this one waited
                _unpack(_download(root, archive), photos)
    except OSError as error:
        raise UserError(
            f"Cannot store COCO in {root}: {error.strerror or error}. Choose data.root=/another/place"
        ) from error
    return photos


def _download(root: Path, archive: Archive) -> Path:
    """The verified archive file. An incomplete or unverified one has the suffix ``.part``."""
    done = root / f"{archive.folder}.zip"
    part = done.with_suffix(".zip.part")
    if done.exists() and done.stat().st_size < archive.size:
        done.replace(part)  # interrupted in _truncate: fetch the rest again
    if done.exists():
        return done
    _check_room(root, archive, part.stat().st_size if part.exists() else 0)
    _fetch(archive, part)
    if _md5(part) != archive.md5:
        part.unlink()
        raise UserError(f"{archive.url} arrived damaged (its MD5 is not {archive.md5}); it was removed. Run again.")
    return part.replace(done)


def _check_room(root: Path, archive: Archive, have: int) -> None:
    needed, free = archive.size * ROOM - have, shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"COCO needs {needed / 1e9:.1f} GB in {root}, where {free / 1e9:.1f} GB are free. "
            "Make room, or choose data.root=/another/place"
        )


def _fetch(archive: Archive, part: Path) -> None:
    """Append to ``part`` until it has the archive's size; resume after dropped connections."""
    failures = 0
    with open(part, "ab") as file, _progress(archive.size, "downloading COCO") as bar:
        while (have := file.tell()) < archive.size:
            bar.update(have - bar.n)
            reason = _append(archive, file, bar)
            failures = 0 if file.tell() > have else failures + 1
            if failures == PATIENCE:
                raise UserError(
                    f"{archive.url} cannot be fetched ({reason}). The partial download is kept: run again later."
                )
            if failures:
                time.sleep(min(2**failures, 60))
        if file.tell() > archive.size:
            file.truncate(0)
            raise UserError(f"{archive.url} sent more than its {archive.size} bytes; it was removed. Run again.")


def _append(archive: Archive, file: BinaryIO, bar: tqdm) -> str:
    """Append the bytes of one connection; return the reason it ended."""
    request = Request(archive.url, headers={"Range": f"bytes={file.tell()}-", "User-Agent": "stylenet"})
    try:
        with urlopen(request, timeout=60) as response:
            if response.status != 206:  # the server does not support ranges: start over
                file.truncate(0)
                bar.reset(archive.size)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            return "the connection closed early"
    except HTTPError as error:
        return f"HTTP {error.code}"
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        return str(getattr(error, "reason", error))
    finally:
        file.flush()
        file.seek(0, os.SEEK_END)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file, _progress(path.stat().st_size, "checking COCO") as bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _unpack(archive: Path, photos: Path) -> None:
    """Unpack from the archive's end, truncating it meanwhile. ``photos`` exists only when complete."""
    partial = photos.with_name(f"{photos.name}.part")
    partial.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            start = opened.start_dir
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            entries.sort(key=lambda entry: entry.header_offset, reverse=True)
            tail = _read_tail(archive, start)
            for done, entry in enumerate(console.bar(iterable=entries, desc="unpacking COCO", unit=" photos"), 1):
                _extract(opened, entry, partial / Path(entry.filename).name)
                if done % BATCH == 0:
                    _truncate(archive, entry.header_offset, start, tail)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise UserError(f"{archive} is damaged ({error}); it was removed. Run again.") from error
    partial.replace(photos)
    archive.unlink()
    log.info("COCO is in %s", photos)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Extract one photo, its CRC checked by zipfile; skip it if an interrupted run has written it."""
    if target.exists() and target.stat().st_size == entry.file_size:
        return
    with archive.open(entry) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)


def _read_tail(archive: Path, start: int) -> bytes:
    with open(archive, "rb") as file:
        file.seek(start)
        return file.read()


def _truncate(archive: Path, end: int, start: int, tail: bytes) -> None:
    """Free the archive's bytes from ``end`` to its directory at ``start``: truncate, then write the directory back.

    If the process dies in between, the file is a shorter download, and `_download` fetches the rest again.
    """
    with open(archive, "r+b") as file:
        file.truncate(end)
        file.seek(start)
        file.write(tail)


def _progress(total: int, what: str) -> tqdm:
    return console.bar(total=total, desc=what, unit="B", unit_scale=True, unit_divisor=1000)
