"""Masks by themselves: people are found where they are, and the user's own network finds what it finds."""

import json
import logging
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT
from onnx import TensorProto, helper
from PIL import Image

import stylenet
from benchmarks.experiments import masks as experiment
from stylenet import stylize_files
from stylenet.images.image_io import open_rgb
from stylenet.nets import checkpoint, registry
from stylenet.stylizing import found_masks, sheets
from stylenet.stylizing.controls import Controls, open_masks
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

PHOTOS = ASSETS / "photos" / "val"
NOBODY = "o person was found: all of it counts as background"
FACE, WALL = (slice(40, 60), slice(95, 125)), (slice(0, 90), slice(190, 256))  # of the astronaut at 256 pixels


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return open_rgb(PHOTOS / "astronaut.jpg").resize((256, 256))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: Image.Image) -> Path:
    """The current folder, with a style, a portrait, a photo of a castle, and nothing in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    checkpoint.save(Path("tiny.safetensors"), registry.build("johnson", widths=(4, 6, 8), blocks=1), {})
    Path("in").mkdir()
    astronaut.save("in/astronaut.png")
    open_rgb(PHOTOS / "castle.jpg").resize((192, 128)).save("in/castle.png")
    return tmp_path


def load(**options: Any) -> Any:
    ckpt = options.pop("ckpt", "tiny.safetensors")
    return stylenet.load(ckpt, device="cpu", backend="torch", **options)


def mask_of(photo: Image.Image, word: str, inverted: bool = False) -> np.ndarray:
    found, _ = found_masks.settled(open_masks([word], inverted), np.asarray(photo))
    return np.asarray(found[0])


Network = Callable[..., str]


@pytest.fixture
def network(here: Path) -> Network:
    """An ONNX file whose mask is the first colour of its input, by ``scale``."""

    def made(name: str, shape: tuple[Any, ...] = (1, 3, 8, 8), scale: float = 1.0, channel_axis: int = 1) -> str:
        given = helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)
        output = helper.make_tensor_value_info("mask", TensorProto.FLOAT, None)
        values = [
            helper.make_tensor("index", TensorProto.INT64, [1], [0]),
            helper.make_tensor("scale", TensorProto.FLOAT, [1], [scale]),
        ]
        nodes = [
            helper.make_node("Gather", ["photo", "index"], ["red"], axis=channel_axis),
            helper.make_node("Mul", ["red", "scale"], ["mask"]),
        ]
        graph = helper.make_graph(nodes, "net", [given], [output], values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, name)
        return name

    return made


# --- people


def test_the_astronaut_is_found_and_the_background_is_the_rest(astronaut: Image.Image):
    marked = json.loads(experiment.MARKED.read_text())["astronaut"]["polygons"]
    halves = [[side / 2 for side in polygon] for polygon in marked]
    assert experiment.overlap(astronaut, halves) > 0.93
    person = mask_of(astronaut, "person")
    assert (mask_of(astronaut, "background") == 255 - person).all()
    assert (mask_of(astronaut, "person", inverted=True) == 255 - person).all()


def test_a_small_person_is_looked_at_closer(astronaut: Image.Image):
    """In an eighth of the width: nearly what is found by itself. In one look 0.59 of it would be."""
    large = Image.new("RGB", (1024, 768), (60, 80, 60))
    large.paste(astronaut.resize((128, 128)), (600, 640))
    found = mask_of(large, "person") > 127
    alone = np.asarray(Image.fromarray(mask_of(astronaut, "person")).resize((128, 128))) > 127
    small = found[640:, 600:728]
    assert (small & alone).sum() / (small | alone).sum() > 0.8
    assert found.sum() == small.sum()  # nothing elsewhere


def test_the_style_is_on_the_person_or_around(here: Path, astronaut: Image.Image):
    photo, everywhere = np.asarray(astronaut), np.asarray(load()(astronaut))
    on, around = (np.asarray(load(mask=word)(astronaut)) for word in ("person", "background"))
    assert (on[FACE] == everywhere[FACE]).all() and (on[WALL] == photo[WALL]).all()
    assert (around[FACE] == photo[FACE]).all() and (around[WALL] == everywhere[WALL]).all()
    tensor = torch.from_numpy(photo.copy()).movedim(-1, 0)[None] / 255
    made = load(mask="person")(tensor.repeat(2, 1, 1, 1))[1].movedim(0, -1) * 255
    assert np.abs(made.numpy() - on).mean() < 0.6


def test_a_style_for_the_person_and_one_for_the_rest_and_a_drawn_mask(here: Path, astronaut: Image.Image):
    torch.manual_seed(1)
    other = checkpoint.save(Path("b.safetensors"), registry.build("johnson", widths=(4, 4, 4), blocks=0), {})
    both = load(ckpt=["tiny.safetensors", other], mask=["person", "background"])
    made = np.asarray(both(astronaut))
    assert (made[FACE] == np.asarray(load()(astronaut))[FACE]).all()
    assert (made[WALL] == np.asarray(load(ckpt=other)(astronaut))[WALL]).all()
    drawn = load(ckpt=["tiny.safetensors", other], mask=["person", Image.new("L", (1, 1), 0)])
    assert (np.asarray(drawn(astronaut))[WALL] == np.asarray(astronaut)[WALL]).all()


def test_styles_of_one_network_are_told_apart_by_person_and_background(here: Path, astronaut: Image.Image):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    two = checkpoint.save(Path("two.safetensors"), net, {"styles": [{"name": "a"}, {"name": "b"}]})
    made = np.asarray(load(ckpt=two, mix=["a", "b"], mask=["person", "background"])(astronaut))
    a, b = (np.asarray(load(ckpt=two, mix=name)(astronaut)) for name in "ab")
    assert (made[FACE] == a[FACE]).all() and (made[WALL] == b[WALL]).all() and (a[WALL] != b[WALL]).any()


def test_the_word_is_meant_unless_it_is_a_path(here: Path, astronaut: Image.Image):
    Image.new("L", (4, 4), 255).save("person", "PNG")
    assert isinstance(open_masks(["person"])[0], found_masks.FoundMask)
    for file in ("./person", Path("person")):
        (mask,) = open_masks([file])
        assert isinstance(mask, Image.Image) and mask.getextrema() == (255, 255)


def test_nobody_is_told_of_and_the_photo_stays(here: Path, caplog: pytest.LogCaptureFixture, capsys: Any):
    castle = np.asarray(open_rgb("in/castle.png"))
    with caplog.at_level(logging.WARNING):
        assert (np.asarray(load(mask="person")("in/castle.png")) == castle).all()
        assert (np.asarray(load(mask="background")("in/castle.png")) == np.asarray(load()("in/castle.png"))).all()
        load(mask="person")(castle)
    assert [record.message for record in caplog.records] == [f"N{NOBODY}."] * 3
    [*_] = stylize_files("tiny.safetensors", "in", "out", mask="person", device="cpu", backend="torch")
    [*_] = stylize_files("tiny.safetensors", "in/castle.png", "alone.png", mask="person", device="cpu", backend="torch")
    said = capsys.readouterr().err
    assert said.count(f"castle.png: n{NOBODY}.") == 2 and "astronaut.png: n" not in said
    plan = sheets.plan_comparison(
        "in/castle.png",
        "tiny.safetensors",
        ["mask=person", "mask=background"],
        None,
        128,
        stylenet.Runtime("cpu", "torch"),
    )
    assert plan.notes == [f"n{NOBODY}"]
    left, around = (np.asarray(cell.masks[0]) for row in plan.rows for cell in row[1:] if cell)
    assert (left == 0).all() and (around == 255).all()


def test_each_frame_has_its_own_mask_and_is_steadied(here: Path, astronaut: Image.Image, capsys: Any):
    """The same portrait in each frame, with other noise; then nobody."""
    Path("film").mkdir()
    noise = np.random.default_rng(0).normal(0, 8, (5, 256, 256, 3))
    frames = np.clip(np.asarray(astronaut) + noise, 0, 255).astype(np.uint8)
    for number, frame in enumerate([*frames, np.full_like(frames[0], 128)]):
        Image.fromarray(frame).save(f"film/{number:02}.png")
    edges = []
    for temporal in (0.0, 0.6):
        out = f"out{temporal}/%02d.png"
        [*_] = stylize_files(
            "tiny.safetensors", "film/%02d.png", out, mask="person", temporal=temporal, device="cpu", backend="torch"
        )
        made = np.stack([np.asarray(Image.open(out % number)).astype(float) for number in range(6)])
        if not temporal:
            assert (made[0][WALL] == frames[0][WALL]).all() and (made[5] == 128).all()
            assert np.abs(made[0][FACE] - frames[0][FACE]).mean() > 5
        masks = [mask_of(Image.fromarray(frame), "person").astype(int) for frame in frames]
        edge = np.ptp(masks, axis=0) > 20  # where the masks differ most
        edges.append(np.abs(np.diff(made[:5], axis=0))[:, edge].mean())
    assert edges[1] < 0.6 * edges[0]
    assert f"n{NOBODY} (in 1 of 6 frames)." in capsys.readouterr().err


def test_a_huge_photo_is_not_copied():
    """36 million pixels, which are all of one row: the memory stays a small part of theirs."""
    row = np.random.default_rng(0).integers(0, 256, (1, 6000, 3), np.uint8)
    photo = np.broadcast_to(row, (6000, 6000, 3))
    tracemalloc.start()
    try:
        (mask,), _ = found_masks.settled(open_masks(["person"]), photo)
        assert tracemalloc.get_traced_memory()[1] < photo.size / 5
    finally:
        tracemalloc.stop()
    assert mask.size == (1024, 1024)


def test_photos_of_any_shape(here: Path):
    for size in ((1, 1), (3, 700), (2500, 2)):
        assert load(mask="person")(Image.new("RGB", size, "red")).size == size


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_finds_the_same(here: Path):
    """Its parent has computed in two threads, which it lacks: it must not wait for them."""
    program = """if True:
        import os, signal, numpy as np, torch, stylenet
        torch.set_num_threads(2)
        style = stylenet.load("tiny.safetensors", "cpu", backend="torch", mask="person")
        made = np.asarray(style("in/astronaut.png"))
        child = os.fork()
        if not child:
            signal.alarm(60)
            apart = np.abs(np.asarray(style("in/astronaut.png")).astype(int) - made)
            os._exit(0 if apart.max() <= 2 else 3)  # one thread rounds otherwise
        print(os.waitpid(child, 0)[1])
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout == "0\n", done.stderr


