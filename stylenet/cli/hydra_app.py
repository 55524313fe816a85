"""Shared by all commands: file names are used as typed, and a mistake is one line instead of a traceback.

Knows Hydra and OmegaConf; nothing about styles. ``HYDRA_FULL_ERROR=1`` in the environment enables tracebacks.
"""

import argparse
import csv
import difflib
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir, main
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylenet.cli import doors, launch, own_configs
from stylenet.system import console, places
from stylenet.system.atomic import numbered
from stylenet.system.errors import UserError
from stylenet.training import distributed

PATIENCE = 3.0  # seconds
_claimed: dict[str, str] = {}  # folders of runs: requested name to actual name
RESOLVERS = {
    "project": lambda path: str(places.project(path)),  # ${project:runs}
    "program": doors.program,
    "run_of": lambda resume, otherwise: run_of(resume) or claimed(otherwise),
    "claimed": lambda folder: claimed(folder),
    "chosen": lambda choice, styles: chosen(choice, styles),
    "if_resumed": lambda resume, then, otherwise: then if run_of(resume) else otherwise,
}
for name, resolver in RESOLVERS.items():
    # Cached, so a folder is claimed once, however often a config or its copy in another process is resolved.
    OmegaConf.register_new_resolver(name, resolver, replace=True, use_cache=name in ("run_of", "claimed"))


def chosen(choice: str | None, styles: DictConfig) -> str:
    """The name of a run's folder: its style, or the names of its styles, as many as fit."""
    if choice not in (None, "None"):
        return choice
    names = [str(name) for name in styles if name != "color"]
    while len("+".join(names)) > 120:
        names = [*names[:-2], "more"]
    return "+".join(names)


def run(
    function: Callable[[DictConfig], Any],
    config_name: str,
    paths: Collection[str] | Callable[[], Collection[str]],
    several: str | Sequence[str] = (),
    together: bool = False,
    texts: Collection[str] = (),
    also_groups: Collection[str] = (),
) -> None:
    """Compose ``configs/<config_name>.yaml`` with the command line, and call ``function(config)`` once, or once per
    ``-m`` run.

    ``paths``: the keys of file names, which are used as typed, without quotes for Hydra's grammar; or a function that
    returns them, called once the user's own configs are known. ``several``: the key or the keys that may be repeated,
    or a list; their value becomes a list. Files without a key belong to the first. ``texts``: the keys of text values,
    even if they look like numbers. ``also_groups``: the keys of options that are names of groups of configs, too: see
    :func:`as_group`. In every option ~ is the user's home. ``together``: several processes may run one
    training; all except the first use :func:`stylenet.cli.launch.follow`.

    Exits with 2 and one line on stderr after a UserError or a mistake in the options, with 130 after Ctrl-C.
    """
    tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and exits
    logging.raiseExceptions = False  # a full disk must not break logging: the screen shows it too
    console.open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names that are not UTF-8
    argparse.ArgumentParser.error = _refuse  # type: ignore[method-assign]  # argparse's own prints pages
    try:
        sys.argv[1:] = own_configs.find(sys.argv[1:])
    except UserError as error:
        _exit(str(error))
    refuse_dashes(sys.argv[1:], config_name)
    words = as_typed(sys.argv[1:], paths() if callable(paths) else paths, several, texts)
    sys.argv[1:] = together_first([as_group(word, also_groups) for word in words])
    started: list[DictConfig] = []
    job = launch.as_first_process(function) if together else function
    job = launch.report_stop(_exiting_on_mistakes(job, started, tracebacks))
    try:
        if together and distributed.number() > 0:
            return launch.follow(job, str(places.CONFIGS), config_name)
        launch.prepare_many()
        main(version_base="1.3", config_path=str(places.CONFIGS), config_name=config_name)(job)()
    except BrokenPipeError:
        if started:  # it may be another pipe than stdout
            raise
        console.end_quietly()
    except Exception as error:  # Hydra raises ValueError and others for invalid options
        if tracebacks or (started and not isinstance(error, UserError)):
            raise
        if isinstance(error, launch.Ended):
            sys.exit(error.code)
        _exit(explain(error, config_name))
    except KeyboardInterrupt:
        sys.exit(130)


def _exiting_on_mistakes(
    function: Callable[[DictConfig], Any], started: list[DictConfig], tracebacks: bool
) -> Callable:
    """Wrap ``function`` to exit after a user's mistake, before Hydra adds its own report."""

    def job(config: DictConfig) -> Any:
        started.append(config)
        try:
            if missing := sorted(OmegaConf.missing_keys(config)):
                raise UserError(f"Please give {' and '.join(f'{key}=...' for key in missing)} (--help explains).")
            return function(config)
        except (UserError, OmegaConfBaseException) as error:
            if tracebacks:
                raise
            message = str(error) if isinstance(error, UserError) else _first_line(error)
            if launch.one_of_many():
                raise UserError(message) from None  # the other runs continue
            _exit(message)

    return job


