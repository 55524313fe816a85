"""A few hundred hostile picture files of some twenty kinds. Knows nothing about stylizing.

The same seed makes the same files. Files that a system does not support (links, pipes) are omitted there.
"""

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from stylenet.images import sixteen_bit

SIDES = (97, 61)  # width and height of most
Made = Iterator[tuple[str, bytes]]  # file names, and what is in the files
WRITERS = {  # by suffix: Pillow's format and its options
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {}),
    ".jpeg": ("JPEG", {"progressive": True}),
    ".webp": ("WEBP", {}),
    ".gif": ("GIF", {}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".jp2": ("JPEG2000", {}),
    ".avif": ("AVIF", {}),
    ".ppm": ("PPM", {}),
    ".tga": ("TGA", {"compression": "tga_rle"}),
    ".pcx": ("PCX", {}),
    ".sgi": ("SGI", {}),
    ".qoi": ("QOI", {}),
}


def make(folder: Path, seed: int = 0, kinds: Collection[str] | None = None) -> dict[Path, str]:
    """Fill ``folder`` and give the kind of each file in it, in the order of their names. ``kinds``: None for all."""
    made: dict[Path, str] = {}
    for kind, builder in KINDS.items():
        if kinds is not None and kind not in kinds:
            continue
        place = folder / kind
        place.mkdir(parents=True)
        for name, data in builder(random.Random(f"{kind} {seed}")):
            path = place / name
            path.write_bytes(data)
            made[path] = kind
    for kind, placer in {"special": special, "names": names}.items():
        if kinds is None or kind in kinds:
            (folder / kind).mkdir(parents=True)
            made |= dict.fromkeys(placer(folder / kind), kind)
    return dict(sorted(made.items()))


def photo(mode: str = "RGB", sides: tuple[int, int] = SIDES) -> Image.Image:
    """Smooth colours, so that no file is much smaller or larger than a photo's would be."""
    x, y = np.meshgrid(np.linspace(0, 7, sides[0]), np.linspace(0, 5, sides[1]))
    waves = [np.sin(x + y * k) * 100 + np.cos(3 * y - k * x) * 27 + 127 for k in range(3)]
    image = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))
    if mode in ("La", "RGBa"):
        return image.convert(mode.upper()).convert(mode)
    if mode == "LAB":
        return Image.frombytes("LAB", image.size, image.tobytes())
    if mode == "PA":
        return image.convert("P").convert("PA")
    return image.convert("L").convert(mode) if mode.startswith("I;16") else image.convert(mode)