# --- the user's own network


@pytest.mark.parametrize(
    ("name", "pixels", "level"),
    [
        ("u2net.onnx", "", (0.6 - 0.485) / 0.229),  # imagenet's mean and deviation of red
        ("isnet-general-use.onnx", "", 0.6 - 0.5),
        ("mine.onnx", ":0-1", 0.6),
        ("mine.onnx", ":-1-1", 0.6 * 2 - 1),
        ("isnet.onnx", ":imagenet", (0.6 - 0.485) / 0.229),
    ],
)
def test_a_model_gets_the_pixels_it_was_trained_on(network: Network, name: str, pixels: str, level: float):
    photo = Image.new("RGB", (40, 30), (153, 0, 0))
    model = open_masks([f"model:{network(name)}{pixels}"])[0]
    assert isinstance(model, found_masks.FoundMask)
    with torch.inference_mode():
        mask = model.finder.find(torch.from_numpy(np.asarray(photo).copy()).movedim(-1, 0)[None] / 255)
    torch.testing.assert_close(mask, torch.full((1, 1, 30, 40), level), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"shape": (1, 8, 8, 3), "channel_axis": 3}, {"shape": ("b", 3, "h", "w")}, {"scale": 40.0}]
)
def test_a_model_finds_the_subject_at_any_layout_and_the_rest_is_the_background(network: Network, options: dict):
    """The right half is red; scores far from it, -20 and 20, are made likelihoods by a sigmoid."""
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:, 0] = 255
    pixels = "-0.5-0.5" if options.get("scale") else "0-1"
    words = [f"model:{network('mine.onnx', **options)}:{pixels}", "background"]
    (subject, rest), note = found_masks.settled(open_masks(words), photo)
    assert note == "" and (np.asarray(rest) == 255 - np.asarray(subject)).all()
    assert np.asarray(subject)[:, :28].max() < 10 and np.asarray(subject)[:, 36:].min() > 245
    _, note = found_masks.settled(open_masks(words), np.zeros_like(photo))
    assert note == "no subject was found: all of it counts as background"


