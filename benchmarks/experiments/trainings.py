"""Shared by the experiments: key=value options, cached trainings with scripts/train.py, photos in rows. Knows nothing
about the purpose of an experiment.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.images import contact_sheet
from stylenet.nets import checkpoint
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware

TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.py"


def answering(main: Callable[[], None]) -> None:
    """Run ``main``; a mistake in the options is answered in a line, and with exit code 2."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def options(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, and over them what the command line says as key=value. Raises UserError for what is not there."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = OmegaConf.create(dict(defaults))
    OmegaConf.set_struct(known, True)
    try:
        return OmegaConf.to_container(OmegaConf.merge(known, OmegaConf.from_cli()))  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        there = ", ".join(f"{key}=" for key in defaults)
        raise UserError(f"{str(error).splitlines()[0]}. There are: {there}") from error


def train(folder: Path, arguments: Sequence[str], steps: int, script: Path = TRAIN) -> Path:
    """The style file of a training into ``folder`` with these arguments of scripts/train.py, or one like it.

    What is finished is not done again, what was stopped goes on from its last checkpoint. Raises UserError if the
    folder holds a training with other arguments; exits if the training does not come to its end.
    """
    style, last, said = folder / "style.safetensors", folder / "last.ckpt", folder / "arguments.json"
    arguments = [*arguments, f"steps={steps}"]
    if said.exists() and read_json(said) != arguments:
        raise UserError(f"{folder} holds a training with other arguments (see {said}): give another out=.")
    if not (style.exists() and _steps(style) == steps):
        write_json(said, arguments)
        resume = [f"resume={last}"] if last.exists() else []
        with started(folder, [*arguments, *resume], script) as process:
            finish(process)
    return style


def _steps(style: Path) -> int:
    return checkpoint.load(style)[1]["training"]["steps"]


def started(folder: Path, arguments: Sequence[str], script: Path = TRAIN) -> subprocess.Popen:
    """scripts/train.py (or one like it) at work; what it makes goes to ``folder``, the style as style.safetensors."""
    command = [sys.executable, str(script), *arguments, f"out={folder}", "name=style", "overwrite=true"]
    command.append(f"hydra.run.dir={folder}")
    print(" ".join(command), file=sys.stderr, flush=True)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen) -> None:
    """Wait for the end of a training; exit with its code if it is not a good one."""
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()  # it got the signal too, and writes what it has
    if code:
        sys.exit(code)


@torch.no_grad()
def drawn(nets: Mapping[str, str | Path | nn.Module], photos: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """What each network, or that of a style file, makes of the photos (1, 3, h, w): for :func:`sheet`."""
    made = {}
    for name, net in nets.items():
        net = net if isinstance(net, nn.Module) else checkpoint.load(net, device())[0]
        made[name] = [net(photo.to(device())).cpu() for photo in photos]
    return made


def in_rows(path: Path, rows: Sequence[Sequence[Image.Image]], quality: int = 80) -> None:
    """Pictures in rows and columns as a JPEG file."""
    with replacing(path) as temp:
        contact_sheet.in_rows(rows).save(temp, "JPEG", quality=quality, optimize=True)


def style_arguments(style: str) -> list[str]:
    """For scripts/train.py: a painting by the name of its config, or as a file."""
    if Path(style).suffix:
        return ["style=custom", f"style.custom.image={Path(style).expanduser().resolve()}"]
    return [f"style={style}"]


def data_arguments(data: str | None, val: str | None) -> list[str]:
    """For scripts/train.py: the photos of a folder, or the bundled ones."""
    source = ["data=bundled"] if data is None else ["data=folder", f"data.root={Path(data).expanduser().resolve()}"]
    return source if val is None else [*source, f"data.val={Path(val).expanduser().resolve()}"]


def write_json(path: Path, data: Any) -> None:
    """Plain data, indented, written whole or not at all."""
    with replacing(path) as temp:
        temp.write_text(json.dumps(data, indent=1) + "\n")


def write_results(path: Path, chosen: Mapping[str, Any], **results: Any) -> None:
    """As JSON, with the options and the machine. Of a path only the last part is kept: the rest is this machine's."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, str):
            key, equals, path = value.rpartition("=")
            return key + equals + Path(path).name
        return value

    said = {key: plain(value) for key, value in chosen.items()}
    write_json(path, {"options": said, "hardware": hardware(device()), **results})


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
