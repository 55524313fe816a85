"""The list of photos: every picture under a folder or in a list file, once. Knows nothing about crops or training.

Listing reads only names and file types, so it takes seconds for 118,000 photos. ``open_photo`` checks whether a photo
can be decoded.
"""

import hashlib
import logging
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image

from stylenet.images import left_out
from stylenet.images.image_io import open_rgb
from stylenet.images.suffixes import PICTURES
from stylenet.system.errors import UserError

MIN_SIDE = 16  # pixels; below this a picture is an icon or a tracking pixel
LOOK_AROUND = 1000  # directory entries read when suggesting where the photos may be

log = logging.getLogger(__name__)


def find_images(root: str | Path, setting: str = "data.root") -> list[Path]:
    """The photos in ``root``, sorted by relative name, each file once regardless of links.

    ``root``: a folder (nested or flat, links followed), a .txt list (one path a line, relative to the list's folder),
    or an unpacked COCO (then only its ``train2017``). ``setting``: the option to name in messages. Hidden files and
    other file types are ignored, and counted in the log. Raises UserError, with what was found instead, if there are no
    photos.
    """
    root = data_root(root)
    if not root.exists():
        raise UserError(f"{root} does not exist; {_nearest(root)} Give a folder of photos: {setting}=...")
    if root.is_file() and root.suffix.lower() != ".txt":
        raise UserError(f"{root} is a single file. Give a folder of photos, or a .txt file with one path a line.")
    ignored: Counter[str] = Counter()
    found = _listed(root, ignored) if root.is_file() else _walk([root], ignored)
    if not found:
        hint = _elsewhere(root) if root.is_dir() else ""
        raise UserError(f"0 photos in {root}; {_contents(root, ignored)}. {hint}Give a folder of photos: {setting}=...")
    kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common())
    log.info("%d photos in %s%s", len(found), root, f" (ignored: {kinds})" if kinds else "")
    return sorted(found, key=lambda path: relative_name(path, root))


def data_root(root: str | Path) -> Path:
    """``root`` with ``~`` expanded; for COCO's folder, its training photos."""
    root = Path(root).expanduser()
    return root / "train2017" if (root / "train2017").is_dir() else root


def relative_name(path: Path, root: Path) -> str:
    """The photo's path relative to the data folder, with forward slashes: the key for sorting and holding out."""
    start = root.parent if root.is_file() else root
    return Path(os.path.relpath(path, start)).as_posix()


def open_photo(path: Path, at_least: int | None = None) -> Image.Image:
    """The photo as RGB (see ``images.open_rgb``). Raises UserError if it cannot be decoded or is tiny."""
    image = open_rgb(path, at_least=at_least)
    if min(image.size) < MIN_SIDE:
        raise UserError(f"{path} is {image.width}x{image.height} px, smaller than {MIN_SIDE}")
    return image


def identity(path: Path) -> tuple[int, int]:
    """Device and inode of a file, the same through every link."""
    status = path.stat()
    return status.st_dev, status.st_ino


def hold_out(photos: Sequence[Path], root: Path, count: int, usable: Callable[[Path], bool]) -> list[Path]:
    """Choose ``count`` photos by the hash of their names: adding a photo changes at most one of them.

    Skips photos for which ``usable`` is false. Returns fewer if there are fewer.
    """

    def rank(path: Path) -> bytes:
        return hashlib.sha256(relative_name(path, root).encode(errors="surrogateescape")).digest()

    return list(islice(filter(usable, sorted(photos, key=rank)), count))


def _walk(start: Iterable[Path], ignored: Counter[str]) -> list[Path]:
    """Photos in and below ``start``. Real files come before links, so a photo keeps its own name."""
    queue, seen, found = deque(start), set(), []
    while queue:
        path = queue.popleft()
        try:
            status = path.stat()
            this = (status.st_dev, status.st_ino)
            if this in seen:
                continue
            seen.add(this)
            if stat.S_ISDIR(status.st_mode):
                _enqueue(path, queue, ignored)
            elif path.suffix.lower() in PICTURES and stat.S_ISREG(status.st_mode):
                found.append(path)
            elif (kind := left_out.kind(path)) is not None:
                advice = left_out.Left(path, kind).reason if kind in left_out.CONVERTIBLE else ""
                ignored[(path.suffix.lower() or "without a suffix") + (f" ({advice})" if advice else "")] += 1
        except OSError as error:
            log.warning("skipped %s: %s", path, error.strerror)
            ignored["unreachable"] += 1
    return found


def _enqueue(folder: Path, queue: deque[Path], ignored: Counter[str]) -> None:
    """Add real entries to the front of the queue and links to its end, both sorted by name."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    shown = [entry for entry in ordered if not entry.name.startswith(".")]
    if len(shown) < len(ordered):
        ignored["hidden"] += len(ordered) - len(shown)
    queue.extendleft(Path(entry.path) for entry in reversed(shown) if not entry.is_symlink())
    queue.extend(Path(entry.path) for entry in shown if entry.is_symlink())


def _listed(file: Path, ignored: Counter[str]) -> list[Path]:
    """The photos of a list file. Missing files are counted, and the first few logged."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not a readable UTF-8 list of paths: {error}") from error
    paths = [file.parent / Path(line.strip()).expanduser() for line in lines if line.strip()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = ", ".join(str(path) for path in missing[:5])
        log.warning("%s: %d of %d lines name no file: %s%s", file, len(missing), len(paths), names, _more(missing, 5))
        ignored["missing"] += len(missing)
    gone = set(missing)
    return _walk((path for path in paths if path not in gone), ignored)


def _contents(root: Path, ignored: Counter[str]) -> str:
    """A short description of what is there instead of photos."""
    if root.is_file():
        return f"it names {sum(ignored.values())} other things ({', '.join(ignored)})" if ignored else "it is empty"
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    words = []
    if ignored:
        words.append(f"it has {_counted(sum(ignored.values()), 'file')} ({', '.join(ignored)})")
    if folders:
        few = ", ".join(folders[:5]) + _more(folders, 5)
        words.append(f"{'' if ignored else 'it has '}{_counted(len(folders), 'folder')} {few}")
    return " and ".join(words) or "it is empty"


def _elsewhere(root: Path) -> str:
    """A hint about a nearby folder with photos, for a path that is one level off."""
    try:
        above = Path(os.path.abspath(root)).parent
        beside = [path for path in islice(above.iterdir(), LOOK_AROUND) if path.is_dir()]
        holding = next((folder for folder in [above, *sorted(beside)] if _holds_photo(folder)), None)
    except OSError:
        return ""
    return f"There are photos in {holding}. " if holding else ""


def _holds_photo(folder: Path) -> bool:
    try:
        return any(path.suffix.lower() in PICTURES for path in islice(folder.iterdir(), LOOK_AROUND))
    except OSError:
        return False


def _nearest(missing: Path) -> str:
    """The folders in the closest existing parent."""
    parent = next(path for path in Path(os.path.abspath(missing)).parents if path.is_dir())
    try:
        names = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        names = []
    return f"{parent} has " + (f"the folders {', '.join(names[:8])}{_more(names, 8)}." if names else "no folders.")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)


def _more(things: Sequence[object], shown: int) -> str:
    return f" and {len(things) - shown} more" if len(things) > shown else ""
