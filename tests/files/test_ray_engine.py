"""The same folder on a Ray cluster of two workers on this machine, one of which is killed."""

import io
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylenet import load, stylize_files
from stylenet.files import ray_engine
from stylenet.files.options import Writing
from stylenet.files.report import SomeFailed
from stylenet.images import image_io
from stylenet.nets import checkpoint, registry
from stylenet.runtime.options import Runtime
from stylenet.system.errors import UserError

with warnings.catch_warnings(action="ignore"):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def cluster():
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        room = {"object_store_memory": 100 * 2**20}
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **room)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1)
    return checkpoint.save(tmp_path_factory.mktemp("ckpt") / "tiny.safetensors", net, {"styles": [{"name": "tiny"}]})


def photos(folder, count, size=(20, 16)):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.linear_gradient("L").resize(size).rotate(7 * number).convert("RGB").save(folder / f"{number:03}.png")


def on_cluster(ckpt, *args, **options):
    with warnings.catch_warnings(action="ignore"):  # Ray's own
        yield from stylize_files(ckpt, *args, device="cpu", backend="torch", engine="ray", workers=2, **options)


def lines(path="report.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def workers():
    """The processes of Ray Data's workers, by the name that Ray gives them, that this process has brought about."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdecimal() and b"_Called" in (place / "cmdline").read_bytes():
                above = int(place.name)
                while above > 1 and above != os.getpid():
                    above = int(Path(f"/proc/{above}/stat").read_text().rpartition(")")[2].split()[1])
                found += [int(place.name)] if above == os.getpid() else []
        except OSError:
            pass
    return found


def stylized(start, ckpt, folder, workers):
    work = ray_engine.Work(start, [ckpt], [], Runtime(device="cpu", backend="torch"), Writing(), workers)
    with warnings.catch_warnings(action="ignore"):  # Ray's own
        yield from ray_engine.stylize_files(work, [folder], "out")


def test_a_killed_worker_costs_nothing(cluster, tiny, tmp_path, monkeypatch):
    """From a folder and a URI to a URI. memory:// is seen by this process alone: its pictures go with the work."""
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in" / "sub", 60, (400, 300))
    Path("in/bad.png").write_bytes(b"")
    memory = fsspec.filesystem("memory")
    for path in sorted(Path("in/sub").iterdir())[:4]:
        memory.pipe_file(f"/photos/more/{path.name}", path.read_bytes())
    memory.pipe_file("/photos/more/notes.txt", b"")
    memory.pipe_file("/photos/more/.hidden.png", b"")
    memory.pipe_file("/photos/bad.png", b"no picture")
    memory.pipe_file("/painted/more/000_tiny.png", b"there")
    options = {"report": "report.jsonl", "skip_existing": True}
    results = on_cluster(tiny, ["in", "memory://photos"], "memory://painted", **options)
    done = [next(results)]
    at_work = workers()
    assert at_work
    os.kill(at_work[-1], signal.SIGKILL)
    with pytest.raises(SomeFailed, match="2 of 66 pictures failed:") as caught:
        for number, path in enumerate(results):
            assert number > 0 or len(memory.find("/painted")) < 50  # killed in the middle
            done.append(path)
    assert caught.value.reasons == {
        Path("in/bad.png"): "Cannot read in/bad.png: the file is empty.",
        "memory://photos/bad.png": "Cannot read memory://photos/bad.png: it is not a picture, or is damaged, or of a "
        "kind unknown to Pillow.",
    }
    expected = [f"sub/{number:03}" for number in range(60)] + [f"more/{number:03}" for number in range(1, 4)]
    assert sorted(done) == sorted(f"memory://painted/{name}_tiny.png" for name in expected)
    assert memory.cat_file("/painted/more/000_tiny.png") == b"there"
    stylizer = load(tiny, "cpu", backend="torch")
    for name in [*expected[::9], "more/003"]:
        painted = image_io.read(io.BytesIO(memory.cat_file(f"/painted/{name}_tiny.png")))
        picture = stylizer.picture(image_io.read(f"in/sub/{name[-3:]}.png"))
        assert np.abs(painted.rgb - picture.rgb.astype(int)).max() <= 1  # a worker has other threads: other rounding
    left = [line["input"] for line in lines() if line["output"] is None]
    assert "memory://photos/more/.hidden.png" in left and len(left) == 2
    said = {line["input"]: line["status"] for line in lines() if line["output"] is not None}
    assert len(said) == len(lines()) - 2 == 66
    assert sorted(said.values()) == ["failed"] * 2 + ["skipped"] + ["written"] * 63
    assert said["memory://photos/more/000.png"] == "skipped"


def test_a_picture_that_kills_its_worker_takes_no_other_along(cluster, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_engine, "RETRIES", 0)  # each costs a start
    photos(tmp_path / "in", 4)
    Image.new("RGB", (13, 13)).save("in/deadly.png")

    def start(files, masks, runtime):
        stylizer: Any = load(files, runtime=runtime)
        usual = stylizer.pictures
        deadly = (13, 13, 3)
        stylizer.pictures = lambda some: os._exit(1) if some[0].rgb.shape == deadly else usual(some)
        return stylizer

    with pytest.raises(SomeFailed, match="1 of 5 .*\n.*in/deadly.png: its worker died each time"):
        list(stylized(start, tiny, "in", workers=1))
    assert len([*Path("out").glob("[!.]*")]) == 4


def test_files_by_their_uris(tiny, tmp_path):
    """All results are there: nothing is left for a cluster to do."""
    photos(tmp_path / "in", 2)
    list(stylize_files(tiny, tmp_path / "in", tmp_path / "out", device="cpu"))
    report = tmp_path / "report.jsonl"
    places = f"file://{tmp_path}/in", f"file://{tmp_path}/out"
    assert [*on_cluster(tiny, *places, skip_existing=True, report=report)] == []
    assert [line["output"] for line in lines(report)] == [f"{tmp_path}/out/{number:03}_tiny.png" for number in range(2)]


# --- mistakes; none of these reaches a worker but the last


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        ("memory://nowhere", None, "input=memory://nowhere: there are no pictures here"),
        ("nothing://x/y.jpg", None, "input=nothing://x/y.jpg cannot be reached"),
        ("-", None, "engine=ray works on files"),
        ("in", "-", "engine=ray works on files"),
        ("absent", None, "there is no such file or folder"),
    ],
)
def test_places_that_do_not_suit(tiny, tmp_path, monkeypatch, inputs, output, message):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 2)
    with pytest.raises(UserError, match=message):
        list(on_cluster(tiny, inputs, output))


