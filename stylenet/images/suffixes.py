"""File suffixes: the registry of pictures, animations and films that can be read and written.

Knows names; nothing about contents.
"""

from stylenet.images import plugins

PICTURES = plugins.SUFFIXES.union(
    ".apng .avif .avifs .bmp .dib .gif .icb .j2c .j2k .jfi .jfif .jif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm"
    " .pcx .pgm .png .pnm .ppm .psd .qoi .sgi .tga .tif .tiff .vda .vst .webp".split()
)
"""Pictures that can be read."""
PICTURE_FORMATS = {
    **dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif"], "JPEG"),
    **dict.fromkeys([".tif", ".tiff"], "TIFF"),
    **dict.fromkeys([".bmp", ".dib"], "BMP"),
    **dict.fromkeys([".jp2", ".j2k", ".jpx", ".jpf"], "JPEG2000"),
    **dict.fromkeys([".png", ".apng"], "PNG"),
    **dict.fromkeys([".ppm", ".pnm"], "PPM"),
    **dict.fromkeys([".tga", ".icb", ".vda", ".vst"], "TGA"),
    **{".webp": "WEBP", ".avif": "AVIF", ".gif": "GIF", ".qoi": "QOI"},
}
"""Pictures that can be written: Pillow's name of the format."""
NEAREST = {".mpo": ".jpg", ".pgm": ".ppm", ".pbm": ".ppm", ".j2c": ".jp2", ".jpc": ".jp2"}
"""The suffix of a result, for photos with the suffix of a format variant."""

ANIMATIONS = frozenset({".gif", ".webp", ".png", ".apng", ".avif", ".avifs"})
"""Pictures that may have several frames."""
ANIMATION_FORMATS = {suffix: PICTURE_FORMATS[suffix] for suffix in (".gif", ".webp", ".apng", ".png")}
"""Animations that can be written: Pillow's name of the format."""

FILMS = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .mts .wmv .flv .3gp .ogv .y4m".split())
"""Films that can be read."""
FILM_FORMATS = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
"""Films that can be written: FFmpeg's names of the container and the encoder."""
