"""``stylenet``: one command with subcommands.

Knows the subcommands, and imports only the one that runs. Every message fits on a screen.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from stylenet.cli import doors
from stylenet.system import console
from stylenet.system.version import __version__

COMMANDS = {
    "stylize": "stylize photos, folders and films with a trained style",
    "train": "train a style from a painting",
    "styles": "list the styles that ckpt= accepts",
    "sheet": "put one photo into every style, on one page",
    "compare": "lay one photo in several checkpoints or settings side by side",
    "model": "paint the textures of a 3D model",
    "photo": "give a photo the light and colours of another",
    "optimize": "paint one picture by Gatys' method, without training",
    "evaluate": "measure trained styles on photos",
    "export": "write a style as ONNX, OpenVINO, TorchScript or torch.export",
    "publish": "publish a style on the Hugging Face hub",
    "page": "write a web page that paints photos in the browser",
    "serve": "serve that page on this machine",
}
USAGE = """stylenet {version}: train and use fast style transfer networks.

{commands}

Begin with:
  stylenet stylize ckpt=starry_night input=photo.jpg
  stylenet train style=custom style.custom.image=my_painting.jpg experiment=quick

stylenet COMMAND --help lists a command's options, written name=value.
stylenet -sc install=bash prints a Tab completion script: eval "$(stylenet -sc install=bash)".
stylenet --version prints the version."""
COMPLETION = ("-sc", "--shell-completion", "--shell_completion")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command named by the first word of ``argv`` or the command line. Exits with 2 if it is unknown."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        console.write_answer(usage())
        return
    if words[0] in ("--version", "-V", "version"):
        console.write_answer(f"stylenet {__version__}")
        return
    if words[0] in COMPLETION:
        complete(words)
        return
    if words[0] not in COMMANDS:
        _refuse(words[0])
    enter(words[0], words[1:])


def enter(name: str, words: Sequence[str]) -> None:
    """Run the command ``name`` with the arguments ``words`` in this process."""
    doors.started_as(name)
    sys.argv[1:] = words
    import_module(f"stylenet.cli.{name}").main()


def usage() -> str:
    """One line per command, with examples."""
    commands = "\n".join(f"  stylenet {name:<9} {what}" for name, what in COMMANDS.items())
    return USAGE.format(version=__version__, commands=commands)


def complete(words: Sequence[str]) -> None:
    """Shell completion by Hydra: print the completion script or, for a query, the words that fit at the cursor.

    Hydra does not know the commands. They are completed here, and removed from the line that Hydra completes.
    """
    line, place = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
    typed = line[: int(place)] if place.isdecimal() else line
    parts = typed.split(" ")
    asked = any(word.startswith("query=") for word in words)
    if asked and (len(parts) < 3 or parts[1] not in COMMANDS):
        console.write_answer(
            " ".join(name for name in COMMANDS if name.startswith(parts[1] if len(parts) == 2 else ""))
        )
        return
    name = parts[1] if asked else "stylize"
    if asked:
        head = len(parts[1]) + 1
        os.environ["COMP_LINE"] = " ".join([parts[0], *parts[2:]]) + line[len(typed) :]
        os.environ["COMP_POINT"] = str(len(typed) - head)
    if name != "styles":
        enter(name, words)


def _refuse(word: str) -> NoReturn:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    options = " Name the command first, then its options." if "=" in word else ""
    there = f"There are: {', '.join(COMMANDS)}. -h explains them."
    console.warn_line(f"stylenet {word}: no such command.{guess}{options} {there}")
    sys.exit(2)
