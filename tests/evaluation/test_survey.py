"""An evaluation as a user runs it: what it writes, how it resumes, and its messages."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stylenet.data.paintings import open_painting
from stylenet.evaluation.candidates import candidate, objective_of, stylized
from stylenet.evaluation.ledger import json_text
from stylenet.evaluation.metrics import ARTEFACTS, PHOTOS, painting_file, squares
from stylenet.evaluation.survey import MEASURES, Plan, Survey
from stylenet.images.image_io import to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets import checkpoint
from stylenet.nets.registry import build
from stylenet.system.errors import UserError
from stylenet.training.wandb_files import records

LOSS = {
    "scale": "calibrated",
    "style_layers": {"relu1_2": 1.0},
    "content_layers": {"relu2_2": 1.0},
    "style_weight": 2.0,
    "content_weight": 1.0,
}
CALIBRATION = {"style_reference_relu1_2": [0.5], "content_reference_relu2_2": 8.0}
CPU = torch.device("cpu")


def style_file(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    net = build("johnson", widths=(4, 4, 4), blocks=1)
    styles = [{"name": path.stem, "image": "great_wave.jpg", "size": 96}]
    return checkpoint.save(path, net, {"styles": styles, "loss": LOSS, "calibration": CALIBRATION})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the scripts below: an evaluation resumes only with its number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def evaluated(run_in, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder with one small evaluation of two networks, and the output of the script."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "far" / "paintings").mkdir(parents=True)
    for painting in ("great_wave.jpg", "summertime.jpg"):
        open_painting(painting, 96).save(folder / "far" / "paintings" / painting, quality=95)
    for seed, name in enumerate(("one", "two")):
        style_file(folder / f"{name}.safetensors", seed)
    return folder, run_in(folder, "ckpt=[one.safetensors,two.safetensors]", "wandb=true", *OPTIONS)


RUNS = ["sizes=[64,96]", "photos=[3,2]", "worth.photos=[1,0]", "worth.steps=6"]
OPTIONS = [*RUNS, "paintings=far/paintings", "painting=far/paintings", "output=out"]


@pytest.fixture(scope="module")
def run_in(request: pytest.FixtureRequest):
    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
        script = Path(__file__).parents[2] / "scripts" / "evaluate.py"
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)

    return run


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "results.json").read_text())


@torch.no_grad()
def test_of_a_file_with_several_styles_one_is_named_and_judged(tmp_path: Path):
    torch.manual_seed(0)
    net = build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2).eval()
    for parameter in net.parameters():
        parameter.normal_()
    styles = [{"name": name, "image": f"{name}.jpg", "size": 96} for name in ("great_wave", "summertime")]
    calibration = {"style_reference_relu1_2": [0.5, 0.25], "content_reference_relu2_2": 8.0}
    info = {"styles": styles, "loss": LOSS, "calibration": calibration}
    file = checkpoint.save(tmp_path / "two.safetensors", net, info)
    second = candidate(f"{file}:summertime", None, CPU, {})
    assert (second.name, second.painting.name, second.file) == ("two:summertime", "summertime.jpg", file)
    photo = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(stylized(second, photo), net(photo, torch.tensor([[0.0, 1.0]])), atol=1e-6, rtol=0)
    assert second.judge["calibration"]["style_reference_relu1_2"] == [0.25]
    for wrong, told in ((str(file), r"two\.safetensors:great_wave, .*:summertime"), (f"{file}:moon", "no such style")):
        with pytest.raises(UserError, match=told):
            candidate(wrong, None, CPU, {})
    with pytest.raises(UserError, match="judge=.*two.* holds 2 styles: say which"):
        candidate(f"{file}:summertime", None, CPU, {}, judge=str(file))


def test_everything_is_measured_at_each_size(evaluated):
    folder, done = evaluated
    assert done.returncode == 0, done.stderr
    assert "at most; an interrupted evaluation can resume" in done.stderr
    found = results(folder)
    assert [*found["nets"]] == ["one", "two"]
    assert found["about"]["seed"] == 0 and found["about"]["versions"]["torch"].startswith(torch.__version__[:3])
    assert found["about"]["hardware"]["threads"] == 1 and "commit" in found["about"]
    for net in found["nets"].values():
        small, large = net["sizes"]["64"], net["sizes"]["96"]
        assert (small["summary"]["photos"], large["summary"]["photos"]) == (3, 2)
        assert {"style", "content", "ssim", "lpips", "cfsd", *ARTEFACTS} <= {*small["summary"]}
        assert 0 < small["speed"]["pass_s"]["median"] and 0 < small["speed"]["file_s"]["median"]
        assert {*small["summary"]["worth"]} == {"content", "noise"} and not large["summary"]["worth"]
        assert "artfid_vgg" in small["artfid"]
        (run,) = small["races"]["noise"].values()
        assert run["goal"] == pytest.approx(small["photos"]["astronaut.jpg"]["objective"], rel=1e-4)


def test_the_goal_is_the_objective_that_the_network_was_trained_with(evaluated):
    folder, _ = evaluated
    net, info = checkpoint.load(folder / "one.safetensors")
    photo = squares(None, 64, 3)[0]
    painting = open_painting(folder / "far" / "paintings" / "great_wave.jpg", 96)
    loss = PerceptualLoss([to_tensor(painting)], **LOSS)
    loss.get_buffer("style_reference_relu1_2").fill_(0.5)
    loss.get_buffer("content_reference_relu2_2").fill_(8.0)
    loss.get_buffer("is_calibrated").fill_(True)
    with torch.no_grad():
        expected = float(sum(loss(net(photo), photo).values()))
    found = results(folder)["nets"]["one"]["sizes"]["64"]["photos"]["astronaut.jpg"]
    assert found["objective"] == pytest.approx(expected, rel=1e-4)
    assert found["objective"] == pytest.approx(2 * found["objective_style"] + found["objective_content"], rel=1e-4)


def test_tables_plots_and_a_sheet_are_written(evaluated):
    folder, done = evaluated
    text = (folder / "out" / "results.md").read_text()
    assert done.stdout == text + "out\n"
    assert "python scripts/evaluate.py 'ckpt=[one.safetensors,two.safetensors]'" in text
    assert "paintings=/path/to/paintings" in text
    assert text.count("| one | 64 |") == 4 and text.count("| two | 96 |") == 3  # no worth at 96
    for name in ("worth.png", "tradeoff.png", "sheet.jpg"):
        with Image.open(folder / "out" / name) as picture:
            assert min(picture.size) > 200


def test_weights_and_biases_has_the_tables_and_the_pictures(evaluated):
    folder, _ = evaluated
    (file,) = (folder / "out" / "wandb").glob("offline-run-*/run-*.wandb")
    kept = [
        record.history.item for record in records(file.read_bytes()) if record.WhichOneof("record_type") == "history"
    ]
    rows = {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for items in kept for item in items}
    assert {"worth", "tradeoff", "sheet", "Style", "Artefacts", "Seconds"} <= {key.partition("/")[0] for key in rows}
    table = json.loads((file.parent / "files" / rows["Style/path"]).read_text())
    assert [row[:3] for row in table["data"]] == [
        ["one", "64", "3"],
        ["one", "96", "2"],
        ["two", "64", "3"],
        ["two", "96", "2"],
    ]
    assert (file.parent / "files" / rows["sheet/path"]).exists()


def test_what_is_there_is_not_measured_again_and_what_is_missing_is(evaluated, run_in):
    folder, _ = evaluated
    before = results(folder)
    lost = before["nets"]["two"]["sizes"]["64"]["photos"].pop("astronaut.jpg")
    (folder / "out" / "results.json").write_text(json_text(before))
    done = run_in(folder, "ckpt=[one.safetensors,two.safetensors]", *OPTIONS)
    assert done.returncode == 0, done.stderr
    after = results(folder)
    assert after["nets"]["one"] == before["nets"]["one"]  # the measured seconds too
    assert after["nets"]["two"]["sizes"]["64"]["photos"]["astronaut.jpg"] == lost
    assert after["nets"]["two"]["sizes"]["64"]["races"] == before["nets"]["two"]["sizes"]["64"]["races"]


def plan(**changes: Any) -> Plan:
    settings: dict[str, Any] = {"data": None, "sizes": [64], "photos": [3], "runs": [1], "steps": 6, "seed": 0}
    return Plan(**settings | {"paintings": None, "device": CPU} | changes)


def test_figures_of_another_network_or_by_other_options_are_not_mixed_in(evaluated, tmp_path: Path):
    folder, _ = evaluated
    other = candidate(str(style_file(tmp_path / "one.safetensors", 5)), None, CPU, {})
    with pytest.raises(UserError, match="holds figures of one with another file, another painting: use another"):
        Survey([other], plan(), folder / "out")
    same = candidate(str(folder / "one.safetensors"), str(folder / "far" / "paintings"), CPU, {})
    with pytest.raises(UserError, match="of one with another seed, another steps: use another output="):
        Survey([same], plan(seed=1, steps=7), folder / "out")


def test_two_networks_of_one_name_are_told_apart_by_the_user(tmp_path: Path):
    (tmp_path / "far").mkdir()
    files = [style_file(tmp_path / "one.safetensors"), style_file(tmp_path / "far" / "one.safetensors", 5)]
    with pytest.raises(UserError, match="two networks called one: rename one of the files"):
        Survey([candidate(str(file), None, CPU, {}) for file in files], plan(), tmp_path / "out")


def test_a_file_that_is_no_evaluation_stays_as_it_is(tmp_path: Path):
    net = candidate(str(style_file(tmp_path / "one.safetensors")), None, CPU, {})
    for text, message in (("{}", "is not an evaluation"), ("{", "is not a JSON file")):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(UserError, match=message):
            Survey([net], plan(), tmp_path)
        assert (tmp_path / "results.json").read_text() == text


def test_a_network_with_non_finite_outputs_is_refused(tmp_path: Path):
    net = candidate(str(style_file(tmp_path / "one.safetensors")), None, CPU, {})
    with torch.no_grad():
        net.net.last.bias.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(UserError, match="one gives NaN or infinity at 64 px: a broken network."):
        stylized(net, torch.rand(1, 3, 64, 64))


def test_more_photos_later_leave_what_is_left_to_do(evaluated):
    folder, _ = evaluated
    net = candidate(str(folder / "one.safetensors"), str(folder / "far" / "paintings"), CPU, {})
    assert Survey([net], plan(), folder / "out").total() == 0
    assert Survey([net], plan(photos=[4]), folder / "out").total() == 64**2 * MEASURES
    assert Survey([net], plan(runs=[2]), folder / "out").total() == 64**2 * 2 * 6


def test_records_of_an_older_version_are_measured_again_and_their_runs_stay(evaluated, tmp_path: Path):
    folder, _ = evaluated
    older = results(folder)
    found = older["nets"]["one"]["sizes"]["64"]
    lost = {name: found["photos"]["astronaut.jpg"].pop(name) for name in ("bands", "weave", "weave_of_photos", "flat")}
    (tmp_path / "results.json").write_text(json_text(older))
    net = candidate(str(folder / "one.safetensors"), str(folder / "far" / "paintings"), CPU, {})
    survey = Survey([net], plan(), tmp_path)
    assert survey.total() == 64**2 * MEASURES
    after = survey.run()["nets"]["one"]["sizes"]["64"]
    assert {name: after["photos"]["astronaut.jpg"][name] for name in lost} == pytest.approx(lost)
    assert after["races"] == found["races"] and "weave" in after["summary"]


def test_a_run_stays_when_photos_are_added_and_does_not_count_for_others(tmp_path: Path):
    one, others = tmp_path / "one", tmp_path / "others"
    for folder, seeds in ((one, (1, 2)), (others, (3, 4))):
        folder.mkdir()
        for seed in seeds:
            pixels = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(seed)) * 255
            Image.fromarray(pixels.byte().numpy()).save(folder / f"{seed}.png")
    open_painting("great_wave.jpg", 96).save(tmp_path / "small.jpg")  # a large one takes long to measure
    net = candidate(str(style_file(tmp_path / "one.safetensors")), str(tmp_path / "small.jpg"), CPU, {})

    def survey(data: Path, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
        settings = plan(data=str(data), photos=[count], steps=2, starts=["content"])
        found = Survey([net], settings, tmp_path / "out").run()["nets"]["one"]["sizes"]["64"]
        return found["races"]["content"], found["summary"]["worth"]["content"]

    first, _ = survey(one, 2)
    before = first["1.png"]["iteration_s"]
    (one / "3.png").write_bytes((others / "3.png").read_bytes())
    later, _ = survey(one, 3)  # 1.png has another neighbour now
    assert later["1.png"]["iteration_s"] == before
    _, summary = survey(others, 2)
    assert summary["photos"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer=sgd: no such optimizer. Allowed: lbfgs, torch_lbfgs, adam."),
        ({"data": "nowhere"}, "nowhere does not exist.*Give a folder of photos: data="),
        ({"data": str(PHOTOS / "castle.jpg")}, "castle.jpg is a single file. Give a folder of photos"),
        ({"paintings": "nowhere"}, "nowhere does not exist.*Give a folder of photos: paintings="),
    ],
)
def test_mistakes_are_reported_before_the_work(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        Survey([], plan(**changes), tmp_path)


def test_a_painting_that_is_not_bundled_is_asked_for():
    with pytest.raises(UserError, match="the_scream.jpg, the painting of this style, is not bundled: use painting="):
        painting_file({"styles": [{"image": "the_scream.jpg"}]}, None)
    with pytest.raises(UserError, match="painting=my.jpg: there is no such file"):
        painting_file({}, "my.jpg")


@pytest.mark.parametrize(("file", "message"), [("nothing.onnx", "there is no such file"), ("two", "no such style")])
def test_a_missing_network_is_reported(file: str, message: str):
    with pytest.raises(UserError, match=message):
        candidate(file, None, CPU, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["photos=1"], "photos=1: give whole numbers of 2 or more."),
        (["sizes=[64,96]", "photos=[3]", "worth.photos=[1,2,3]", "worth.steps=0"], "worth.steps=0: give whole numbers"),
        (["sizes=[64,96,128,200]"], "photos= lists 3 numbers for 4 sizes"),
        (["painting=[a.jpg,b.jpg]"], "painting= lists 2 for 1 networks: give one, or one for each."),
        (["output=file.txt"], "output=file.txt is a file: give a folder."),
        (["wandb=maybe"], "wandb=maybe: give true or false."),
    ],
)
def test_mistakes_are_answered_in_a_line(run_in, tmp_path: Path, options: list[str], message: str):
    (tmp_path / "file.txt").write_text("")
    done = run_in(tmp_path, "ckpt=starry_night", *options)
    assert done.returncode == 2 and done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_a_network_that_says_nothing_of_its_training_is_judged_by_what_the_options_say(tmp_path: Path):
    torch.manual_seed(0)
    file = checkpoint.save(tmp_path / "bare.safetensors", build("johnson", widths=(4, 4, 4), blocks=0), {})
    with pytest.raises(UserError, match="painting=painting.jpg"):
        candidate(str(file), None, CPU, {"loss": LOSS, "size": 128})
    bare = candidate(str(file), "great_wave.jpg", CPU, {"loss": LOSS, "size": 128})
    photos = squares(None, 64, 4)
    loss = objective_of(bare.painting, bare.judge, photos)
    with torch.no_grad():
        read = [loss.readings(loss(photo, photo)) for photo in photos]
    assert sum(float(x["style"]) for x in read) / 4 == pytest.approx(1, rel=1e-4)  # calibrated on these


def test_all_can_be_judged_by_one_of_them(tmp_path: Path):
    style_file(tmp_path / "one.safetensors")
    other = checkpoint.save(tmp_path / "other.safetensors", build("johnson", widths=(4, 4, 4), blocks=0), {})
    judged = candidate(str(other), None, CPU, {"loss": {}, "size": 1}, judge=str(tmp_path / "one.safetensors"))
    assert judged.judge["calibration"] == CALIBRATION and judged.painting.name == "great_wave.jpg"
