"""Pictures at URIs such as s3://bucket/photos, by fsspec. Knows nothing about networks or clusters.

Planning works on Path objects. A URI as a Path becomes s3:/bucket; :func:`place` restores it.
"""

import io
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from stylenet.files import planning
from stylenet.files.planning import Found, in_files
from stylenet.images import image_io, left_out
from stylenet.images.image_io import Picture
from stylenet.images.left_out import Left
from stylenet.system.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?(?=[^/]|$)")  # two letters or more: C:/ is a drive
_HERE = re.compile(r"(?:file|local)://")


def is_uri(value: str | Path) -> bool:
    """Whether a path is an fsspec URI, after :func:`here`. An existing file with such a name is a file."""
    return bool(_SCHEME.match(str(value))) and ("://" in str(value) or not os.path.lexists(value))


def here(value: str | Path) -> str:
    """A file:// URI as a path; other values unchanged."""
    return _HERE.sub("", str(value), count=1)


def place(path: Path) -> Path | str:
    """The URI that ``path`` was made from, or ``path`` itself."""
    return _SCHEME.sub(r"\1://", path.as_posix(), count=1) if is_uri(path) else path


def held_here(value: str) -> bool:
    """Whether only this process can access it."""
    return value.startswith("memory:")


def find(value: str, output: str | Path | None) -> list[Found]:
    """As :func:`stylenet.files.planning.in_files`, also for URIs: a picture, a folder with sub-folders, or a pattern.

    Raises UserError for inputs that do not exist, cannot be reached, or need a package that is not installed.
    """
    if not is_uri(value):
        return _without_films(in_files(value, output))
    system, path = _system("input", value)
    try:
        system.invalidate_cache()
        if system.isfile(path):
            return [Found(Path(_uri(system, path, value)))]
        pattern = any(letter in path for letter in "*?[")
        names = system.glob(path) if pattern else system.find(path)
    except Exception as error:  # each file system has its own exceptions
        raise UserError(f"input={value} cannot be read: {_line(error)}.") from error
    root, out = path.rstrip("/"), _below(system, output)
    found = []
    for name in sorted(names):
        which = None if out and out != root and name.startswith(out + "/") else _kind(name, "" if pattern else root)
        if which is not None:
            left = None if which == left_out.PICTURE else left_out.CLUSTER if which == left_out.FILM else which
            found.append(Found(Path(_uri(system, name, value)), None if pattern else Path(value), left))
    if all(one.left is not None for one in found):
        kinds = left_out.summary([Left(one.path, str(one.left)) for one in found])
        raise UserError(f"input={value}: there are no pictures here{f' ({kinds})' if kinds else ''}.")
    return found


def _without_films(found: list[Found]) -> list[Found]:
    """Leave out films of folders and patterns if there are pictures too: workers accept only pictures."""
    films = {one for one in found if one.left is None and one.root is not None and planning.moves(one.path)}
    if len(films) == sum(one.left is None for one in found):
        return found
    return [replace(one, left=left_out.CLUSTER) if one in films else one for one in found]


def existing(targets: Iterable[Path]) -> set[Path]:
    """The targets that exist. Each remote folder is listed once, as checking each file is slow."""
    there: set[Path] = set()
    folders: dict[Path, set[str]] = {}
    for target in targets:
        spot = place(target)
        if isinstance(spot, Path):
            there |= {target} if os.path.lexists(target) else set()
            continue
        system, path = _system("output", spot)
        if target.parent not in folders:
            folders[target.parent] = _names(system, path.rpartition("/")[0])
        there |= {target} if target.name in folders[target.parent] else set()
    return there


def read(spot: str) -> Picture:
    """Read a picture from a URI or a file. Raises UserError if it cannot be read."""
    return image_io.read(spot) if not is_uri(spot) else decode(load(spot), spot)


def load(spot: str) -> bytes:
    """Read the bytes at a URI. Raises UserError if they cannot be read."""
    system, path = _system("input", spot)
    try:
        return system.cat_file(path)
    except Exception as error:
        raise UserError(f"Cannot read {spot}: {_line(error)}.") from error


def decode(data: bytes, spot: str) -> Picture:
    """Decode a picture. Raises UserError with the name ``spot`` if it cannot be read."""
    try:
        return image_io.read(io.BytesIO(data))
    except UserError as error:
        raise UserError(str(error).replace("the picture", spot, 1)) from error


def write(spot: str, picture: Picture, quality: int) -> None:
    """Write a picture to a URI or a file. Object stores write atomically; on other remote systems a kill may leave a
    partial file. Raises UserError if it cannot be written.
    """
    if is_uri(spot):
        store(spot, image_io.encode(picture, image_io.format_of(spot), quality))
    else:
        image_io.write(spot, picture, quality)


def store(spot: str, data: bytes) -> None:
    """Write bytes to a URI. Raises UserError if they cannot be written."""
    system, path = _system("output", spot)
    try:
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)
    except Exception as error:
        raise UserError(f"Cannot write {spot}: {_line(error)}. Choose another place or make room.") from error


def _system(option: str, uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{option}={uri} needs fsspec: pip install 'stylenet[ray]'.") from None
    scheme = uri.partition(":")[0]
    try:
        return fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise UserError(f"{option}={uri}: {scheme}:// needs another package: {_line(error)}.") from error
    except Exception as error:
        raise UserError(f"{option}={uri} cannot be reached: {_line(error)}.") from error


def _uri(system: Any, path: str, like: str) -> str:
    """A path of the file system as a URI with the scheme of ``like``."""
    return f"{like.partition('://')[0]}://{system._strip_protocol(path).lstrip('/')}"


def _below(system: Any, output: str | Path | None) -> str | None:
    """The path of an output folder in the same file system, to exclude results of earlier runs."""
    if output is None or not is_uri(output) or str(output).partition(":")[0] not in _schemes(system):
        return None
    return system._strip_protocol(str(output)).rstrip("/")


def _schemes(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _kind(name: str, root: str) -> str | None:
    """As :func:`stylenet.images.left_out.kind`, for a name below ``root``; all files in a hidden folder are hidden."""
    parts = PurePosixPath(name[len(root) :]).parts
    if any(part.startswith(".") for part in parts[:-1]):
        return left_out.HIDDEN
    return left_out.kind(Path(PurePosixPath(name).name), here=False)


def _names(system: Any, folder: str) -> set[str]:
    try:
        system.invalidate_cache()
        return {name.rpartition("/")[2] for name in system.find(folder, maxdepth=1)}
    except FileNotFoundError:
        return set()
    except Exception as error:
        raise UserError(f"output={folder} cannot be read: {_line(error)}.") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
