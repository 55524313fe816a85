"""Which files to stylize, and the path of each result. Knows names and folders; nothing about pixels or networks."""

import difflib
import glob
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stylenet.images import left_out
from stylenet.images.left_out import Left
from stylenet.images.suffixes import FILM_FORMATS, FILMS, NEAREST, PICTURE_FORMATS
from stylenet.system.atomic import is_pipe, writable
from stylenet.system.errors import UserError
from stylenet.video import image_sequence, sources

STREAM = Path("-")  # stdin or stdout
SHEETS = ("styles", "compared")  # what the names of sheets end in: they are results, no photos
_STDIN, _STDOUT = ("/dev/stdin", "/dev/fd/0"), ("/dev/stdout", "/dev/fd/1")  # their other names
_LONGEST = 248  # bytes of a file name; most systems allow 255, and _distinct may add a number


@dataclass(frozen=True)
class Found:
    """A file, and the input folder it was found in, if any. ``left``: the reason it is left out, a kind of
    :mod:`stylenet.images.left_out`; None if it is to be stylized.
    """

    path: Path
    root: Path | None = None
    left: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it is stdin or a named pipe: one picture that can be read only once."""
        return self.path == STREAM or (self.root is None and self.left is None and self.path.is_fifo())


@dataclass(frozen=True)
class Job:
    """A source and its target. ``once``: the source is a pipe given as an input; a pipe in a folder is no picture."""

    source: Path
    target: Path
    once: bool = False


Find = Callable[[str, str | Path | None], list[Found]]


def existing(overwrite: object, skip_existing: object) -> str:
    """How to handle existing results: "refuse", "replace" or "skip". Raises UserError if both options are set."""
    if not isinstance(skip_existing, bool):
        raise UserError(f"skip_existing={skip_existing}: give true or false.")
    if overwrite and skip_existing:
        raise UserError("overwrite=true and skip_existing=true contradict each other: give one of them.")
    return "replace" if overwrite else "skip" if skip_existing else "refuse"


def require_free(paths: Sequence[Path], overwrite: object) -> None:
    """Raise UserError, before any work, if a result would replace a file, or the first cannot be written."""
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")
    for path in paths:
        if is_there(path) and not overwrite:
            raise UserError(f"{path} exists: give overwrite=true to replace it, or another output=.")
    writable(paths[0])


SKIPPED = "the result exists"  # the reason in a report


def is_there(target: str | Path) -> bool:
    """Whether a result would replace a file."""
    return os.path.lexists(target) and not is_pipe(target)


def exists(target: str | Path) -> str:
    """The message for a result that exists."""
    return f"{target} exists: give overwrite=true to replace it, skip_existing=true to keep it, or another output=."


@dataclass(frozen=True)
class Plan:
    """``jobs``: the files to stylize. ``left``: the files of folders and patterns that are left out."""

    jobs: list[Job]
    left: list[Left]


def plan(
    inputs: Sequence[str | Path],
    output: str | Path | None,
    style: str,
    own: Collection[str] = (),
    find: Find | None = None,
) -> list[Job]:
    """The jobs of :func:`planned`, with the same arguments."""
    return planned(inputs, output, style, own, find).jobs


def planned(
    inputs: Sequence[str | Path],
    output: str | Path | None,
    style: str,
    own: Collection[str] = (),
    find: Find | None = None,
) -> Plan:
    """One job for each picture of ``inputs`` (files, folders, patterns, "-"), each with a distinct target.

    ``output``: None (next to each input), "-", a file for a single picture, or a folder; sub-folders are kept.
    Results are named ``<name>_<style>``. With several pictures, results of earlier runs under ``style`` or a name in
    ``own`` are left out, as are files that are not pictures. ``find``: lists the files of one input; None for local
    files. Raises UserError for missing inputs and an unsuitable ``output``.
    """
    found = [one for value in inputs for one in (find or in_files)(str(value), output)]
    found = _without_films(_once(found))
    if sum(one.left is None for one in found) > 1:
        found = _without_results(found, {style, *own, *SHEETS})
    left = [Left(one.path, one.left) for one in found if one.left is not None]
    found = [one for one in found if one.left is None]
    many = len(found) > 1
    if many and (stream := next((one for one in found if one.is_stream), None)):
        name = "- (stdin)" if stream.path == STREAM else stream.path
        raise UserError(f"input={name} is one picture: it cannot be combined with other inputs.")
    output = "-" if str(output) in _STDOUT else output
    holds_one = output is not None and (str(output) == "-" or is_pipe(output))
    if output is None:
        targets = [STREAM if one.is_stream else _named(one.path, one.path.parent, style) for one in found]
    elif _is_folder(output) or (many and not holds_one):
        one = Path(output).suffix.lower() in PICTURE_FORMATS.keys() | FILM_FORMATS.keys()
        if Path(output).is_file() or (many and one and not Path(output).is_dir()):
            raise UserError(f"output={output} names one file, but there are {len(found)} pictures: give a folder.")
        targets = [_named(one.path, _mirrored(one, Path(output)), style) for one in found]
    elif many:
        raise UserError(f"output={output} holds one picture, but there are {len(found)}: give a folder.")
    else:
        targets = [Path(output)]
    return Plan(
        [Job(one.path, target, one.is_stream) for one, target in zip(found, _distinct(targets), strict=True)], left
    )


def as_films(plan: Plan, output: str | Path | None) -> Plan:
    """The same for results that are films: those of single pictures are .mp4, unless ``output`` names the only one."""
    if len(plan.jobs) == 1 and output is not None and plan.jobs[0].target == Path(output):
        return plan
    targets = _distinct(job.target if moves(job.source) else job.target.with_suffix(".mp4") for job in plan.jobs)
    return replace(plan, jobs=[replace(job, target=path) for job, path in zip(plan.jobs, targets, strict=True)])


# --- inputs


def in_files(value: str, output: str | Path | None) -> list[Found]:
    """The files of one input."""
    path = STREAM if value in _STDIN else Path(value)
    if (
        path == STREAM
        or path.is_fifo()
        or path.is_file()
        or image_sequence.camera(value) is not None
        or image_sequence.numbers(value)
    ):
        return [Found(path)]
    if path.is_dir():
        return _in_folder(path, output)
    if os.path.lexists(value):
        linked = "a link that leads nowhere" if path.is_symlink() and not os.path.exists(value) else "no file or folder"
        raise UserError(f"input={value} is {linked}: give a picture or a folder of pictures.")
    if any(letter in value for letter in "*?["):
        return _matching(value)
    if "://" in value:
        raise UserError(f"input={value}: there is no such file or folder; URIs are for engine=ray.")
    near = difflib.get_close_matches(path.name, _names(path.parent), n=1)
    hint = f" Did you mean {path.parent / near[0]}?" if near else ""
    raise UserError(f"input={value}: there is no such file or folder.{hint}")


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _in_folder(folder: Path, output: str | Path | None) -> list[Found]:
    """All files below a folder, sorted by name: pictures, films, and those left out.

    Earlier results below ``output`` are ignored.
    """
    if os.path.dirname(os.path.realpath(folder)) == os.path.realpath(folder):
        raise UserError(f"input={folder} is the whole disk: give a folder of pictures.")
    skipped = {os.path.realpath(output)} - {os.path.realpath(folder)} if output else set()
    found, closed, seen = [], [], set()
    for place, folders, files in os.walk(folder, onerror=lambda error: closed.append(error.filename), followlinks=True):
        real = os.path.realpath(place)
        if real in seen or real in skipped:  # links may form a cycle
            folders.clear()
            continue
        seen.add(real)
        hidden = [Path(place, name) for name in sorted(folders) if name.startswith(".")]
        found += [Found(path, folder, left_out.HIDDEN) for path in hidden if not left_out.is_system_file(path)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += _classified([Path(place, name) for name in sorted(files)], folder)
    found += [Found(Path(name), folder, left_out.CLOSED) for name in closed]
    if all(one.left is not None for one in found):
        kinds = left_out.summary([Left(one.path, str(one.left)) for one in found])
        raise UserError(f"input={folder}: no pictures in this folder ({kinds or 'it is empty'}).")
    return found


def _once(found: Sequence[Found]) -> list[Found]:
    """Each file once. A file that is also given by name is not left out."""
    once: dict[str, Found] = {}
    for one in found:
        if one.left is None or _identity(one.path) not in once:
            once[_identity(one.path)] = one
    return list(once.values())


def _classified(files: Sequence[Path], root: Path) -> list[Found]:
    """Files of a folder or a pattern, with the reason if left out; without system files."""
    kinds = {path: left_out.kind(path) for path in files}
    return [
        Found(path, root, None if kind in (left_out.PICTURE, left_out.FILM) else kind)
        for path, kind in kinds.items()
        if kind is not None
    ]


def _without_films(found: list[Found]) -> list[Found]:
    """Leave out films if the package that reads them is missing and there are other files to stylize."""

    def is_film(one: Found) -> bool:
        return one.left is None and one.root is not None and one.path.suffix.lower() in FILMS

    todo = [one for one in found if one.left is None]
    if left_out.films_can_be_read() or all(map(is_film, todo)):
        return found
    return [replace(one, left=left_out.FILM) if is_film(one) else one for one in found]


def _matching(pattern: str) -> list[Found]:
    """The files that match a pattern. Their root is the path before its first wildcard."""
    pattern = os.path.expanduser(pattern)
    names = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in names if path.is_file() or is_pipe(path)]
    if not files:
        raise UserError(f"input={pattern}: there is no such file, and as a pattern it matches none.")
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    found = _classified(files, root)
    if all(one.left is not None for one in found):
        return [Found(path, root) for path in files]  # requested by suffix: reading them reports the error
    into = {parent for path in files for parent in path.parents}
    folders = [path for path in names if path.is_dir() and path not in into and path != root]
    return [*found, *(Found(path, root, left_out.FOLDER) for path in folders)]


def _without_results(found: list[Found], styles: set[str]) -> list[Found]:
    """Leave out ``name_style.ext`` if ``name.*`` is in the same folder: it is the result of an earlier run."""
    names = {(one.path.parent, one.path.stem) for one in found if one.left is None}
    style = f"(?:{'|'.join(map(re.escape, sorted(styles)))})"
    result = re.compile(rf"(.+?)_{style}(?:\+{style})*(?:_[0-9]+)?")

    def is_result(path: Path) -> bool:
        made = result.fullmatch(path.stem)
        return made is not None and (path.parent, made[1]) in names

    return [replace(one, left=left_out.RESULT) if one.left is None and is_result(one.path) else one for one in found]


def _identity(path: Path) -> str:
    return "-" if path == STREAM else os.path.abspath(path)


def moves(path: Path) -> bool:
    """Whether ``path`` is a film, an animated picture, numbered pictures or a camera."""
    kind = sources.source_kind(path)
    return kind is not None and kind.moves(path)


def has_times(path: Path) -> bool:
    """Whether the frames of the moving pictures at ``path`` have timestamps."""
    kind = sources.source_kind(path)
    return kind is None or kind.timed


# --- outputs


def _is_folder(output: str | Path) -> bool:
    """Whether ``output`` means a folder: it exists as one, ends in a slash, or has no suffix."""
    text = str(output)
    return (
        text != "-"
        and not is_pipe(text)
        and (Path(text).is_dir() or text.endswith(("/", os.sep)) or not Path(text).suffix)
    )


def _mirrored(one: Found, output: Path) -> Path:
    return output / one.path.parent.relative_to(one.root) if one.root else output


def _named(source: Path, folder: Path, style: str) -> Path:
    """``<name>_<style>`` with the suffix of the source if results can have it, else with a suitable one.

    A picture becomes .png if its format cannot be written or has only 256 colours. For moving pictures, see their kind
    in :data:`stylenet.video.sources.SOURCES`.
    """
    kind = sources.source_kind(source) if moves(source) else None
    writable, otherwise = (kind.results, kind.otherwise) if kind else (PICTURE_FORMATS.keys() - {".gif"}, ".png")
    suffix = source.suffix
    if suffix.lower() not in writable:
        suffix = NEAREST.get(suffix.lower(), otherwise)
    stem = "stdin" if source == STREAM else source.stem
    stem = stem.replace(":", "_") if image_sequence.is_camera(source) else stem
    end = f"_{style}{suffix}"
    while len(os.fsencode(stem + end)) > _LONGEST:
        stem = stem[:-1]
    return folder / f"{stem}{end}"


def _distinct(targets: Iterable[Path]) -> list[Path]:
    """Number targets that would collide, also on case-insensitive file systems."""
    taken: set[str] = set()
    last: dict[str, int] = {}  # number used for each name
    apart = []
    for target in targets:
        free, name = target, _identity(target).casefold()
        while _identity(free).casefold() in taken:
            last[name] = last.get(name, 1) + 1
            free = target.with_stem(f"{target.stem}_{last[name]}")
        taken.add(_identity(free).casefold())
        apart.append(free)
    return apart