def test_without_ray_the_extra_is_named(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"engine=ray needs Ray: pip install 'stylenet\[ray\]'"):
        list(on_cluster(tiny, "in"))


def test_what_the_workers_lack_ends_the_run_in_a_line(cluster, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 2)
    with warnings.catch_warnings(action="ignore"), pytest.raises(UserError, match="device=cuda:77: there is no such"):
        list(stylize_files(tiny, "in", "out", device="cuda:77", engine="ray", workers=1))


def test_masks_and_several_styles_go_to_the_workers(cluster, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 3)
    other = checkpoint.save(tmp_path / "other.safetensors", registry.build("johnson", widths=(4, 4, 4), blocks=0), {})
    left = Image.fromarray(np.repeat(np.array([[255] * 10 + [0] * 10], np.uint8), 16, 0))
    left.save("left.png")
    left.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("right.png")
    made = [*on_cluster([tiny, other], "in", "out", mask=["left.png", "right.png"])]
    assert sorted(path.name for path in made) == [f"00{number}_tiny+other.png" for number in range(3)]
    each = [np.asarray(load(style, "cpu")("in/001.png")).astype(int) for style in (tiny, other)]
    result = np.asarray(Image.open("out/001_tiny+other.png")).astype(int)
    assert np.abs(result[:, :10] - each[0][:, :10]).max() <= 1 and np.abs(result[:, 10:] - each[1][:, 10:]).max() <= 1


def test_masks_are_found_by_the_workers(cluster, tiny, tmp_path, monkeypatch, capsys):
    """Nobody is in these photos: the worker says so, and they stay as they are."""
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 2)
    assert len([*on_cluster(tiny, "in", "out", mask="person")]) == 2
    assert (np.asarray(Image.open("out/001_tiny.png")) == np.asarray(Image.open("in/001.png"))).all()
    assert capsys.readouterr().err.count("no person was found: all of it counts as background") == 2


def test_films_are_refused(cluster, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"clip\.mp4 is a film: engine=ray takes pictures"):
        list(on_cluster(tiny, "clip.mp4", "out"))


def test_one_style_of_several_is_that_one_on_the_cluster_too(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint.save("both.safetensors", net, {"styles": [{"name": "calm"}, {"name": "storm"}]})
    photos(tmp_path / "in", 2)
    list(on_cluster("both.safetensors:storm", "in", "out"))
    styles = [load(f"both.safetensors:{name}", device="cpu", backend="torch") for name in ("calm", "storm")]
    for photo in sorted(Path("in").iterdir()):
        (made,) = Path("out").glob(f"{photo.stem}_*.png")
        calm, storm = (np.asarray(style(photo), int) for style in styles)  # type: ignore[arg-type]
        assert np.abs(np.asarray(Image.open(made), int) - storm).max() <= 1
        assert np.abs(calm - storm).max() > 10