def written(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def everything() -> Made:
    """The photo in each format that this Pillow writes."""
    for suffix, (format, options) in WRITERS.items():
        with suppress(KeyError, OSError):
            yield suffix, written(photo(), format, **options)


# --- damaged


def truncated(chance: random.Random) -> Made:
    for suffix, data in everything():
        for part in (0.02, 0.3, 0.6, 0.97):
            yield f"{int(part * 100)}{suffix}", data[: int(len(data) * part)]


def flipped(chance: random.Random) -> Made:
    for suffix, data in everything():
        for number, (bits, end) in enumerate([(1, 64), (8, 600), (8, len(data)), (60, len(data))]):
            changed = bytearray(data)
            for _ in range(bits):
                changed[chance.randrange(min(end, len(data)))] ^= 1 << chance.randrange(8)
            yield f"{number}{suffix}", bytes(changed)


def shuffled(chance: random.Random) -> Made:
    """Stretches left out, doubled, or of nothing but zeros or ones."""
    for suffix, data in everything():
        at, length = len(data) // 3, len(data) // 9 + 1
        yield f"hole{suffix}", data[:at] + data[at + length :]
        yield f"zeros{suffix}", data[:at] + bytes(length) + data[at + length :]
        yield f"ones{suffix}", data[:at] + b"\xff" * length + data[at + length :]
        yield f"twice{suffix}", data + data


def misnamed(chance: random.Random) -> Made:
    """Of one kind by the name and of another in truth."""
    files = dict(everything())
    for (suffix, _), data in zip(files.items(), [*files.values()][3:] + [*files.values()][:3], strict=True):
        yield f"picture{suffix}", data
    for suffix in (".png", ".jpg", ".tga", ".ppm"):
        yield f"drawing{suffix}", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n%%EOF\n"
        yield f"vector{suffix}", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
        yield f"document{suffix}", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
        yield f"archive{suffix}", b"PK\x05\x06" + bytes(18)
        yield f"metafile{suffix}", b"\xd7\xcd\xc6\x9a" + bytes(2) + struct.pack("<4hH", 0, 0, 99, 99, 96) + bytes(90)


def nothing(chance: random.Random) -> Made:
    for suffix in (".png", ".jpg", ".tif", ".gif", ".webp", ".tga"):
        yield f"empty{suffix}", b""
        yield f"text{suffix}", b"This is no picture.\n" * 40
        yield f"zeros{suffix}", bytes(3000)
        yield f"noise{suffix}", chance.randbytes(3000)


# --- what a header says


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    rest = _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + rest


def _tiff(*tags: tuple[int, int, int, int], after: bytes = b"", following: int = 0) -> bytes:
    """Tags of (number, type, count, value); what is ``after`` them begins at 10 + 12 * their number + 4."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + after


def huge(chance: random.Random) -> Made:
    """Far more pixels claimed than there are."""
    for width, height in [(65535, 65535), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1), (10**6, 10**6)]:
        yield f"{width}x{height}.png", _png(width, height)
    tags = [(256, 4, 1, 65535), (257, 4, 1, 65535), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    yield "raw.tif", _tiff(*tags, (277, 3, 1, 1), (278, 4, 1, 65535), (279, 4, 1, 2**32 - 1))
    yield "deflate.tif", _tiff(*tags[:3], (259, 3, 1, 8), *tags[4:], (278, 4, 1, 65535), (279, 4, 1, 99))
    yield "header.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65535, 65535, 1, 24, *[0] * 6)
    yield "negative.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -9, -(2**31), 1, 24, *[0] * 6)
    yield "header.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b",\0\0\0\0"
    yield (
        "frame.gif",
        b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b"," + struct.pack("<4HB", 0, 0, 65535, 65535, 0) + b"\2\0;",
    )
    yield "header.ppm", b"P6 99999 99999 255\n" + bytes(99)
    yield "digits.ppm", b"P6 " + b"9" * 5000 + b" 1 255\n"
    yield "header.tga", struct.pack("<BBB5xHHHHBB", 0, 0, 2, 0, 0, 65535, 65535, 24, 0)
    yield "rle.tga", struct.pack("<BBB5xHHHHBB", 0, 0, 10, 0, 0, 65535, 65535, 24, 0) + b"\xff\0\0\0" * 9
    yield "header.psd", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 300000, 300000, 8, 3) + bytes(14)
    yield "header.pcx", struct.pack("<BBBBHHHH", 10, 5, 1, 8, 0, 0, 65535, 65535) + bytes(116) + b"\xff" * 40
    yield "header.sgi", struct.pack(">hBBHHHH", 474, 1, 1, 3, 65535, 65535, 3) + bytes(500)
    yield "header.qoi", b"qoif" + struct.pack(">IIBB", 2**32 - 1, 2**32 - 1, 4, 0) + bytes(8)
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + b"\xff" * 6
    yield "canvas.webp", b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas
    for suffix, mark in ((".jpg", b"\xff\xc0"), (".jp2", b"\xff\x51")):
        if data := dict(everything()).get(suffix):
            at = data.index(mark)
            sides = struct.pack(">HH", 65500, 65500) if suffix == ".jpg" else struct.pack(">II", 2**31, 2**31)
            yield (
                f"sides{suffix}",
                data[: at + (5 if suffix == ".jpg" else 6)] + sides + data[at + (9 if suffix == ".jpg" else 14) :],
            )


def bombs(chance: random.Random) -> Made:
    """Small files that grow when they are unpacked: pixels, texts, profiles."""
    big = zlib.compress(bytes(64 * 2**20), 9)
    line = (b"\0" + bytes(3 * 97)) * 61
    yield "pixels.png", _png(20000, 20000, depth=1, colour=0, rows=bytes((1 + 2500) * 20000))
    yield "49 megapixels.png", _png(7000, 7000, depth=1, colour=0, rows=bytes((1 + 875) * 7000))
    for name, start in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        yield f"{name.decode()}.png", _png(97, 61, _chunk(name, start + big), rows=line)
    yield "texts.png", _png(97, 61, *[_chunk(b"zTXt", b"a%d\0\0" % i + big[:900]) for i in range(3000)], rows=line)
    yield "long.png", _png(97, 61, rows=line + bytes(2**26))
    yield (
        "deflate.tif",
        _tiff(
            *[(256, 4, 1, 97), (257, 4, 1, 61), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 122)],
            *[(277, 3, 1, 1), (278, 4, 1, 61), (279, 4, 1, len(big))],
            after=big,
        ),
    )


def thin(chance: random.Random) -> Made:
    for width, height in [(1, 1), (1, 97), (97, 1), (1, 5000), (5000, 1), (2, 3)]:
        for suffix in (".png", ".jpg", ".gif", ".tif", ".webp"):
            image = photo(sides=(width, height))
            yield f"{width}x{height}{suffix}", written(image, WRITERS[suffix][0])


# --- what Pillow reads


def modes(chance: random.Random) -> Made:
    """Every mode of Pillow in every format that takes it."""
    known = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr LAB HSV I F I;16 I;16B".split()
    for mode in known:
        for format, suffix in {"PNG": ".png", "TIFF": ".tif", "JPEG": ".jpg", "WEBP": ".webp"}.items():
            with suppress(OSError, ValueError, KeyError):
                yield f"{mode.replace(';', '_')}{suffix}", written(photo(mode), format)


def deep(chance: random.Random) -> Made:
    pixels = np.asarray(photo("RGBA")).astype(np.uint16) * 257 + 3
    for channels in (3, 4):
        for suffix, write in ((".png", sixteen_bit.write_png), (".tif", sixteen_bit.write_tiff)):
            file = io.BytesIO()
            write(file, pixels[..., :channels], b"no profile", b"", None)
            yield f"{channels}{suffix}", file.getvalue()
            yield f"cut {channels}{suffix}", file.getvalue()[:-900]
    grey = pixels[..., 0]
    yield "grey.png", written(Image.fromarray(grey), "PNG")
    yield "grey.tif", written(Image.fromarray(grey), "TIFF", compression="tiff_lzw")
    for name, value in (("nan", np.nan), ("inf", np.inf), ("negative", -1e30), ("tiny", 1e-30)):
        yield f"{name}.tif", written(Image.fromarray(np.full((61, 97), value, np.float32)), "TIFF")
    yield "maxval.ppm", b"P6 97 61 65535\n" + grey.astype(">u2").tobytes() * 3
    yield "nan.pfm.ppm", b"Pf\n9 9\n-1.0\n" + struct.pack("<f", np.nan) * 81


def cmyk(chance: random.Random) -> Made:
    for quality in (30, 95):
        data = written(photo("CMYK"), "JPEG", quality=quality)
        yield f"cmyk{quality}.jpg", data
        at = data.index(b"Adobe") + 11  # of the transform: 2 says YCCK
        yield f"ycck{quality}.jpg", data[:at] + b"\2" + data[at + 1 :]
        yield f"none{quality}.jpg", data.replace(b"Adobe", b"adobe")
    yield "deflate.tif", written(photo("CMYK"), "TIFF", compression="tiff_adobe_deflate")
    yield "profile.jpg", written(photo("CMYK"), "JPEG", icc_profile=b"nonsense" * 99)


def transparent(chance: random.Random) -> Made:
    image = photo("P")
    yield "table.png", written(image, "PNG", transparency=bytes(range(256)))
    yield "index.png", written(image, "PNG", transparency=7)
    yield "index.gif", written(image, "GIF", transparency=7)
    yield "outside.png", written(image, "PNG").replace(b"PLTE", b"pLTe")
    colour = written(photo(), "PNG", transparency=(1, 2, 3))
    yield "colour.png", colour
    yield "short.png", _png(97, 61, _chunk(b"PLTE", b"\1\2\3"), colour=3, rows=(b"\0" + b"\xf0" * 97) * 61)
    yield "no palette.png", _png(97, 61, colour=3, rows=(b"\0" + b"\xf0" * 97) * 61)
    yield (
        "long table.png",
        _png(97, 61, _chunk(b"PLTE", b"abc"), _chunk(b"tRNS", bytes(999)), colour=3, rows=bytes(98 * 61)),
    )
    for suffix in (".webp", ".png", ".tif"):
        yield f"all{suffix}", written(Image.new("RGBA", SIDES), WRITERS[suffix][0])


def animated(chance: random.Random) -> Made:
    frames = [photo().rotate(90 * i) for i in range(4)]
    more = {"save_all": True, "append_images": frames[1:], "duration": 40, "loop": 0}
    for suffix in (".gif", ".webp", ".png"):
        data = written(frames[0], WRITERS[suffix][0], **more)
        yield f"whole{suffix}", data
        yield f"cut{suffix}", data[: len(data) * 2 // 3]
        yield f"flipped{suffix}", data[:60] + bytes([data[60] ^ 255]) + data[61:]
    yield "pages.tif", written(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    yield "frames.apng", written(frames[0], "PNG", **more).replace(b"fcTL", b"fcTl")
    yield "forever.gif", written(frames[0], "GIF", **more)[:-1] + b"!\xfe" * 300
    yield "icons.ico", written(photo(), "ICO", sizes=[(16, 16), (48, 48)])
    yield "icons.png", written(photo(), "ICO", sizes=[(16, 16), (48, 48)])


# --- what stands beside the pixels


def exif(chance: random.Random) -> Made:
    def block(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
        return b"Exif\0\0" + _tiff(*tags, after=bytes(40), following=following)

    blocks = {
        **{f"turn {value}": block((274, 3, 1, value)) for value in (0, 1, 6, 9, 65535)},
        "turn text": block((274, 2, 4, 0x41414141)),
        "turn many": block((274, 3, 2**32 - 1, 6)),
        "circle": block((34665, 4, 1, 8), (34853, 4, 1, 8), following=8),
        "outside": block((34665, 4, 1, 2**32 - 1), (271, 2, 99, 2**31)),
        "ratio by zero": block((282, 5, 1, 34), (283, 5, 1, 34), (296, 3, 1, 2)),
        "noise": b"Exif\0\0" + chance.randbytes(300),
        "cut": b"Exif\0\0II*\0",
        "long": block((270, 2, 60000, 30)) + b"A" * 60000,
    }
    for name, data in blocks.items():
        for suffix in (".jpg", ".png", ".webp"):
            yield f"{name}{suffix}", written(photo(), WRITERS[suffix][0], exif=data)


def icc(chance: random.Random) -> Made:
    from PIL import ImageCms

    good = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profiles = {
        "empty": b"\0",
        "cut": good[: len(good) // 2],
        "noise": chance.randbytes(2000),
        "of lab": lab,
        "of cmyk": good[:16] + b"CMYK" + good[20:],
        "of nothing": good[:16] + b"XXXX" + good[20:],
        "tags": good[:128] + b"\xff" * 4 + good[132:],
        "long": good + bytes(300000),
    }
    for name, data in profiles.items():
        for suffix in (".jpg", ".png", ".tif", ".webp"):
            yield f"{name}{suffix}", written(photo(), WRITERS[suffix][0], icc_profile=data)


# --- formats in corners


def tiffs(chance: random.Random) -> Made:
    for name in "group3 group4 packbits tiff_lzw tiff_deflate jpeg lzma zstd webp tiff_ccitt".split():
        with suppress(OSError, KeyError, ValueError, RuntimeError):
            data = written(
                photo("1" if name in ("group3", "group4", "tiff_ccitt") else "RGB"), "TIFF", compression=name
            )
            yield f"{name}.tif", data
            yield f"{name} cut.tif", data[:8] + data[8 : len(data) // 2] + bytes(len(data) - len(data) // 2)
    base = [(256, 4, 1, 97), (257, 4, 1, 61), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    strip = [(273, 4, 1, 122), (278, 4, 1, 61), (279, 4, 1, 97 * 61)]
    for compression in (0, 1, 5, 6, 7, 8, 32771, 32809, 32947, 34661, 34712, 34925, 50000, 50001, 65535):
        yield f"compression {compression}.tif", _tiff(*base, (259, 3, 1, compression), *strip, after=bytes(97 * 61))
    tiles = [(322, 4, 1, 112), (323, 4, 1, 64), (324, 4, 1, 134), (325, 4, 1, 112 * 64)]
    yield "tiled.tif", _tiff(*base, (259, 3, 1, 1), *tiles, after=bytes(range(256)) * 28)
    yield (
        "tiles of nothing.tif",
        _tiff(*base, (259, 3, 1, 1), (322, 4, 1, 0), (323, 4, 1, 0), *tiles[2:], after=bytes(9)),
    )
    yield "planes.tif", _tiff(*base[:-1], (277, 3, 1, 3), (259, 3, 1, 1), (284, 3, 1, 2), *strip, after=bytes(97 * 183))
    yield "no strips.tif", _tiff(*base, (259, 3, 1, 1))
    yield "circle.tif", _tiff(*base, (259, 3, 1, 1), *strip, after=bytes(97 * 61), following=8)
    yield "12 bits.tif", _tiff(*base[:2], (258, 3, 1, 12), *base[3:], (259, 3, 1, 1), *strip, after=bytes(97 * 122))
    yield "no tags.tif", _tiff()
    yield "far.tif", b"II*\0" + b"\xff" * 4
    yield "large.tif", b"II+\0\x08\0\0\0" + b"\xff" * 8
    yield "many.tif", _tiff(*base, (259, 3, 1, 1), (273, 4, 2**30, 8), (279, 4, 2**30, 8), (278, 4, 1, 1))


def pngs(chance: random.Random) -> Made:
    good, line = written(photo(), "PNG"), (b"\0" + bytes(3 * 97)) * 61
    yield "no end.png", good[:-12]
    yield "more.png", good + chance.randbytes(5000)
    yield "checksum.png", good[:29] + bytes([good[29] ^ 1]) + good[30:]
    yield "no pixels.png", _png(97, 61).replace(b"IDAT", b"iDAt")
    yield "few pixels.png", _png(97, 61, rows=line[:500])
    yield "filter.png", _png(97, 61, rows=b"\x09" + line[1:])
    for name, options in {"depth 3": {"depth": 3}, "colour 5": {"colour": 5}}.items():
        yield f"{name}.png", _png(97, 61, rows=line, **options)
    for width, height in ((0, 61), (97, 0), (0, 0)):
        yield f"{width}x{height}.png", _png(width, height, rows=line)
    yield "length.png", good[:33] + b"\xff\xff\xff\xffIDAT" + good[41:]
    yield "text.png", _png(97, 61, *[_chunk(b"tEXt", b"a\0b" * 99)] * 5000, rows=line)
    yield "frames.png", _png(97, 61, _chunk(b"acTL", b"\xff" * 8), _chunk(b"fcTL", b"\xff" * 26), rows=line)
    yield "dots.png", _png(97, 61, _chunk(b"pHYs", b"\xff" * 9), _chunk(b"gAMA", bytes(4)), rows=line)


def plain(chance: random.Random) -> Made:
    for magic in ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "Pf", "PF", "Py", "P0CMYK"):
        yield f"noise {magic}.ppm", magic.encode() + b"\n97 61\n255\n" + chance.randbytes(999)
    yield "comment.ppm", b"P6 #" + b"x" * 10**6
    yield "words.ppm", b"P3 9 9 255 " + b"one two " * 99
    yield "negative.ppm", b"P6 -9 -9 255\n" + bytes(999)
    yield "white.pbm", b"P4 97 61\n" + bytes(13 * 61)
    yield "no values.pgm", b"P5 97 61 0\n" + bytes(97 * 61)
    yield "large values.pgm", b"P5 97 61 70000\n" + bytes(97 * 122)


def special(folder: Path) -> Iterator[Path]:
    """What is no file: folders with a picture's name, links to nowhere, pipes."""
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(written(photo(), "PNG"))
    yield folder / "folder.png" / "inside.png"
    for name, target in {
        "nowhere": "absent",
        "itself": "itself.png",
        "zero": "/dev/zero",
        "memory": "/proc/self/mem",
    }.items():
        with suppress(OSError):
            (folder / f"{name}.png").symlink_to(target)
            yield folder / f"{name}.png"
    with suppress(OSError, AttributeError):
        os.mkfifo(folder / "pipe.png")
        yield folder / "pipe.png"
    with suppress(OSError, AttributeError), socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(folder / "socket.png"))
        yield folder / "socket.png"
    (folder / "locked.png").write_bytes(written(photo(), "PNG"))
    (folder / "locked.png").chmod(0)  # root reads it all the same
    yield folder / "locked.png"


