"""Every kind of file Pillow opens, as a person would expect to see it."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylenet.files import planning
from stylenet.images import image_io, suffixes
from stylenet.images.image_io import Picture, fit, open_rgb, read, to_pil, to_tensor, write
from stylenet.system.errors import UserError

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [255, 255, 0]]], np.uint8)
DEEP = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4) * 2700 + 13  # high and low bytes differ everywhere


def saved(image, path, **options):
    image.save(path, **options)
    return path


def gamma_profile(gamma):
    """A hand-made ICC profile: sRGB's, with its three tone curves a pure power law."""
    profile = bytearray(image_io.srgb.profile())
    count = struct.unpack(">I", profile[128:132])[0]
    entries = [struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i]) for i in range(count)]
    place = len(profile)
    profile += b"curv" + bytes(4) + struct.pack(">IH2x", 1, round(gamma * 256))
    for index, (name, _, _) in enumerate(entries):
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[132 + 12 * index : 144 + 12 * index] = struct.pack(">4sII", name, place, 14)
    profile[:4] = struct.pack(">I", len(profile))
    return bytes(profile)


# --- colour


@pytest.mark.parametrize(
    ("mode", "value", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # 20% black over white
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 25700, (100, 100, 100)),
        ("I", 25700, (100, 100, 100)),
        ("F", 100.0, (100, 100, 100)),
        ("F", 0.2, (51, 51, 51)),
        ("LAB", (138, 128, 128), (130, 130, 130)),  # L* = 138 / 255 * 100 = 54.1, which is sRGB 130
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, value, seen):
    path = saved(
        Image.new(mode, (4, 3), value), tmp_path / "x.tif" if mode not in ("LA", "RGBA") else tmp_path / "x.png"
    )
    image = open_rgb(path)
    assert (image.mode, image.size) == ("RGB", (4, 3))
    assert np.abs(np.subtract(np.asarray(image)[1, 2], seen, dtype=int)).max() <= 1


def test_palette_with_transparency_lies_over_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image = open_rgb(saved(image, tmp_path / "x.png", transparency=1))
    assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [(10, 20, 30), (255, 255, 255)]


def test_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert open_rgb(path).getpixel((0, 0)) == (255, 0, 0)


def test_profile_is_applied(tmp_path):
    """Power 1.8: 0.5 ** 1.8 = 0.287 of the light, which sRGB writes as 1.055 * 0.287 ** (1 / 2.4) - 0.055 = 0.573."""
    path = saved(Image.new("RGB", (2, 2), (128, 128, 128)), tmp_path / "x.png", icc_profile=gamma_profile(1.8))
    assert np.abs(np.subtract(np.asarray(open_rgb(path))[0, 0], 146, dtype=int)).max() <= 1
    assert np.abs(read(path).rgb[0, 0].astype(int) - 146).max() <= 1


@pytest.mark.parametrize(
    "profile", [b"nonsense", b"\0" * 200, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()]
)
def test_a_profile_that_is_broken_or_of_another_kind_is_ignored(tmp_path, profile):
    path = saved(Image.new("RGB", (2, 2), (1, 128, 200)), tmp_path / "x.png", icc_profile=profile)
    assert open_rgb(path).getpixel((0, 0)) == (1, 128, 200)


# --- orientation and size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_turned_pictures_stand_upright(tmp_path, orientation, suffix):
    """Pixels stored as a camera held that way would store them (EXIF 2.3, tag 274), 8 and 16 bits."""
    turns = [
        lambda a: a,
        np.fliplr,
        lambda a: a[::-1, ::-1],
        np.flipud,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.rot90(a, 1),  # 6: to be turned clockwise, so stored turned the other way
        lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        lambda a: np.rot90(a, -1),
    ]
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(turns[orientation - 1](CORNERS))
    path = saved(Image.fromarray(stored), tmp_path / f"x{suffix}", exif=exif)
    assert (np.asarray(open_rgb(path)) == CORNERS).all()
    assert (read(path).rgb == CORNERS).all()
    assert (np.asarray(open_rgb(Image.open(path))) == CORNERS).all()
    grey = saved(Image.fromarray(stored[..., 0].astype(np.uint16) * 257), tmp_path / f"grey{suffix}", exif=exif)
    assert (read(grey).rgb[..., 0] == CORNERS[..., 0].astype(np.uint16) * 257).all()


def test_turned_16_bit_rgb_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    image_io.sixteen_bit.write_png(buffer, np.rot90(DEEP[..., :3], 1), image_io.srgb.profile(), exif.tobytes(), None)
    assert (read(buffer_at_start(buffer)).rgb == DEEP[..., :3]).all()


