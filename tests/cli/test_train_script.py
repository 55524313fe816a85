"""scripts/train.py as a user runs it: train, stop, resume, go wrong; and what lies on disk afterwards."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from conftest import ROOT, RunScript
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

import stylenet
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.system.places import home

STEPS = 16
STARRY = ("style=starry_night", "++style.starry_night.size=128")  # its own size, if it has one, is for real runs
LAYERS = ("style/relu1_2", "style/relu2_2", "style/relu3_3", "style/relu4_3", "content/relu3_3")
PHOTOS = ROOT / "stylenet/assets/photos"
TINY = [
    *("net.widths=[8,8,8]", "net.blocks=1", "data.size=64", "data.batch_size=2", "data.val_size=64", "data.val=2"),
    *("style_size=128", "trainer.log_every_n_steps=1", "trainer.val_every=8", "trainer.sheet_every=8"),
    # On a GPU a run would be over before a signal reaches it, and resuming is exact on a processor only.
    *("trainer.checkpoint_every=2", f"steps={STEPS}", "trainer.accelerator=cpu"),
]


class Run:
    """One run of the script in ``folder``: its files, and what it said."""

    def __init__(self, folder: Path, *arguments: str | Path, **variables: str | None):
        self.folder, self.out, self.run = folder, folder / "out", folder / "run"
        folder.mkdir(parents=True, exist_ok=True)
        words = ["-m"] * ("-m" in arguments) + [*TINY, f"out={self.out}", f"hydra.run.dir={self.run}"]
        words += [str(word) for word in arguments if word != "-m"]
        given = os.environ | {"STYLENET_HOME": str(home()), "OMP_NUM_THREADS": "1"} | variables
        self.err = folder / "stderr"
        with self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "scripts/train.py"), *words],
                cwd=folder,
                env={key: value for key, value in given.items() if value is not None},
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C goes to all of a group's processes: one of its own
            )

    def done(self) -> "Run":
        self.stdout = self.process.communicate(timeout=600)[0]
        self.stderr = self.err.read_text()
        return self

    @property
    def style(self) -> Path:
        return Path(self.stdout.removesuffix("\n"))

    @property
    def last(self) -> Path:
        return self.run / "last.ckpt"

    def figures(self) -> list[dict[str, str]]:
        with (self.run / "csv/metrics.csv").open() as file:
            return [*csv.DictReader(file)]


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    vgg_weights()  # fetched once, not by a script that is being timed or stopped


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run, of a user who never heard of W&B."""
    folder = tmp_path_factory.mktemp("whole")
    nobody = {"HOME": str(folder), "WANDB_MODE": None, "WANDB_SILENT": None, "WANDB_API_KEY": None}
    return Run(folder, *STARRY, **nobody).done()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run with another process to read photos, stopped by SIGTERM after a few steps."""
    run = Run(tmp_path_factory.mktemp("stopped"), *STARRY, "logger=csv", "data.workers=1")
    when_under_way(run)
    os.killpg(run.process.pid, signal.SIGTERM)  # all processes, as SLURM and systemd do
    return run.done()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two styles at once, photos read by two more processes, stopped by Ctrl-C."""
    words = ("style=[great_wave,starry_night]", "logger=tensorboard", "data.workers=2", "trainer.ema=0.9")
    run = Run(tmp_path_factory.mktemp("interrupted"), *words)
    when_under_way(run)
    os.killpg(run.process.pid, signal.SIGINT)
    return run.done()


