"""``stylenet publish`` and ``ckpt=hf:...`` as a user runs them: what is published loads again and paints the same."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from hub_server import READER, WRITER, Hub
from PIL import Image
from safetensors.numpy import load_file

import stylenet
from stylenet.files import publishing
from stylenet.nets import checkpoint, registry
from stylenet.system.errors import UserError

pytest.importorskip("huggingface_hub")
import yaml  # noqa: E402  # huggingface_hub's own

# huggingface_hub 2.4 uploads by a way of its HTTP client that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Command = Callable[..., subprocess.CompletedProcess]
WARNINGS = "error,ignore:Use 'content=:DeprecationWarning"
FILES = ["README.md", "before_after.jpg", "mine.safetensors"]
INFO = {
    "styles": [{"name": "mine", "title": "Waves | at <night>, Ann, 1901", "size": 384, "sha256": "ab" * 32}],
    "training": {
        "steps": 70,
        "batch": 4,
        "data": {"root": "/home/ann/private photos", "photos": 12, "size": 160},
        "val": {"loss": 0.5, "style": 0.25, "style/relu1_2": 0.1},
        "init": "~/old/first.safetensors",
    },
    "loss": {"scale": "calibrated", "style_weight": 8.0, "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0}},
    "licence": "CC-BY-4.0",
}


def save(folder: Path, name: str = "mine", info: dict = INFO, n_styles: int = 1, half: bool = False) -> Path:
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=n_styles)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return checkpoint.save(folder / f"{name}.safetensors", net, info, half)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    levels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def command(hub: Hub, place: Path, photo: Path) -> Command:
    """Runs ``stylenet`` against the stand-in, logged in with the right to write."""
    save(place / "checkpoints")

    def run(*words: str, **more: str) -> subprocess.CompletedProcess:
        variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": WARNINGS}
        variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_XET": "1"}
        line = [sys.executable, "-m", "stylenet", *words]
        variables |= {"HF_TOKEN": WRITER, "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more
        return subprocess.run(line, capture_output=True, text=True, env=variables, timeout=300)

    return run


def test_what_is_published_is_loaded_again_and_paints_the_same(command: Command, hub: Hub, place: Path):
    done = command("publish", "ckpt=mine", "repo=ann/waves", "photo=photo.png", "about=Painted, by: my 'aunt' [Ann]")
    assert (done.returncode, done.stdout) == (0, f"{hub.url}/ann/waves\n"), done.stderr
    assert done.stderr == "painting the photo ...\nuploading to ann/waves ...\n"
    repo = hub.repos["ann/waves"]
    assert sorted(set(repo.files) - {".gitattributes"}) == FILES and not repo.private
    assert repo.messages[-1] == "Publish mine.safetensors with stylenet"
    assert b"Painted, by: my 'aunt' \\[Ann\\]" in repo.files["README.md"]
    for ckpt, output in (("mine", "here.png"), ("hf:ann/waves", "there.png")):
        words = ["stylize", f"ckpt={ckpt}", "input=photo.png", f"output={output}", "device=cpu", "backend=torch"]
        assert command(*words).returncode == 0
    assert np.array_equal(np.asarray(Image.open("here.png")), np.asarray(Image.open("there.png")))
    again = command("publish", "ckpt=mine", "repo=ann/waves")
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)
    assert again.stderr.startswith("repo=ann/waves exists (README.md, before_after.jpg, mine.safetensors): give overwr")


def test_mistakes_are_a_line_each(command: Command, hub: Hub):
    for words, variables, message in (
        (["ckpt=mine", "repo=waves"], {}, "repo=waves: give it as user/name"),
        (["ckpt=nobody", "repo=ann/waves"], {}, "ckpt=nobody: no such style or file."),
        (
            ["ckpt=mine", "repo=ann/waves"],
            {"HF_TOKEN": ""},
            "repo=ann/waves: you are not logged in: log in with `hf au",
        ),
        (
            ["ckpt=mine", "repo=ann/waves"],
            {"HF_TOKEN": READER},
            "repo=ann/waves: the hub refuses the login (You do not",
        ),
        (["ckpt=mine", "repo=ann/waves"], {"HF_HUB_OFFLINE": "1"}, "repo=ann/waves: offline mode forbids to ask"),
        (["ckpt=mine", "repo=ann/waves", "privat=true"], {}, "There is no option 'privat'. Did you mean private=?"),
        (["ckpt=mine", "repo=a/b", "photo=gone.jpg"], {}, "photo=gone.jpg: there is no such file."),
        (["ckpt=mine", "repo=a/b", "evaluation=gone"], {}, "evaluation=gone: gone/results.json is not an evaluation."),
        (["repo=ann/waves"], {}, "Please give ckpt=..."),
    ):
        done = command("publish", *words, **variables)
        lines = [line for line in done.stderr.splitlines() if not line.endswith(" ...")]
        assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
        assert lines[0].startswith(message)
    assert hub.repos == {}


def test_a_folder_to_look_at_uploads_nothing(hub: Hub, place: Path, photo: Path):
    file = save(place)
    made = stylenet.publish(file, "ann/waves", folder="look", photo=photo)
    assert made == "look" and sorted(os.listdir("look")) == FILES and hub.requests == []
    with Image.open("look/before_after.jpg") as sheet:  # two columns of the least width, gap 14, margins 21
        assert sheet.size[0] == 2 * 192 + 14 + 2 * 21
        before, after = (np.asarray(sheet.convert("RGB").crop((x, 0, x + 192, 192)), float) for x in (21, 227))
    assert abs(before - after).mean() > 5
    with pytest.raises(UserError, match="^folder=look has files: give overwrite=true"):
        stylenet.publish(file, "ann/waves", folder="look")
    Path("look/notes.txt").write_text("mine")
    stylenet.publish(file, "ann/waves", folder="look", photo=photo, overwrite=True, licence="MIT")
    assert sorted(os.listdir("look")) == sorted([*FILES, "notes.txt"])
    assert checkpoint.load("look/mine.safetensors")[1]["licence"] == "MIT"
    with pytest.raises(UserError, match="holds mine.safetensors, another style"):
        stylenet.publish("tiny", "a/b", folder="look", photo=photo, overwrite=True, licence="MIT")
    assert sorted(place.glob(".publish-*")) == []


def test_the_page_says_all_that_the_file_says_and_nothing_of_this_machine(place: Path, photo: Path):
    file = save(place)
    stylenet.publish(file, "ann/waves", folder="look", photo=photo)
    page = Path("look/README.md").read_text(encoding="utf-8")
    _, front, text = page.split("---\n", 2)
    about = yaml.safe_load(front)
    assert (about["license"], about["pipeline_tag"], about["library_name"]) == (
        "cc-by-4.0",
        "image-to-image",
        "stylenet",
    )
    for line in (
        r"# Waves \| at \<night\>, Ann (1901)",
        "![A photo, and the same photo after a pass](before_after.jpg)",
        "    stylenet stylize ckpt=hf:ann/waves input=photo.jpg",
        'style = stylenet.load("hf:ann/waves")',
        r"| `mine` | Waves \| at \<night\>, Ann (1901) | 384 px | `abababababababab` |",
        "| steps | 70 |",
        "| photos | 12 (private photos) |",
        "| started from | first.safetensors |",
        "| layers of the style | relu1_2, relu2_2 |",
        "| style on held-out photos | 0.250 |",
        f"| parameters | {sum(x.size for x in load_file(file).values()):,} |",
    ):
        assert line in text.splitlines(), line
    assert "More Information Needed" not in page and "None" not in page and "relu1_2 on held" not in page
    published = Path("look/mine.safetensors").read_bytes()
    assert b"/home/ann" not in published and b"~/old" not in published and "/home/ann" not in page
    assert set(re.findall(r"\]\(([^)]+)\)", page)) == {"before_after.jpg"}  # no link into nowhere


def evaluation(folder: Path, file: Path, *names: str) -> Path:
    """A folder with the figures of a style file, as an evaluation writes them."""
    summary = {"photos": 8, "style": 0.1234, "content": 0.5, "style_size": 384, "ssim": 0.25, "cfsd": 0.125}
    summary |= {"grid": {"mean": 1.5, "worst": 9.0}, "grid_of_photos": {"mean": 1.25, "worst": 9.0}}
    identity = {"file": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}
    sizes = {"512": {"summary": summary}, "256": {"summary": {**summary, "style": 0.5}}}
    (folder / "results.json").write_text(
        json.dumps({"kind": "evaluation", "nets": {name: {"identity": identity, "sizes": sizes} for name in names}})
    )
    return folder


def test_the_figures_of_an_evaluation_are_those_of_the_very_file(place: Path, photo: Path):
    file = save(place)
    folder = evaluation(place, file, "mine")
    stylenet.publish(file, "ann/waves", folder="look", photo=photo, evaluation=folder)
    page = Path("look/README.md").read_text(encoding="utf-8")
    assert (
        "| size | photos | style | content | SSIM | CFSD | grid |\n| --- | --- | --- | --- | --- | --- | --- |\n"
        "| 256 px | 8 | 0.500 | 0.500 | 0.250 | 0.125 | 1.50 (1.25) |\n"
        "| 512 px | 8 | 0.123 | 0.500 | 0.250 | 0.125 | 1.50 (1.25) |\n"
    ) in page
    other = save(place, "other", n_styles=2, info={**INFO, "styles": [{"name": "calm"}, {"name": "storm"}]})
    with pytest.raises(UserError, match="has no figures of this very file, but of: mine. Evaluate it first: stylenet"):
        stylenet.publish(other, "ann/waves", folder="no", photo=photo, evaluation=folder)
    evaluation(place, other, "other:calm", "other:storm")
    stylenet.publish(f"{other}:storm", "ann/storm", folder="one", photo=photo, evaluation=folder)
    assert Path("one/README.md").read_text().count("| 512 px |") == 1
    stylenet.publish(other, "ann/both", folder="both", photo=photo, evaluation=folder)
    assert "| `other:calm` | 512 px |" in Path("both/README.md").read_text()


def test_a_file_that_says_little(place: Path, photo: Path):
    with pytest.raises(UserError, match="^ckpt=tiny does not say under which licence it is: give one, such as lic"):
        stylenet.publish("tiny", "ann/tiny", folder="look", photo=photo)
    stylenet.publish("tiny", "ann/tiny", folder="look", photo=photo, licence="LicenseRef-aunt")
    page = Path("look/README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(page.split("---\n")[1])["license_name"] == "LicenseRef-aunt"
    assert "The file does not say how it was trained. Its origin: not given." in page
    assert "| style | painting |\n| --- | --- |\n| `tiny` | tiny |" in page


def test_several_styles_one_of_several_and_half_the_bytes(place: Path, photo: Path):
    info = {**INFO, "styles": [{"name": "calm"}, {"name": "storm", "title": "Storm"}]}
    file = save(place, "sea", info, 2, half=True)
    stylenet.publish(file, "ann/sea", folder="both", photo=photo)
    page = Path("both/README.md").read_text()
    assert "# sea: 2 styles in one network" in page and "ckpt=hf:ann/sea:calm input" in page and "| `storm` |" in page
    assert Path("both/sea.safetensors").stat().st_size == pytest.approx(file.stat().st_size, rel=0.1)  # still float16
    stylenet.publish(f"{file}:storm", "ann/storm", folder="one", photo=photo)
    assert sorted(os.listdir("one")) == ["README.md", "before_after.jpg", "storm.safetensors"]
    assert Path("one/README.md").read_text().split("\n\n")[1] == "# Storm"
    net, _ = checkpoint.load("one/storm.safetensors")
    expected = checkpoint.load(f"{file}:storm")[0].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())


def test_a_new_version_replaces_the_old_file_and_a_private_repo_is_private(hub: Hub, place, photo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITER)
    file = save(place)
    url = stylenet.publish(file, "ann/secret", photo=photo, private=True, message="First")
    repo = hub.repos["ann/secret"]
    assert (url, repo.private, repo.messages[-1]) == (f"{hub.url}/ann/secret", True, "First")
    other = save(place, "other")
    repo.commit({**repo.files, "notes.txt": b"by hand"})
    stylenet.publish(other, "ann/secret", photo=photo, overwrite=True)
    kept = {".gitattributes", "README.md", "before_after.jpg", "notes.txt", "other.safetensors"}
    assert set(repo.files) == kept  # one style file: hf:ann/secret means it
    assert checkpoint.load("hf:ann/secret")[1]["styles"] == INFO["styles"]
    hub.down = 503
    with pytest.raises(UserError, match="^repo=ann/secret: the hub answers with error 503. Try again later."):
        stylenet.publish(other, "ann/secret", photo=photo, overwrite=True)


def test_paths_are_cut_to_their_last_part():
    told = {"a": ["/data/x/photos", r"C:\Users\ann\p.jpg", "~/me/ckpt", "and/or", "/", "10/10", "a, b / c"], "n": 3}
    assert publishing._without_paths(told) == {
        "a": ["photos", "p.jpg", "ckpt", "and/or", "/", "10/10", "a, b / c"],
        "n": 3,
    }
