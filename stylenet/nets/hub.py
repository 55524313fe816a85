"""Styles on the Hugging Face hub: their addresses, their files in the hub's own cache, and the way back up.

Takes safetensors files alone, and of them only those that say that they are a style. Knows addresses and files;
nothing about networks or pictures. Needs pip install 'stylenet[hub]'; HF_ENDPOINT, HF_HOME, HF_TOKEN and
HF_HUB_OFFLINE mean what they mean to huggingface_hub.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stylenet.nets.catalog import KEY, read_info
from stylenet.system.errors import UserError, one_line

PREFIX = "hf:"
SUFFIX = ".safetensors"
SHAPE = "hf:user/name, hf:user/name@revision, hf:user/name:style or hf:user/name/file.safetensors"
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"

_SHAPE = re.compile(r"hf:([^/:@\s]+/[^/:@\s]+)(?:/([^:@]+))?(?:@([^:@\s]+))?(?::([^:]+))?")
_fetched: dict[str, Path] = {}  # what this process has asked for: one answer for all parts of a run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """``hf:repo/file@revision:style``, of which the repo alone is necessary. ``repo``: user/name."""

    repo: str
    file: str | None = None
    revision: str | None = None
    style: str | None = None

    def __str__(self) -> str:
        """The address of the file, without the style."""
        file, revision = f"/{self.file}" if self.file else "", f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{file}{revision}"

    @property
    def name(self) -> str:
        """The name of its file, where that is asked for, else of its repo."""
        return Path(self.file).stem if self.file else self.repo.partition("/")[2]


def is_address(ckpt: object) -> bool:
    """Whether a checkpoint's name means one on the hub."""
    return str(ckpt).startswith(PREFIX)


def address(ckpt: object) -> Address:
    """The parts of an address. Raises UserError where it is none."""
    found = _SHAPE.fullmatch(str(ckpt))
    if found is None:
        raise UserError(f"ckpt={ckpt}: give {SHAPE}.")
    made = Address(*found.groups())
    if made.file and not made.file.endswith(SUFFIX):
        raise UserError(f"ckpt={ckpt}: only {SUFFIX} files are read from the hub. Give the name of one, or none.")
    return made


# --- down


def fetch(ckpt: object) -> Path:
    """The file of an address in the hub's cache, downloaded if necessary. The style of the address is ignored.

    The file is asked for once in a process. Where the hub cannot be reached, or in offline mode, what the cache has is
    used. Raises UserError for a repo, revision or file that there is not, or that needs a login, a repo without a
    style, or with several files, and where nothing is cached and the hub is out of reach.
    """
    wanted = address(ckpt)
    key = str(wanted)
    if key not in _fetched or not _fetched[key].is_file():
        hub = package()
        with _one_line(f"ckpt={key}"):
            file = _cached(hub, wanted) if hub.constants.HF_HUB_OFFLINE else _download(hub, wanted)
        _require_style(wanted, file.name, KEY if read_info(file) else "")
        _fetched[key] = file
    return _fetched[key]


def package() -> Any:
    """The package huggingface_hub. Raises UserError where it is not installed."""
    try:
        for part in ("constants", "errors", "utils"):
            import_module(f"huggingface_hub.{part}")
        return import_module("huggingface_hub")
    except ImportError as error:
        missing = "The hub needs the package huggingface_hub: pip install 'stylenet[hub]'."
        raise UserError(missing) from error


def _download(hub: Any, wanted: Address) -> Path:
    try:
        listed = hub.HfApi().model_info(wanted.repo, revision=wanted.revision)
        name = _chosen(wanted, [file.rfilename for file in listed.siblings or []])
        there = hub.try_to_load_from_cache(wanted.repo, name, revision=listed.sha)
        if not isinstance(there, str):  # a look at its first bytes, before all of them come
            try:
                about = hub.HfApi().parse_safetensors_file_metadata(wanted.repo, name, revision=wanted.revision)
            except hub.errors.SafetensorsParsingError:
                raise UserError(f"ckpt={wanted}: {name} is not a safetensors file: refused.") from None
            _require_style(wanted, name, about.metadata)
        return Path(hub.hf_hub_download(wanted.repo, name, revision=wanted.revision))
    except Exception as error:
        if not _out_of_reach(hub, error):
            raise
        with suppress(UserError):
            file = _cached(hub, wanted)
            log.warning("ckpt=%s: the hub cannot be reached; the copy in the cache is used", wanted)
            return file
        raise


def _cached(hub: Any, wanted: Address) -> Path:
    """The file in the cache, without a question to the hub. Raises UserError where there is none."""
    try:
        folder = Path(hub.snapshot_download(wanted.repo, revision=wanted.revision, local_files_only=True))
    except (hub.errors.LocalEntryNotFoundError, OSError) as error:
        raise _not_cached(wanted) from error
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob(f"*{SUFFIX}"))
    if not names or (wanted.file and wanted.file not in names):
        raise _not_cached(wanted)
    return folder / _chosen(wanted, names)


def _not_cached(wanted: Address) -> UserError:
    return UserError(
        f"ckpt={wanted} is not in the cache, and offline mode forbids to ask the hub: unset HF_HUB_OFFLINE once."
    )


