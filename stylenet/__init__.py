"""stylenet: train and use feed-forward style transfer networks.

``stylenet.load("starry_night")("photo.jpg")`` is all that most users need. Everything here loads what it needs when it
is used: ``import stylenet`` costs nothing.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylenet.system.errors import UserError
from stylenet.system.version import __version__

if TYPE_CHECKING:
    from torch import device as Device

    from stylenet.files.model_file import model_file as paint_model
    from stylenet.files.options import Engine, Writing
    from stylenet.files.paint_file import paint_file as paint
    from stylenet.files.photo_file import photo_file as photo
    from stylenet.files.publishing import publish
    from stylenet.nets.catalog import list_styles
    from stylenet.runtime.export import export
    from stylenet.runtime.options import Runtime
    from stylenet.stylizing.controls import Controls, MaskedStylizer
    from stylenet.stylizing.sheets import compare, sheet
    from stylenet.stylizing.stylizer import Stylizer
    from stylenet.video.options import FilmOptions

__all__ = [
    "Controls",
    "Engine",
    "FilmOptions",
    "Runtime",
    "UserError",
    "Writing",
    "__version__",
    "compare",
    "export",
    "list_styles",
    "load",
    "paint",
    "paint_model",
    "photo",
    "publish",
    "sheet",
    "stylize_files",
]

_PLACES = {
    "Controls": "stylizing.controls",
    "Engine": "files.options",
    "FilmOptions": "video.options",
    "Runtime": "runtime.options",
    "Writing": "files.options",
    "compare": "stylizing.sheets",
    "export": "runtime.export",
    "list_styles": "nets.catalog",
    "paint": "files.paint_file",
    "paint_model": "files.model_file",
    "photo": "files.photo_file",
    "publish": "files.publishing",
    "sheet": "stylizing.sheets",
}
_NAMES = {"paint": "paint_file", "paint_model": "model_file", "photo": "photo_file"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'stylenet' has no attribute {name!r}")
    return getattr(import_module(f"stylenet.{_PLACES[name]}"), _NAMES.get(name, name))


def load(
    ckpt: str | Path | Sequence[str | Path],
    device: "str | Device | None" = None,
    *,
    controls: "Controls | None" = None,
    runtime: "Runtime | None" = None,
    **options: Any,
) -> "Stylizer | MaskedStylizer":
    """Load a style once. The result turns images into stylized images.

    ``ckpt``: a name (see :func:`list_styles`) or a file; several, with a mask each, share a picture:
    ``load(["starry_night", "udnie"], mask=["sky.png", "sea.png"])``. ``controls``, ``runtime``: see
    :class:`Controls` and :class:`Runtime`, whose fields may be given as keywords instead:
    ``load("udnie", stroke=2, color="luminance", device="cpu")``. Raises UserError for what cannot be used, TypeError
    for a keyword that there is not.
    """
    from stylenet.runtime.options import Runtime
    from stylenet.stylizing import stylizer  # torch costs seconds: not paid by `import stylenet`
    from stylenet.stylizing.controls import Controls
    from stylenet.system.options import grouped

    given = options if device is None else options | {"device": device}
    return stylizer.load(ckpt, *grouped(given, {Controls: controls, Runtime: runtime}))


def stylize_files(
    ckpt: str | Path | Sequence[str | Path],
    input: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    controls: "Controls | None" = None,
    runtime: "Runtime | None" = None,
    film: "FilmOptions | None" = None,
    writing: "Writing | None" = None,
    engine: "Engine | str" = "local",
    **options: Any,
) -> Iterator[Any]:
    """Stylize files; see :func:`stylenet.files.stylize_files.stylize_files`.

    Instead of the objects, the fields of :class:`Controls`, :class:`Runtime`, :class:`FilmOptions`, :class:`Writing`
    and :class:`Engine` may be keywords: ``stylize_files("udnie", "photos", "painted", size=1024, skip_existing=True)``.
    Raises TypeError for a keyword that there is not, and for one beside the object that has it as a field.
    """
    from stylenet.files import options as files_options
    from stylenet.files import stylize_files as files
    from stylenet.runtime.options import Runtime
    from stylenet.stylizing.controls import Controls
    from stylenet.system.options import grouped
    from stylenet.video.options import FilmOptions

    by_name = isinstance(engine, str)
    kinds = {Controls: controls, Runtime: runtime, FilmOptions: film, files_options.Writing: writing}
    kinds[files_options.Engine] = None if by_name else engine
    made = grouped(options | {"engine": engine} if by_name else options, kinds)
    names = ("controls", "runtime", "film", "writing", "engine")
    return files.stylize_files(ckpt, input, output, **dict(zip(names, made, strict=True)))