def test_subject_is_the_model_in_the_cache_and_goes_to_other_processes(network: Network, here: Path):
    Path("cache").mkdir()
    Path(network("mine.onnx")).rename("cache/subject.onnx")
    stylizer = load(mask="subject")
    photo = Image.new("RGB", (24, 24), (255, 0, 0))
    expected = np.asarray(stylizer(photo))
    sent = pickle.dumps(stylizer)  # with a network that runs
    Path("cache/subject.onnx").unlink()
    assert (np.asarray(pickle.loads(sent)(photo)) == expected).all() and (expected != np.asarray(photo)).any()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (
            "subject",
            r"mask=subject: no network for any subject comes with stylenet. Give yours, as mask=model:u2net.onnx",
        ),
        ("model:absent.onnx", r"mask=model:absent.onnx: there is no file absent.onnx. Give mask=model:u2net.onnx"),
        ("model:", "mask=model:: there is no file"),
        ("persons", "persons.* Did you mean mask=person?"),
    ],
)
def test_what_cannot_find_is_told_before_anything_is_made(here: Path, mask: str, said: str):
    with pytest.raises(UserError, match=said):
        load(mask=mask)
    with pytest.raises(UserError, match=said):
        [*_] = stylize_files("tiny.safetensors", "in", "out", mask=mask)
    assert not Path("out").exists()


def test_a_model_that_gives_no_mask_fails_in_a_line(network: Network, astronaut: Image.Image):
    Path("broken.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"mask=model:\S*broken.onnx cannot be used as ONNX"):
        load(mask="model:broken.onnx")  # before there is a photo
    network("wide.onnx", shape=(1, 3, 8, 8), channel_axis=0)  # all colours of the only photo
    with pytest.raises(UserError, match=r"gives \(1, 3, 8, 8\) of float32, which is not a mask"):
        load(mask="model:wide.onnx")(astronaut)


def test_words_are_values_of_the_control():
    assert Controls(mask=["person", "background"], mask_invert=True).mask == ["person", "background"]