def buffer_at_start(buffer):
    buffer.seek(0)
    return buffer


def test_large_jpeg_is_decoded_small_but_not_too_small(tmp_path):
    path = saved(Image.new("RGB", (1000, 400)), tmp_path / "x.jpg")
    assert open_rgb(path, at_least=100).size == (250, 100)
    assert open_rgb(path, at_least=101).size == (500, 200)
    assert open_rgb(path, at_least=401).size == (1000, 400)


def test_fit_shrinks_in_proportion_and_never_enlarges():
    assert fit(Image.new("RGB", (1000, 400)), 500).size == (500, 200)
    assert fit(Image.new("RGB", (1, 5000)), 100).size == (1, 100)
    assert fit(Image.new("RGB", (10, 4)), 500).size == (10, 4)
    deep = Picture(np.full((400, 1000, 3), 40000, np.uint16), np.full((400, 1000), 65535, np.uint16))
    small = image_io.fit_picture(deep, 500)
    assert small.rgb.shape == (200, 500, 3) and (small.rgb == 40000).all()
    assert small.alpha is not None and small.alpha.shape == (200, 500) and (small.alpha == 65535).all()


# --- tensors


def test_pixels_to_tensor_and_back():
    tensor = to_tensor(Image.fromarray(CORNERS))
    assert tensor.shape == (1, 3, 2, 3) and tensor.dtype == torch.float32
    assert tensor[0, :, 0, 0].tolist() == [1, 0, 0] and tensor[0, :, 0, 2].tolist() == [0, 0, 1]
    assert (np.asarray(to_pil(tensor)) == CORNERS).all()
    assert (image_io.to_array(to_tensor(DEEP[..., :3]), np.uint16) == DEEP[..., :3]).all()


def test_to_pil_clamps_and_rounds():
    tensor = torch.tensor([-0.5, 1.5, 0.499]).view(1, 3, 1, 1)
    assert to_pil(tensor).getpixel((0, 0)) == (0, 255, 127)


# --- 16 bits, alpha, metadata: written and read again


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [None, DEEP[..., 3]])
def test_16_bits_survive(tmp_path, suffix, alpha):
    picture = Picture(DEEP[..., :3], alpha, dpi=(300, 300))
    write(tmp_path / f"x{suffix}", picture)
    again = read(tmp_path / f"x{suffix}")
    assert (again.rgb == picture.rgb).all() and again.rgb.dtype == np.uint16
    assert alpha is None if again.alpha is None else (again.alpha == alpha).all()
    assert again.dpi == pytest.approx((300, 300), abs=0.02)
    with Image.open(tmp_path / f"x{suffix}") as image:  # Pillow agrees on the upper bytes
        assert (np.asarray(image)[..., :3] == DEEP[..., :3] >> 8).all()


