"""Camera raw: refused as what it is, while ordinary TIFF files with thumbnails open as ever. All built by hand."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylenet import stylize_files
from stylenet.data import paintings, photos
from stylenet.images import image_io
from stylenet.system.errors import UserError

CFA, LINEAR_RAW, RGB = 32803, 34892, 2
SUBFILE, MAKE, SUBS, PATTERN, DNG = 254, 271, 330, 33422, 50706
SENSOR = {"size": (400, 300), SUBFILE: 0, "photometric": CFA}
PREVIEW = {"size": (96, 64), SUBFILE: 1, MAKE: b"ACME\0"}


def tiff(*pages: dict[Any, Any], order: str = "<", big: bool = False, magic: bytes = b"") -> bytes:
    """A TIFF file of grey pages, each with its ``size`` and whatever tags; ``subs``: what lies below a page."""
    number = "Q" if big else "I"
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42))
    data += struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)
    data += magic
    starts = 8 if big else 4

    def directory(page: dict[Any, Any]) -> int:
        width, height = page["size"]
        below = [directory(sub) for sub in page.get("subs", [])]
        photometric = page.get("photometric", RGB)
        pixels = np.full((height, width, 3 if photometric == RGB else 1), 120, np.uint8).tobytes()
        strip = len(data)
        data.extend(pixels)
        tags = {256: width, 257: height, 258: 8, 259: 1, 262: photometric, 273: strip, 278: height, 279: len(pixels)}
        tags |= {277: 3 if photometric == RGB else 1, **({SUBS: tuple(below)} if below else {})}
        tags |= {tag: value for tag, value in page.items() if isinstance(tag, int)}
        entries = b""
        for tag, value in sorted(tags.items()):
            kind, count, packed = packed_as(value, order)
            if len(packed) > (8 if big else 4):
                place = len(data)
                data.extend(packed)
                packed = struct.pack(f"{order}{number}", place)
            entries += struct.pack(f"{order}HH{number}", tag, kind, count) + packed.ljust(8 if big else 4, b"\0")
        place = len(data)
        data.extend(struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries + bytes(8 if big else 4))
        return place

    for page in pages:
        place = directory(page)
        data[starts : starts + (8 if big else 4)] = struct.pack(f"{order}{number}", place)
        starts = len(data) - (8 if big else 4)
    return bytes(data)


def packed_as(value: Any, order: str) -> tuple[int, int, bytes]:
    if isinstance(value, bytes):
        return (2 if value.endswith(b"\0") else 1), len(value), value
    values = value if isinstance(value, tuple) else (value,)
    return 4, len(values), struct.pack(f"{order}{len(values)}I", *values)


RAW = {
    "phone.dng": tiff(PREVIEW | {DNG: b"\1\4\0\1", "subs": [SENSOR]}),
    "linear.dng": tiff({"size": (400, 300), DNG: b"\1\4\0\1", "photometric": LINEAR_RAW}, order=">"),
    "large.dng": tiff(PREVIEW | {DNG: b"\1\7\0\1", "subs": [SENSOR]}, big=True),
    "nikon.nef": tiff(PREVIEW | {"subs": [{"size": (200, 150), SUBFILE: 1}, SENSOR]}, order=">"),
    "sony.arw": tiff(PREVIEW, SENSOR | {SUBFILE: 1}),
    "canon.cr2": tiff(PREVIEW | {SUBFILE: 0}, SENSOR, magic=b"CR\2\0"),
    "pentax.pef": tiff(SENSOR),
    "patterned.tif": tiff(PREVIEW | {SUBFILE: 0}, {"size": (400, 300), PATTERN: b"\0\1\1\2"}),
    "unknown.3fr": tiff(PREVIEW | {SUBFILE: 0}),  # of which nothing but the name says so
    "olympus.orf": b"IIRO\x08\0\0\0" + bytes(100),
    "panasonic.rw2": b"IIU\0\x18\0\0\0" + bytes(100),
    "fuji.raf": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "canon.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100),
}


@pytest.mark.parametrize("name", RAW)
def test_camera_raw_is_called_that_whatever_its_name(tmp_path, name):
    for path in (tmp_path / name, tmp_path / f"{Path(name).stem}.tif"):
        path.write_bytes(RAW[name])
        if path.suffix == ".tif" and name == "unknown.3fr":
            continue
        for reader in (image_io.read, image_io.open_rgb):
            with pytest.raises(UserError, match=r"it is a camera raw file.*; develop it to JPEG or TIFF first\.$"):
                reader(path)


def test_inputs_paintings_and_training_photos_alike(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    Path("x.nef").write_bytes(RAW["nikon.nef"])
    Path("in").mkdir()
    Path("in/x.tif").write_bytes(RAW["phone.dng"])
    Path("in/y.dng").write_bytes(RAW["phone.dng"])
    Image.new("RGB", (90, 90)).save("in/photo.png")
    with pytest.raises(UserError, match=r"x.nef: it is a camera raw file \(NEF\)"):
        list(stylize_files("the_scream_lite", "x.nef", device="cpu"))
    with pytest.raises(UserError, match="camera raw"):
        paintings.open_painting("x.nef", 64)
    with caplog.at_level("INFO", "stylenet"):
        found = photos.find_images("in")
    assert [path.name for path in found] == ["photo.png", "x.tif"]
    assert "(ignored: 1 .dng (camera raw file: develop to JPEG or TIFF first))" in caplog.text
    with pytest.raises(UserError, match="camera raw"):
        photos.open_photo(Path("in/x.tif"))
    with pytest.raises(UserError, match="camera raw"):
        image_io.read(io.BytesIO(RAW["nikon.nef"]))  # through a pipe


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_ordinary_tiff_files_open_as_ever(tmp_path, order, big):
    full, make = {"size": (200, 150), SUBFILE: 0}, {MAKE: b"ACME\0"}
    for pages in (
        [full],
        [full | make, PREVIEW],  # the second page is a thumbnail
        [full | make | {"subs": [PREVIEW]}],
        [{"size": (200, 150)}, {"size": (100, 75)}, {"size": (50, 38)}],  # a pyramid
        [full | {SUBFILE: 2}],  # one page of many
    ):
        (tmp_path / "x.tif").write_bytes(tiff(*pages, order=order, big=big))
        assert image_io.read(tmp_path / "x.tif").rgb.shape == (150, 200, 3)
        assert image_io.open_rgb(tmp_path / "x.tif").getpixel((7, 7)) == (120, 120, 120)


def test_a_tiff_that_begins_with_a_preview_is_not_taken_for_it(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff(PREVIEW, {"size": (400, 300)}))
    with pytest.raises(UserError, match="its first page is only a preview of the picture; save the picture as"):
        image_io.read(tmp_path / "x.tif")
    (tmp_path / "y.tif").write_bytes(tiff(PREVIEW))  # it is all there is
    assert image_io.read(tmp_path / "y.tif").rgb.shape == (64, 96, 3)


@pytest.mark.parametrize("seed", range(40))
def test_broken_directories_raise_nothing_else(tmp_path, seed):
    """Bytes flipped anywhere, directories in circles: a picture or one line."""
    rng = np.random.default_rng(seed)
    data = bytearray(RAW["nikon.nef"] if seed % 2 else tiff({"size": (20, 15), "subs": [PREVIEW]}, PREVIEW))
    for place in rng.integers(4, len(data), 12):
        data[place] = rng.integers(256)
    data[4:8] = data[4:8] if seed % 3 else struct.pack("<I", len(data) - 6)
    (tmp_path / "x.tif").write_bytes(data)
    try:
        image_io.read(tmp_path / "x.tif")
    except UserError as error:
        assert "\n" not in str(error)