def _exit(message: str) -> NoReturn:
    if other := distributed.number():
        time.sleep(PATIENCE)  # if the first process reports the same, it ends this one meanwhile
        message = f"process {other}: {message}"
    console.warn_line(message)
    sys.exit(2)


def run_of(resume: str | None) -> str | None:
    """The run folder of the checkpoint ``resume``; None if it is not in a run folder."""
    folder = Path(resume).absolute().parent if resume and Path(resume).is_file() else None
    return str(folder) if folder and (folder / ".hydra").is_dir() else None


def claimed(folder: str) -> str:
    """Create the folder of a new run and return it. If it exists, use the next free name, such as x_2, so runs that
    start in the same second have separate folders. The result is constant within a process.

    The other processes of a training use the folder of the first. Printing the config creates no folder.
    """
    only_printed = any(word in ("-c", "-i") or word.startswith(("--cfg", "--info")) for word in sys.argv[1:])
    if distributed.number() > 0 or only_printed:
        return folder
    if folder not in _claimed:
        try:
            _claimed[folder] = str(next(place for place in numbered(Path(folder)) if _made(place)))
        except OSError:
            return folder  # Hydra will fail to write there and report it
    return _claimed[folder]


def _made(folder: Path) -> bool:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


# --- file names as typed


def as_typed(
    argv: list[str], paths: Collection[str], several: str | Sequence[str] = (), texts: Collection[str] = ()
) -> list[str]:
    """The command line with the values of ``paths`` quoted for Hydra, and those of each key in ``several`` merged into
    one list. Files without a key belong to the first of ``several``.

    Values of ``texts`` are quoted if they are plain words: Hydra reads 1_1 as the number 11. In others ~ becomes the
    user's home: Hydra rejects it or, in quotes, uses it as a folder name.
    """
    several = [several] if isinstance(several, str) else several
    words: list[str] = []
    gathered: dict[str, list[str]] = {}
    places: dict[str, int] = {}

    def gather(key: str, names: list[str]) -> None:
        if key not in places:
            places[key] = len(words)
            words.append("")  # the list, once it is complete
        gathered.setdefault(key, []).extend(names)

    for word in argv:
        key, equals, value = word.partition("=")
        if equals and key.lstrip("+") in paths:
            names = _names(value) if value != "null" else None
            if names is not None and key.lstrip("+") in several:
                gather(key.lstrip("+"), names)
            elif names is not None:
                words.append(f"{key}={_quote(names[0])}" if len(names) == 1 else f"{key}={_list(names)}")
            else:
                words.append(word)
        elif equals and key.lstrip("+") in texts:
            words.append(f"{key}={_text(value)}")
        elif equals:
            words.append(f"{key}={_at_home(value)}")
        elif several and not word.startswith("-") and os.path.exists(word):
            gather(several[0], [word])
        else:
            words.append(word)
    for key, place in places.items():
        words[place] = f"{key}={_list(gathered[key])}"
    return words


def as_group(word: str, keys: Collection[str]) -> str:
    """A word ``style=x`` as ``style={given:x}`` if its key is among ``keys``: Hydra takes the plain one for the choice
    of a config, as there is a group of that name. :func:`given` gives x back.
    """
    key, equals, value = word.partition("=")
    return f"{key}={{given:{value}}}" if equals and key in keys else word


def given(option: Any) -> Any:
    """The value of an option of :func:`as_group`."""
    return option["given"] if isinstance(option, dict) and [*option] == ["given"] else option


def _names(value: str) -> list[str]:
    """The file names in a value: the value itself if that file exists, else the parts of [a, b], "a" or ~/a."""
    if os.path.lexists(value):
        return [value]
    if len(value) > 1 and value[0] == value[-1] == "'":
        return [_unquote(value)]
    if len(value) > 1 and value[0] == "[" and value[-1] == "]":
        quote = "'" if value[1:].lstrip().startswith("'") else '"'
        return [name for row in csv.reader([value[1:-1]], quotechar=quote, skipinitialspace=True) for name in row]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return [os.path.expanduser(value)]


def _text(value: str) -> str:
    """Comma-separated values, quoted if all are plain words; shares such as a:0.6,b:0.4 as one text."""
    if re.fullmatch(r"[^\[\]{}'\",:]+:[\d.]+(,[^\[\]{}'\",:]+:[\d.]+)*", value):
        return _quote(value)
    words = value.split(",")
    plain = all(re.fullmatch(r"[\w.+-]+", word) and word != "null" for word in words)
    return ",".join(map(_quote, words)) if plain else value


def _at_home(value: str) -> str:
    """A value with a leading ~, in quotes or not, replaced by the user's home."""
    quote = value[0] if value[:1] in ("'", '"') else ""
    return quote + os.path.expanduser(value[len(quote) :]) if value[len(quote) :].startswith("~") else value