def test_16_bit_png_by_its_definition():
    """Filter 0, one IDAT, big-endian samples: written out by hand."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP[..., :3])
    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]:
        file += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    assert (read(io.BytesIO(file)).rgb == DEEP[..., :3]).all()


def test_tall_16_bit_picture_in_bands(tmp_path):
    tall = np.random.default_rng(0).integers(0, 65536, (700, 5, 3), dtype=np.uint16)
    for suffix in (".png", ".tif"):
        write(tmp_path / f"x{suffix}", Picture(tall))
        assert (read(tmp_path / f"x{suffix}").rgb == tall).all()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_survives_in_8_bits(tmp_path, suffix):
    picture = Picture(np.full((8, 8, 3), 90, np.uint8), np.full((8, 8), 77, np.uint8))
    write(tmp_path / f"x{suffix}", picture)
    again = read(tmp_path / f"x{suffix}")
    assert again.alpha is not None and (again.alpha == 77).all()


def test_jpeg_gets_white_for_what_is_transparent(tmp_path):
    write(tmp_path / "x.jpg", Picture(np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8), np.uint16)))
    assert open_rgb(tmp_path / "x.jpg").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_metadata_that_still_holds_is_kept(tmp_path, suffix, dtype):
    exif = Image.Exif()
    exif[274], exif[271], exif[33432] = 6, "Camera", "Somebody"
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05", 0x927C: b"maker's note"}
    exif[0x8825] = {1: "N"}
    source = saved(Image.fromarray(CORNERS), tmp_path / "source.jpg", exif=exif, dpi=(150, 150))
    picture = read(source)
    picture = Picture(picture.rgb.astype(dtype), None, picture.format, picture.exif, picture.dpi)
    write(tmp_path / f"x{suffix}", picture)
    with Image.open(tmp_path / f"x{suffix}") as image:
        kept, block = image.getexif(), image.getexif().get_ifd(0x8769)
        assert kept.get(274, 1) == 1
        assert (kept[271], kept[33432]) == ("Camera", "Somebody")
        assert block[0x9003] == "2020:01:02 03:04:05" and 0x927C not in block
        assert image.getexif().get_ifd(0x8825)[1] == "N"
        assert "sRGB" in ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])))
        if suffix != ".webp":
            assert image.info["dpi"] == pytest.approx((150, 150), abs=0.02)


def test_quality_counts(tmp_path):
    noise = Picture(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    sizes = [len(image_io.encode(noise, "JPEG", quality)) for quality in (30, 95)]
    assert sizes[0] < sizes[1] / 2


# --- what cannot be read or written


def test_unreadable_files_are_named_with_the_reason(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    for suffix in ("png", "jpg", "webp", "tif", "gif", "bmp"):
        whole = saved(noise, tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    reasons = {
        "empty.png": "empty",
        "text.jpg": "not a picture",
        "absent.png": "no such file",
        "drawing.eps": "drawing",
    }
    reasons |= {path.name: "" for path in tmp_path.glob("cut.*")}
    for name, reason in reasons.items():
        for reader in (open_rgb, read):
            with pytest.raises(UserError, match=f"Cannot read .*{name}: .*{reason}") as caught:
                reader(tmp_path / name)
            assert "\n" not in str(caught.value)


def test_bombs_are_refused_and_merely_large_pictures_are_not(tmp_path, monkeypatch):
    path = saved(Image.new("RGB", (150, 100)), tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert open_rgb(path).size == (150, 100)  # Pillow would warn, and warnings are errors here
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7_000)
    with pytest.raises(UserError, match="million pixels"):
        open_rgb(path)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40]
)
def test_broken_exif_is_ignored(tmp_path, exif):
    path = saved(Image.new("RGB", (3, 2), "red"), tmp_path / "x.jpg", exif=exif)
    picture = read(path)
    assert picture.rgb.shape == (2, 3, 3)
    write(tmp_path / "y.jpg", picture)


def test_formats_and_sides_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match=r"x\.heic: the name must end in .*\.png"):
        write(tmp_path / "x.heic", Picture(CORNERS))
    with pytest.raises(UserError, match="WEBP holds sides up to 16383"):
        write(tmp_path / "x.webp", Picture(np.zeros((1, 16384, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_every_format_offered_can_be_written(tmp_path):
    for suffix in suffixes.PICTURE_FORMATS:
        write(tmp_path / f"x{suffix}", Picture(np.full((16, 16, 3), 200, np.uint8), np.full((16, 16), 255, np.uint8)))
        assert open_rgb(tmp_path / f"x{suffix}").size == (16, 16)
        assert suffix in suffixes.PICTURES


@pytest.mark.parametrize(
    ("name", "options", "becomes"),
    [
        ("x.jpg", {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (8, 8))]}, "JPEG"),
        ("x.mpo", {"save_all": True, "append_images": [Image.new("RGB", (8, 8))]}, "JPEG"),
        *[(name, {}, "JPEG") for name in ("x.jpe", "x.jfif", "x.JPG")],
        ("x.jif", {"format": "JPEG"}, "JPEG"),
        *[("x.dib", {}, "BMP"), ("x.bmp", {}, "BMP"), ("x.pnm", {}, "PPM"), ("x.pgm", {}, "PPM")],
        *[("x.tif", {}, "TIFF"), ("x.vst", {}, "TGA"), ("x.jpf", {}, "JPEG2000"), ("x.jpx", {}, "JPEG2000")],
        *[("x.apng", {"format": "PNG"}, "PNG"), ("x.gif", {}, "PNG"), ("x.pcx", {}, "PNG")],
    ],
)
def test_every_kind_of_a_format_counts_as_the_format(tmp_path, name, options, becomes):
    """Through a pipe, and in the name of a result beside its photo."""
    saved(Image.new("L" if name.endswith("pgm") else "RGB", (24, 16), 90), tmp_path / name, **options)
    picture = read(io.BytesIO((tmp_path / name).read_bytes()))
    assert image_io.format_like(picture) == becomes
    (job,) = planning.plan([tmp_path], None, "style")
    assert image_io.format_of(job.target) == becomes
    write(job.target, picture)
    with Image.open(job.target) as again:
        assert again.format in (becomes, "DIB")