@pytest.fixture(scope="module")
def resumed(stopped: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What was stopped, to its end."""
    words = (*STARRY, "logger=csv", f"resume={stopped.last}")
    return Run(tmp_path_factory.mktemp("resumed"), *words).done()


@pytest.fixture(scope="module")
def custom(whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A user's own picture and photos, under names as people give them, from another style's checkpoint."""
    folder = tmp_path_factory.mktemp("custom")
    picture = folder / "Mum's garden, (1) = 100%.png"
    with Image.open(ROOT / "stylenet/assets/styles/great_wave.jpg") as painting:
        painting.resize((120, 80)).save(picture)
    words = ["style=custom", f"style.custom.image={picture.name}", f"init={whole.style}", "logger=none"]
    photos = ["data=folder", "data.root=photos, mine", f"data.val={PHOTOS / 'val'}", "steps=2"]
    (folder / "photos, mine").mkdir()
    for photo in sorted((PHOTOS / "train").glob("*.jpg"))[:3]:
        (folder / "photos, mine" / photo.name).symlink_to(photo)
    return Run(folder, *words, *photos).done()


def when_under_way(run: Run) -> None:
    """Come back when the first checkpoint is there."""
    end = time.monotonic() + 300
    while not run.last.exists():
        assert run.process.poll() is None and time.monotonic() < end, run.err.read_text()
        time.sleep(0.005)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def metadata(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, "pt") as file:
        return json.loads(file.metadata()["stylenet"])


# --- a whole run


def test_only_the_path_of_the_style_is_on_stdout(whole: Run):
    assert whole.process.returncode == 0, whole.stderr
    assert whole.stdout == f"{whole.out / 'starry_night.safetensors'}\n"
    assert [file.name for file in whole.out.iterdir()] == ["starry_night.safetensors"]


def test_the_style_says_what_it_is_and_how_it_came_to_be(whole: Run):
    info = metadata(whole.style)
    assert info["net"]["args"]["widths"] == [8, 8, 8] and info["net"]["args"]["n_styles"] == 1
    assert info["loss"]["scale"] == "calibrated" and info["loss"]["style_weight"] == 8.0
    (style,) = info["styles"]
    assert (style["name"], style["image"], style["size"]) == ("starry_night", "starry_night.jpg", 128)
    painting = (ROOT / "stylenet/assets/styles/starry_night.jpg").read_bytes()
    assert style["sha256"] == hashlib.sha256(painting).hexdigest()
    references = info["calibration"]
    assert sorted(references) == [
        "content_reference_relu3_3",
        *(f"style_reference_relu{layer}" for layer in ("1_2", "2_2", "3_3", "4_3")),
    ]
    assert references["content_reference_relu3_3"] > 0 and references["style_reference_relu1_2"][0] > 0
    training = info["training"]
    assert (training["steps"], training["batch"]) == (STEPS, 2)
    assert training["data"] == {"root": "bundled", "photos": 24, "held_out": 2, "skipped": 0, "size": 64, "seed": 0} | {
        "margin": 32
    }
    assert set(training["val"]) == {"loss", "style", "content", "repeat", *LAYERS}
    val = training["val"]
    assert val["loss"] == pytest.approx(8 * val["style"] + val["content"] + 0.3 * val["repeat"], abs=1e-3)
    assert info["versions"]["stylenet"] == stylenet.__version__ and "torch" in info["versions"]
    assert str(whole.folder) not in json.dumps(info)  # whoever gets the file need not know where it was made


def test_the_figures_in_the_style_are_those_of_its_weights(whole: Run):
    """Computed anew, from the file and the photos, by Johnson's equations."""
    info = metadata(whole.style)
    loaded = stylenet.load(str(whole.style))
    from stylenet.data.datamodule import Photos
    from stylenet.data.paintings import open_painting
    from stylenet.images.image_io import to_tensor
    from stylenet.losses.perceptual import content_distance
    from stylenet.losses.vgg import VGG

    photos = Photos(
        steps=1,
        seed=0,
        size=64,
        batch_size=2,
        scale=(0.5, 1),
        ratio=(0.8, 1.25),
        flip=True,
        workers=0,
        val=2,
        val_size=64,
    )
    photos.setup()
    content = torch.stack(photos.val_photos[:]).float() / 255
    vgg = VGG(["relu1_2", "relu3_3"])
    with torch.no_grad():
        ours, theirs = vgg(loaded(content)), vgg(content)
        painting = vgg(to_tensor(open_painting("starry_night.jpg", 128)))["relu1_2"]

    def gram(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,bdhw->bcd", x, x) / x[0].numel()

    style = (gram(ours["relu1_2"]) - gram(painting)).square().sum((1, 2)).mean()
    distance = content_distance(ours["relu3_3"], theirs["relu3_3"]).mean()
    expected = info["training"]["val"]
    assert float(style) / info["calibration"]["style_reference_relu1_2"][0] == pytest.approx(
        expected["style/relu1_2"], rel=0.02
    )
    assert float(distance) / info["calibration"]["content_reference_relu3_3"] == pytest.approx(
        expected["content"], rel=0.02
    )


def test_the_style_stylizes_a_folder(whole: Run, run_script: RunScript, tmp_path: Path):
    done = run_script("stylize.py", f"ckpt={whole.style}", f"input={PHOTOS / 'val'}", f"output={tmp_path}", "size=64")
    assert done.returncode == 0, done.stderr
    names = sorted(f"{photo.stem}_starry_night.jpg" for photo in (PHOTOS / "val").glob("*.jpg"))
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert max(size(tmp_path / names[0])) == 64


def test_the_checkpoint_for_resuming_is_a_style_too(whole: Run):
    (net, info), (same, _) = checkpoint.load(whole.last), checkpoint.load(whole.style)
    assert info["styles"][0]["name"] == "starry_night" and info["training"]["steps"] == STEPS
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))