def _list(names: list[str]) -> str:
    return "[" + ",".join(map(_quote, names)) + "]"


def _quote(name: str) -> str:
    """Quote a value so that Hydra's grammar and OmegaConf's interpolation leave it unchanged."""
    name = "./???" if name == "???" else name  # ??? alone means "missing"
    name = re.sub(r"(\\*)\$\{", r"\1\1\\${", name)
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), name) + "'"


def _unquote(quoted: str) -> str:
    """The inverse of :func:`_quote`."""
    name = re.sub(r"(\\+)('|$)", lambda found: found[1][: len(found[1]) // 2] + found[2], quoted[1:-1])
    name = re.sub(r"(\\+)\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", name)
    return name if os.path.lexists(name) else os.path.expanduser(name)


VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name")
VALUED += ("--experimental-rerun",)


def together_first(argv: list[str]) -> list[str]:
    """The command line with all name=value words before Hydra's own options, such as -m: argparse rejects values on
    both sides of an option.
    """
    values: list[str] = []
    options: list[str] = []
    for word in argv:
        belongs = bool(options) and options[-1] in VALUED or (options[-1:] in (["--info"], ["-i"]) and "=" not in word)
        (options if belongs or (word.startswith("-") and word != "-") else values).append(word)
    return values + options


# --- mistakes in the options


def refuse_dashes(argv: list[str], config_name: str) -> None:
    """Exit with one line for ``--size 3``, instead of argparse's list of all Hydra options."""
    dashed = [word.lstrip("-").partition("=")[0] for word in argv if word.startswith("--")]
    if dashed and (known := set(dashed) & set(_known_keys(config_name))):
        key = min(known)
        _exit(f"Options are written without dashes: {key}=..., not --{key}.")


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    message = message.replace("unrecognized arguments:", "There is no option")
    _exit(f"{message[:1].upper()}{message[1:]}. Options are written as name=value; --help lists them.")


def explain(error: Exception, config_name: str) -> str:
    """A mistake in the options as one line: the value, what is allowed, what to do."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        there = f" There are: {', '.join(error.options)}." if error.options else ""
        picture = str(error.missing_cfg_file).removeprefix("style/")
        if picture != error.missing_cfg_file and Path(picture).suffix:
            return f"style={picture} is a file. To train on it: style=custom style.custom.image={picture}"
        plugin = " It comes with pip install 'stylenet[sweep]'." if choice in launch.PLUGINS else ""
        return f"There is no {group or 'config'} {choice!r}.{plugin or there}"
    if isinstance(error, OSError):
        where = error.filename or "the folder of the run"
        return (
            f"Cannot write {where}: {error.strerror or error}. Choose another place (hydra.run.dir=...) or make room."
        )
    if isinstance(error, OverrideParseException):
        word = error.override or ""
        if "=" not in word:
            return f"What is {word!r}? Options are written as name=value; --help lists them."
        return f"Cannot understand {word!r}: put quotes around a value with special characters: {_quoted_example(word)}"
    if found := re.search(r"Ambiguous value for argument '([^'=]+)=([^']*)'", text):
        key, value = found.groups()
        return (
            f"{key}={value}: a comma separates values. Give one number with a point, a list as {key}=[{value}], "
            f"a text in quotes as \"{key}='{value}'\", or -m before it for one run per value."
        )
    if found := re.search(r"You must specify '([^']+)'", text):
        options = ", ".join(line.strip() for line in text.splitlines()[2:] if line.strip())
        return f"Please choose {found[1]}=... There are: {options}."
    if found := re.search(r"Could not override '([^']+)'", text):
        return _unknown(found[1], config_name)
    if "Config group override must be" in text:
        return "A choice that is a group of options, such as style=..., needs a name from a list, not a number."
    return _first_line(error)


def _quoted_example(word: str) -> str:
    key, _, value = word.partition("=")
    return f"\"{key}='{value}'\""


def _unknown(key: str, config_name: str) -> str:
    known = _known_keys(config_name)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]}=?" if near else f" There are: {', '.join(k for k in known if '.' not in k)}."
    return f"There is no option {key!r}.{hint} --help explains them."


def _known_keys(config_name: str) -> list[str]:
    """All keys and groups of the config without the command line; only the file's own keys if it needs a choice."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(places.CONFIGS), version_base="1.3"):
        try:
            config = compose(config_name)
        except HydraException:
            config = OmegaConf.load(places.CONFIGS / f"{config_name}.yaml")
    keys: list[str] = []
    nodes: list[tuple[str, Any]] = [("", config)]
    while nodes:
        prefix, node = nodes.pop()
        for key in node:
            if key in ("hydra", "defaults"):
                continue
            keys.append(f"{prefix}{key}")
            if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node._get_node(key)):
                nodes.append((f"{prefix}{key}.", node[key]))
    return sorted(keys)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