def names(folder: Path) -> Iterator[Path]:
    """A good picture under names that trip programs."""
    data = written(photo(), "PNG")
    wanted = [
        "a" * 251 + ".png",
        "é" * 125 + ".png",
        "new\nline.png",
        "\x1b[31mred.png",
        "a\tb.png",
        "-n.png",
        "a b .png",
    ]
    wanted += ["..png", "%s%n{0}.png", "東京 🗼.PNG", "a=b,c.png", "[x]*?.png", "\u202egnp.exe.png"]
    for name in [*map(os.fsencode, wanted), b"\xff\xfe\x80.png", b"latin \xe9.png"]:
        with suppress(OSError, ValueError):  # not all systems take all names
            path = folder / os.fsdecode(name)
            path.write_bytes(data)
            yield path


KINDS: dict[str, Callable[[random.Random], Made]] = {
    "truncated": truncated,
    "flipped": flipped,
    "shuffled": shuffled,
    "misnamed": misnamed,
    "nothing": nothing,
    "huge": huge,
    "bombs": bombs,
    "thin": thin,
    "modes": modes,
    "deep": deep,
    "cmyk": cmyk,
    "transparent": transparent,
    "animated": animated,
    "exif": exif,
    "icc": icc,
    "tiffs": tiffs,
    "pngs": pngs,
    "plain": plain,
}
