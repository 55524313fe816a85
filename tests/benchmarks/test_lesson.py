"""The lesson, docs/how_it_works.md: its examples are true, its pictures can be made."""

import doctest
import importlib
import json
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.experiments import lesson, lesson_seen
from benchmarks.experiments.lesson_cells import colored
from benchmarks.experiments.trainings import answering
from stylenet.images.image_io import to_tensor
from stylenet.losses.perceptual import gram
from stylenet.losses.vgg import VGG
from stylenet.optimizing import gatys

ROOT = Path(__file__).resolve().parents[2]
LESSON = ROOT / "docs/how_it_works.md"
LAYERS = ("relu1_2", "relu2_2", "relu3_3")
Run = Callable[..., int]


def test_the_examples_worked_by_hand_are_what_the_code_computes():
    done = doctest.testfile(str(LESSON), module_relative=False, encoding="utf-8")
    assert done.attempted >= 15 and not done.failed


def test_each_formula_has_its_function():
    text = LESSON.read_text()
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+)\.py\)", text)
    for name, path in named:
        module = importlib.import_module(path.replace("/", "."))
        assert callable(reduce(getattr, name.split("."), module)), name
    formulas = re.findall(r"^```text\n(.+?)^```\n(.+?)(?=^(?:```|!|#))", text, flags=re.MULTILINE | re.DOTALL)
    assert len(formulas) == 10
    for formula, after in formulas:
        assert re.search(r"\[`[\w.]+`\]\(\.\./", after), f"no function beside {formula}"


def test_the_pictures_are_those_of_the_command_and_small():
    shown = set(re.findall(r"\(lesson/(\w+)\.jpg\)", LESSON.read_text()))
    assert shown == lesson.PICTURES.keys()
    files = [*(LESSON.parent / "lesson").glob("*.jpg")]
    assert {file.stem for file in files} == shown
    assert sum(file.stat().st_size for file in files) < 2.5e6


@pytest.mark.parametrize("layer", ["relu1_1", *LAYERS, "relu4_1"])
def test_a_receptive_field_is_the_square_of_pixels_with_a_gradient(layer: str):
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    features = VGG([layer], pooling="average")(image)[layer]
    field, step = lesson_seen.receptive_field(layer)
    assert features.shape[-1] == 128 // step
    middle = features[..., features.shape[-2] // 2, features.shape[-1] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, image)
    seen = gradient.abs().sum((0, 1))
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (field, field)


def test_pictures_are_rebuilt_from_noise():
    """Features of a low layer bring back the pixels; Gram matrices bring back themselves, but not the places."""
    photo = torch.zeros(1, 3, 32, 32)
    photo[..., :16], photo[:, 0] = 0.7, 0.4
    rebuilt = lesson_seen.from_features(photo, "relu1_1", 40)
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    assert (rebuilt - photo).square().mean() < 0.05 * (noise - photo).square().mean()
    vgg = VGG(["relu1_1"], pooling="average")

    def missing(image: torch.Tensor) -> float:
        wanted = gram(vgg(photo)["relu1_1"])
        return float((gram(vgg(image)["relu1_1"]) - wanted).square().sum() / wanted.square().sum())

    texture = lesson_seen.from_grams(photo, ["relu1_1"], 40)
    assert missing(texture) < 0.05 * missing(noise)
    assert (texture - photo).square().mean() > 5 * (rebuilt - photo).square().mean()


def test_maps_vary_and_are_unlike():
    photo = to_tensor(lesson.square(lesson.PORTRAIT, 288))
    for layer, maps in lesson_seen.strongest_maps(photo, ["relu2_2", "relu5_3"], 4).items():
        assert len(maps) == 4 and all(one.max() == 1 and one.min() >= 0 for one in maps), layer
        flat = torch.stack(maps).flatten(1)
        assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.71, layer


def test_a_matrix_as_a_picture():
    picture = colored(torch.tensor([[4.0, 0.0], [0.0, 1.0]]), 2)
    assert picture.getpixel((0, 0)) == (255, 255, 255) and picture.getpixel((1, 0)) == (0, 0, 0)
    red, green, blue = picture.getpixel((1, 1))  # type: ignore[misc]  # the root of a quarter: half way, orange
    assert red > 2 * green - 10 and green > 2 * blue


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["lesson", *arguments])
        try:
            answering(lesson.main)
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    monkeypatch.setattr(gatys, "CALIBRATION_SIZE", 32)
    return run


def test_all_pictures_in_miniature_and_none_twice(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    tiny = "training=[data.size=32,data.margin=0,data.batch_size=1,data.val_size=32,style_size=64]"
    arguments = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}", "side=32", "patience=0.02", tiny]
    assert run(*arguments) == 0
    made = {file.stem: file for file in (tmp_path / "out").glob("*.jpg")}
    assert made.keys() == lesson.PICTURES.keys()
    with Image.open(made["starts"]) as page:
        assert page.width == 5 * 32 + 4 * 8 + 2 * 8  # five moments in a row, 8 px apart
    readings = json.loads((tmp_path / "out" / "readings.json").read_text())
    assert readings["features_relu5_3"]["settings"] == {"steps": 12, "side": 32}
    assert set(readings["textures_2"]["terms"]) == {"style/relu1_1", "style/relu2_1"}
    capfd.readouterr()
    made["starts"].unlink()
    times = {name: file.stat().st_mtime_ns for name, file in made.items() if name != "starts"}
    assert run(*arguments) == 0
    said = capfd.readouterr()
    assert said.out.count("kept") == len(made) - 1 and "starts.jpg: made" in said.out
    assert "objective" not in said.err  # its cells were there
    assert times == {name: file.stat().st_mtime_ns for name, file in made.items() if name != "starts"}


def test_an_unknown_picture_is_answered_in_a_line(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert run(f"out={tmp_path}", "only=[gram]") == 2
    said = capfd.readouterr().err
    assert "only=gram: no such picture. There are: maps, exercise, grams" in said and len(said.splitlines()) == 1