def _chosen(wanted: Address, files: Sequence[str]) -> str:
    """The name of the file that is meant, of those in the repo."""
    names = [name for name in files if name.endswith(SUFFIX)]
    if wanted.file and wanted.file not in names:
        raise UserError(f"ckpt={wanted}: there is no such file. There are: {', '.join(names) or f'no {SUFFIX} files'}.")
    if wanted.file:
        return wanted.file
    if not names:
        others = ", ".join(sorted(files)[:5]) or "nothing"
        raise UserError(
            f"ckpt={wanted} holds no {SUFFIX} file, and only those are read from the hub. It has: {others}."
        )
    if len(names) > 1:
        example = Address(wanted.repo, names[0], wanted.revision)
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise UserError(f"ckpt={wanted} holds several files: {shown}. Choose one, such as ckpt={example}.")
    return names[0]


def _require_style(wanted: Address, name: str, metadata: Any) -> None:
    if KEY not in (metadata or ()):
        raise UserError(f"ckpt={wanted}: {name} is not a style of stylenet: its metadata do not say so. Not read.")


# --- up


def require_repo(repo: str, overwrite: bool) -> bool:
    """Whether ``repo`` (user/name) exists; before anything is made for it. Raises UserError where it cannot be
    published to: a bad name, no login, no network, or files that are there and ``overwrite`` is False.
    """
    hub = package()
    with _one_line(f"repo={repo}"):
        hub.utils.validate_repo_id(repo)
        if hub.get_token() is None:
            raise UserError(f"repo={repo}: you are not logged in: {LOGIN}, with a token that may write.")
        try:
            listed = hub.HfApi().model_info(repo)
        except hub.errors.GatedRepoError:
            raise
        except hub.errors.RepositoryNotFoundError:
            return False
    files = [file.rfilename for file in listed.siblings or [] if file.rfilename != ".gitattributes"]
    if files and not overwrite:
        shown = ", ".join(files[:5]) + (", ..." if len(files) > 5 else "")
        raise UserError(f"repo={repo} exists ({shown}): give overwrite=true for a new version, or another repo=.")
    return True


def upload(folder: Path, repo: str, message: str, private: bool) -> str:
    """Upload the files of ``folder`` as one commit, into a new ``repo`` if there is none, and return its address.

    Other safetensors files of the repo are removed from its newest version. Raises UserError where the hub refuses.
    """
    hub = package()
    with _one_line(f"repo={repo}"):
        api = hub.HfApi()
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder, repo_id=repo, commit_message=message, delete_patterns=[f"*{SUFFIX}", f"**/*{SUFFIX}"]
        )
    return str(url)


# --- mistakes


def _out_of_reach(hub: Any, error: Exception) -> bool:
    """Whether an error is the network's, or the hub's own."""
    refused = isinstance(error, hub.errors.HfHubHTTPError)
    if refused:
        return _status(error) >= 500
    transport = (hub.errors.HTTPError, hub.errors.OfflineModeIsEnabled, hub.errors.LocalEntryNotFoundError)
    return isinstance(error, (*transport, ConnectionError, TimeoutError))


def _status(error: Any) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """What goes wrong at the hub as a UserError. ``what``: the option, such as ckpt=hf:user/name."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if (told := _told(package(), cause)) is None:
            raise
        raise UserError(f"{what}: {told}") from error


def _told(hub: Any, error: BaseException) -> str | None:
    """An error of the hub in a sentence; None for one that is not the hub's."""
    errors, status = hub.errors, _status(error)
    kinds: list[tuple[bool | type[BaseException], str]] = [
        (errors.GatedRepoError, f"its owner grants access on request: ask on its page, then {LOGIN}."),
        (errors.RepositoryNotFoundError, f"the hub has no such repo, or it is private. Check the name, or {LOGIN}."),
        (errors.RevisionNotFoundError, "there is no such revision. Give a branch, a tag or a commit, or none."),
        (errors.EntryNotFoundError, "there is no such file."),
        (errors.HFValidationError, "give it as user/name: letters, digits, -, _ and ."),
        (status in (401, 403), f"the hub refuses the login ({_line(error)}). {LOGIN[0].upper()}{LOGIN[1:]}."),
        (status >= 500, f"the hub answers with error {status}. Try again later."),
        (errors.HfHubHTTPError, f"the hub refuses: {_line(error)}."),
        (errors.OfflineModeIsEnabled, "offline mode forbids to ask the hub: unset HF_HUB_OFFLINE."),
        (isinstance(error, Exception) and _out_of_reach(hub, error), "the hub cannot be reached. Check the network."),
        (OSError, f"{_line(error)}. Check the cache (HF_HOME) and its rights."),
        (ValueError, f"the hub refuses: {_line(error)}."),
    ]
    for kind, sentence in kinds:
        if kind if isinstance(kind, bool) else isinstance(error, kind):
            return sentence
    return None


def _line(error: BaseException) -> str:
    """The server's own message where there is one, else the error's, cut to a line."""
    said = getattr(error, "server_message", None)
    return (one_line(Exception(said)) if said else one_line(Exception(str(error)))).rstrip(".")[:200]