def test_it_says_that_the_bundled_photos_are_few_and_how_long_it_takes(whole: Run):
    assert "only 24 bundled photos" in whole.stderr and "data=folder" in whole.stderr
    assert f"{STEPS}/{STEPS}" in whole.stderr and "loss=" in whole.stderr and "style=" in whole.stderr  # the bar
    assert "Warning" not in whole.stderr and "Traceback" not in whole.stderr


def test_sheets_show_the_photos_above_their_stylizations(whole: Run):
    sheets = sorted((whole.run / "sheets").iterdir())
    assert [sheet.name for sheet in sheets] == ["000008.jpg", "000016.jpg"]
    assert size(sheets[0]) == (2 * 64, 2 * 64)


# --- W&B, read back from disk


def records(path: Path) -> Iterator[Record]:
    """What a run sent to W&B: LevelDB's log format (32 KiB blocks of crc, length, kind and data) after 7 bytes of its
    own.
    """
    raw, at, data = path.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        left = 32768 - at % 32768
        length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6] if left >= 7 else 0
        if kind == 0:  # the rest of a block
            at += left
            continue
        data, at = data + raw[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(data)
            data = b""
            yield record


def items(update: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update}


@pytest.fixture(scope="module")
def board(whole: Run) -> dict[str, Any]:
    """The dashboard: "history", "config", "summary", "artifacts", and the "folder" of its files."""
    (path,) = whole.run.glob("wandb/offline-run-*/*.wandb")
    read: dict[str, Any] = {"history": [], "config": {}, "summary": {}, "artifacts": [], "folder": path.parent}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            read["config"] |= items(record.run.config.update)
            read["name"], read["project"] = record.run.display_name, record.run.project
        elif kind == "history":
            read["history"].append(items(record.history.item))
        elif kind == "summary":
            read["summary"] |= items(record.summary.update)
        elif kind == "artifact":
            read["artifacts"].append(record.artifact)
    return read


def test_without_a_login_wandb_works_offline_and_says_in_one_line_how_to_sync(whole: Run, board: dict[str, Any]):
    lines = [line for line in whole.stderr.splitlines() if "wandb" in line.lower() or "W&B" in line]
    assert len(lines) == 1, lines
    assert lines[0].endswith(f"wandb sync {board['folder']}")
    assert (board["name"], board["project"]) == ("starry_night", "stylenet")


def test_charts_have_losses_by_name_rate_pace_and_gradient(board: dict[str, Any]):
    train = [row for row in board["history"] if "train/loss" in row]
    assert [row["trainer/global_step"] for row in train] == [*range(1, STEPS + 1)]
    names = {"loss", "style", "content", "lr", "grad_norm", *LAYERS}
    assert all({f"train/{name}" for name in names} <= row.keys() for row in train)
    assert all("train/images_per_s" in row for row in train[1:4])
    row = train[0]
    mean = sum(row[f"train/style/relu{layer}"] for layer in ("1_2", "2_2", "3_3", "4_3")) / 4
    assert row["train/style"] == pytest.approx(mean, rel=1e-5)
    assert row["train/loss"] == pytest.approx(8 * mean + row["train/content"] + 0.3 * row["train/repeat"], rel=1e-5)
    val = [row for row in board["history"] if "val/loss" in row]
    assert [row["trainer/global_step"] for row in val] == [8, 16]
    assert all({f"val/{name}" for name in ("loss", "style", "content", *LAYERS)} <= row.keys() for row in val)
    steps = [row["trainer/global_step"] for row in board["history"]]
    assert steps == sorted(steps)


def test_the_dashboard_has_the_sheets_and_the_painting(board: dict[str, Any]):
    found: dict[str, list[tuple[int, Path]]] = {}
    for row in board["history"]:
        for key in [key for key in row if key.endswith("/filenames")]:
            found.setdefault(key, []).append((row["trainer/global_step"], board["folder"] / "files" / row[key][0]))
    assert {key: [step for step, _ in files] for key, files in found.items()} == {
        "style/starry_night/filenames": [0],
        "sheet/filenames": [8, 16],
    }
    assert size(found["sheet/filenames"][0][1]) == (128, 128)
    assert max(size(found["style/starry_night/filenames"][0][1])) == 128


def test_the_dashboard_has_the_resolved_config_the_final_figures_and_the_style(whole: Run, board: dict[str, Any]):
    config = board["config"]
    assert config["steps"] == STEPS and config["optimizer"] == {"lr": 1e-3, "warmup": 30, "final": 0.02} | {
        "norms": 1,
        "norms_first": 0,
    }
    assert config["style"]["starry_night"]["image"] == "starry_night.jpg" and config["net"]["widths"] == [8, 8, 8]
    assert (
        config["loss"]["style_weight"] == 8.0 and config["data"]["size"] == 64 and config["trainer"]["val_every"] == 8
    )
    info = metadata(whole.style)
    assert board["summary"]["training"]["val"] == info["training"]["val"]
    assert board["summary"]["val/loss"] == pytest.approx(info["training"]["val"]["loss"], abs=1e-4)
    (artifact,) = board["artifacts"]
    assert (artifact.name, artifact.type) == ("starry_night", "style")
    (content,) = artifact.manifest.contents
    assert (content.path, content.size) == (whole.style.name, whole.style.stat().st_size)


# --- stop and go on


def test_sigterm_ends_in_good_order(stopped: Run):
    assert stopped.process.returncode == 128 + signal.SIGTERM, stopped.stderr
    info = metadata(stopped.style)
    at = info["training"]["steps"]
    assert 2 <= at < STEPS
    assert f"stopped at step {at}; go on with resume={stopped.last}" in stopped.stderr
    assert stopped.style.name == f"starry_night_at_{at}.safetensors"  # the shipped one keeps its name
    assert "Traceback" not in stopped.stderr
    stylized = stylenet.load(str(stopped.style))(torch.rand(1, 3, 40, 50))
    assert stylized.shape == (1, 3, 40, 50) and stylized.isfinite().all()
    assert checkpoint.load(stopped.last)[1]["training"]["steps"] == at


def test_resuming_equals_never_having_stopped(whole: Run, stopped: Run, resumed: Run):
    assert resumed.process.returncode == 0, resumed.stderr
    assert "calibrating" in stopped.stderr and "calibrating" not in resumed.stderr
    one, other = load_file(whole.style), load_file(resumed.style)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    mine, theirs = metadata(whole.style), metadata(resumed.style)
    assert theirs["training"]["steps"] == STEPS
    assert mine["training"]["val"] == theirs["training"]["val"] and mine["calibration"] == theirs["calibration"]


def test_csv_charts_go_on_where_they_stopped(stopped: Run, resumed: Run):
    at = metadata(stopped.style)["training"]["steps"]
    before, after = ([row for row in run.figures() if row["train/loss"]] for run in (stopped, resumed))
    assert [int(row["step"]) for row in before] == [*range(1, at + 1)]
    assert [int(row["step"]) for row in after] == [*range(at + 1, STEPS + 1)]
    assert {"train/lr", "train/grad_norm", "train/images_per_s", *(f"train/{x}" for x in LAYERS)} <= after[0].keys()
    assert [int(row["step"]) for row in resumed.figures() if row["val/loss"]][-1] == STEPS


def test_ctrl_c_ends_in_good_order(interrupted: Run):
    assert interrupted.process.returncode == 128 + signal.SIGINT, interrupted.stderr
    assert "Traceback" not in interrupted.stderr and "go on with resume=" in interrupted.stderr
    assert interrupted.style.name == "great_wave+starry_night.safetensors"
    assert 2 <= checkpoint.load(interrupted.last)[1]["training"]["steps"] < STEPS


def test_two_styles_in_one_net(interrupted: Run):
    net, info = checkpoint.load(interrupted.style)
    assert [style["name"] for style in info["styles"]] == ["great_wave", "starry_night"]
    assert len({style["sha256"] for style in info["styles"]}) == 2
    assert len(info["calibration"]["style_reference_relu1_2"]) == 2
    photo = torch.rand(1, 3, 32, 32)
    first, second = (net(photo, style[None]) for style in torch.eye(2))
    assert not torch.equal(first, second)  # each has had its turns


def test_the_average_is_shipped_and_the_weights_themselves_are_kept_to_go_on(interrupted: Run):
    saved = torch.load(interrupted.last, weights_only=True)
    shipped = load_file(interrupted.style)
    for key, value in shipped.items():
        assert torch.equal(value, saved["state_dict"][f"net.{key}"])
    now = saved["current_model_state"]
    assert any(not torch.equal(value, now[f"net.{key}"]) for key, value in shipped.items())


def test_tensorboard_has_the_charts_and_pictures(interrupted: Run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(interrupted.run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/lr", "train/grad_norm", *(f"train/{x}" for x in LAYERS)} <= {*tags["scalars"]}
    assert {"style/great_wave", "style/starry_night"} <= {*tags["images"]}
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == [*range(1, len(steps) + 1)]


# --- from another style


def test_a_picture_of_ones_own_from_another_style(custom: Run):
    assert custom.process.returncode == 0, custom.stderr
    assert custom.style == custom.out / "Mum's garden, (1) = 100%.safetensors"
    info = metadata(custom.style)
    assert info["styles"][0]["name"] == "Mum's garden, (1) = 100%" and info["training"]["steps"] == 2
    assert info["training"]["data"]["photos"] == 3 and "bundled" not in custom.stderr
    assert not [*custom.run.glob("wandb")] and not [*custom.run.glob("csv")]


def test_init_starts_where_the_other_style_ended(custom: Run, whole: Run):
    """Adam moves a weight by no more than its rate a step: 1e-3 / 30 and twice that, with a margin."""
    before, after = load_file(whole.style), load_file(custom.style)
    assert max(float((before[key] - after[key]).abs().max()) for key in before) < 2e-4
    assert any(not torch.equal(before[key], after[key]) for key in before)


# --- what goes wrong


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(stopped: Run):
    good = stopped.last.read_bytes()
    words = (*STARRY, "logger=none", f"resume={stopped.last}", "loss.style_weight=1e60")
    failed = Run(stopped.folder, *words).done()
    assert failed.process.returncode == 2
    assert failed.stdout == ""
    line = failed.stderr.splitlines()[-1]
    at = metadata(stopped.style)["training"]["steps"]
    assert f"step {at + 1}: style/relu" in line and "optimizer.lr" in line and f"resume={stopped.last}" in line
    assert "Traceback" not in failed.stderr
    assert stopped.last.read_bytes() == good
    net, _ = checkpoint.load(stopped.last)
    assert all(parameter.isfinite().all() for parameter in net.parameters())


ALL_AT_ONCE = """
import os, runpy, sys
import hydra.main, hydra._internal.utils  # seconds saved: each child has them
import stylenet.training.loggers, stylenet.training.trainer
for number, words in enumerate(map(eval, sys.stdin)):
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        open(f"{number}.code", "w").write(str(code))
    else:
        os.dup2(os.open(f"{number}.err", os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(f"{number}.out", os.O_WRONLY | os.O_CREAT), 1)
        sys.argv[1:] = words
        runpy.run_path(sys.argv[0], run_name="__main__")
        sys.exit(0)
"""
MISTAKES: list[tuple[list[str], list[str]]] = [
    ([], ["style", "starry_night", "great_wave", "custom"]),
    (["style=nosuch"], ["'nosuch'", "starry_night", "great_wave"]),
    (["style=custom"], ["style.custom.image"]),
    (["style=mine/photo.jpg"], ["style=mine/photo.jpg is a file.", "style=custom style.custom.image=mine/photo.jpg"]),
    (["style=custom", "style.custom.image=nosuch.jpg"], ["nosuch.jpg", "starry_night"]),
    (["steps=-1"], ["steps=-1", "1 or more"]),
    (["optimizer.lr=abc"], ["optimizer.lr=abc", "number"]),
    (["data=folder"], ["data.root="]),
    (["data=folder", "data.root=missing"], ["missing", "data.root"]),
    (["nosuch=1"], ["'nosuch'", "--help"]),
    (["optimiser.lr=1"], ["optimiser.lr", "Did you mean optimizer.lr=?"]),
    (["resume=missing.ckpt"], ["resume=missing.ckpt", "no such file"]),
    (["init=missing"], ["init=missing", "no such style or file"]),
    (["style.color=blue"], ["style.color=blue: give style (the painting's) or match (the training photos')."]),
    (["hydra.run.dir=0.code/run"], ["Cannot write", "0.code/run", "Not a directory"]),  # the file of the first one
    (["out=0.code/out"], ["Cannot write 0.code/out/starry_night.safetensors", "0.code is not a folder"]),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exit code, stdout and stderr of every mistake, by its number."""
    folder = tmp_path_factory.mktemp("mistakes")
    small = ["net.widths=[8,8,8]", "data.size=64", "style_size=64", "steps=1", "logger=none", "hydra.run.dir=."]
    lines = []
    for words, _ in MISTAKES:
        keys = {word.partition("=")[0] for word in words}
        style = ["style=starry_night"] if words and "style" not in keys else []
        lines.append([*style, *(word for word in small if word.partition("=")[0] not in keys), *words])
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = {str(ROOT / 'scripts/train.py')!r}\n{ALL_AT_ONCE}"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        input="\n".join(map(repr, lines)),
        text=True,
        check=True,
    )
    return folder


@pytest.mark.parametrize(("number", "words", "told"), [(i, *mistake) for i, mistake in enumerate(MISTAKES)])
def test_a_mistake_is_answered_in_one_line(number: int, words: list[str], told: list[str], answers: Path):
    err = (answers / f"{number}.err").read_text()
    assert (answers / f"{number}.code").read_text() == "2", err
    assert (answers / f"{number}.out").read_text() == ""
    said = [line for line in err.splitlines() if "photos in" not in line and "bundled photos" not in line]
    assert len(said) == 1, err
    assert all(word in said[0] for word in told), said[0]


def test_names_that_look_like_numbers_are_kept_as_typed(run_script: RunScript):
    words = ["name=1_1", "logger.project=007", "logger.group=1e3", "logger.entity=2_0", "logger.name=true"]
    done = run_script("train.py", "style=great_wave", *words, "--cfg", "job")
    config: Any = OmegaConf.to_container(OmegaConf.create(done.stdout))
    assert config["name"] == "1_1", done.stderr
    assert [config["logger"][key] for key in ("project", "group", "entity", "name")] == ["007", "1e3", "2_0", "true"]


def test_a_sweep_makes_a_style_and_a_dashboard_of_each_run(tmp_path: Path):
    words = ("steps=1", "data.workers=0", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    sweep = Run(tmp_path, "-m", "style=starry_night,great_wave", *words).done()
    assert sweep.process.returncode == 0, sweep.stderr
    styles = ["starry_night", "great_wave"]
    assert sweep.stdout.splitlines() == [str(sweep.out / f"{style}.safetensors") for style in styles]
    for number, style in enumerate(styles):
        (path,) = (tmp_path / "sweep" / str(number)).glob("wandb/offline-run-*/*.wandb")
        names = [record.run.display_name for record in records(path) if record.WhichOneof("record_type") == "run"]
        assert {*names} == {style}
