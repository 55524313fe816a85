"""Every choice of every group composes, and builds what it stands for."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from stylenet.data.datamodule import Photos
from stylenet.data.paintings import open_painting
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets.checkpoint import describe
from stylenet.nets.registry import build
from stylenet.training.trainer import trainer_for

CONFIGS = ROOT / "configs"
GROUPS = ("style", "net", "loss", "data", "trainer", "logger", "experiment")
CHOICES = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONFIGS / group).glob("*.yaml"))]
OmegaConf.register_new_resolver("project", lambda path: f"project/{path}", replace=True)  # as hydra_app does
OmegaConf.register_new_resolver("program", lambda name: f"stylenet {name}", replace=True)


def composed(*overrides: str) -> DictConfig:
    style = [] if any(word.startswith("style=") for word in overrides) else ["style=starry_night"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [*style, *overrides])


WITHOUT_PICTURE = {  # the user's own, or not bundled
    "custom",
    *("the_scream", "udnie", "woman_with_a_hat", "composition_vii", "contrast_of_forms", "delaunay_portrait_1906"),
    *("mosaic_with_duck", "shipwreck_of_the_minotaur", "signac_feneon", "sunflowers", "water_lilies"),
}


def plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_asks_for_nothing_but_what_only_the_user_knows(choice: str):
    config = composed(choice)
    asked = {f"style.{name}.image" for name in WITHOUT_PICTURE if choice == f"style={name}"}
    assert OmegaConf.missing_keys(config) == asked


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.startswith("style=") and c[6:] not in WITHOUT_PICTURE])
def test_every_style_is_keyed_by_its_own_name_and_its_picture_is_there(choice: str):
    name = choice.partition("=")[2]
    style = plain(composed(choice).style)
    if name in ("any", "photo"):  # all paintings of a folder, or none
        assert style == {name: {}, "color": "style"}
        return
    assert set(style) == {name, "color"} and style[name]["title"]
    assert max(open_painting(style[name]["image"], 384).size) == 384


def test_every_bundled_painting_has_a_config():
    paintings = {file.stem for file in (ROOT / "stylenet/assets/styles").glob("*.jpg")}
    assert paintings == {file.stem for file in (CONFIGS / "style").glob("*.yaml")} - WITHOUT_PICTURE - {"any", "photo"}


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.startswith("loss=") and "reconstruction" not in c])
def test_every_loss_builds_and_trains_what_it_names(choice: str):
    loss = plain(composed(choice).loss)
    built = PerceptualLoss([torch.rand(1, 3, 32, 32)], **loss)
    assert built.scale == choice.partition("=")[2]
    assert built.weights["style"] > 0 and built.weights["content"] > 0


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.startswith("net=")])
def test_every_net_builds(choice: str):
    net = plain(composed(choice).net)
    assert describe(build(**net))["name"] == net["name"]


def test_a_light_network_learns_in_larger_steps_unless_told_otherwise():
    usual, lite = composed(), composed("net=lite")
    assert lite.optimizer.lr > usual.optimizer.lr
    assert {**lite.optimizer, "lr": 0} == {**usual.optimizer, "lr": 0}
    assert all(a < b for a, b in zip(lite.net.widths, usual.net.widths, strict=True))
    assert composed("net=lite", "optimizer.lr=1e-3").optimizer.lr == 1e-3
    for experiment in ("quick", "demo"):  # they start from a style of the same network, and keep its learning rate
        quick, light = composed(f"experiment={experiment}"), composed(f"experiment={experiment}", "net=lite")
        assert (quick.init, light.init) == ("gallery", "the_scream_lite")
        assert light.steps == quick.steps and light.optimizer == lite.optimizer
    assert composed("experiment=quick", "net=lite", "init=mine").init == "mine"


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.startswith("trainer=")])
def test_every_trainer_builds(choice: str, tmp_path: Path):
    trainer = trainer_for(plain(composed(choice).trainer), 7, tmp_path, False)
    assert trainer.max_steps == 7 and trainer.gradient_clip_val == 10


def test_every_data_config_says_where_its_photos_are(tmp_path: Path):
    for choice in [c for c in CHOICES if c.startswith("data=")]:
        overrides = [choice, f"data.root={tmp_path}"] if choice == "data=folder" else [choice]
        photos = Photos(**plain(composed(*overrides).data), steps=1, seed=0)
        assert (photos.root, photos.coco) == (tmp_path if choice == "data=folder" else None, choice == "data=coco")


def test_two_styles_are_two_entries():
    assert set(composed("style=[great_wave,starry_night]").style) == {"great_wave", "starry_night", "color"}


def test_quick_starts_from_another_style_and_says_what_differs_only():
    usual, quick = composed(), composed("experiment=quick")
    assert quick.init and not usual.init
    assert (quick.steps, quick.data.size) < (usual.steps, usual.data.size)
    assert quick.trainer.sheet_every <= quick.steps  # there is something to look at before the end
    assert (quick.loss, quick.net, quick.optimizer) == (usual.loss, usual.net, usual.optimizer)


def test_demo_is_the_quick_recipe_without_a_dashboard():
    quick, demo = composed("experiment=quick"), composed("experiment=demo")
    assert demo.logger.kind == "none" and demo.init == quick.init and demo.data == quick.data


def test_the_command_line_has_the_last_word_over_an_experiment():
    config = composed("experiment=demo", "steps=5", "data.size=64", "init=null", "logger=csv")
    assert (config.steps, config.data.size, config.init, config.logger.kind) == (5, 64, None, "csv")


def test_the_sweep_is_a_command_that_this_program_understands():
    sweep: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "wandb_sweep.yaml"), resolve=False)
    assert (ROOT / sweep["program"]).is_file()
    fixed = [word for word in sweep["command"] if not word.startswith("${")]
    assert [word for word in sweep["command"] if word.startswith("${")] == [
        "${env}",
        "${interpreter}",
        "${program}",
        "${args_no_hyphens}",
    ]
    swept = {name: what.get("values") or [what["min"], what["max"]] for name, what in sweep["parameters"].items()}
    for k in range(2):
        config = composed(*fixed, *(f"{name}={values[k]}" for name, values in swept.items()))
        assert all(OmegaConf.select(config, name) == values[k] for name, values in swept.items())
    assert config.name not in [file.stem for file in (CONFIGS / "style").glob("*")]  # no finished style is overwritten


def test_the_help_names_every_default_as_it_is():
    config = composed()
    text = (CONFIGS / "train.yaml").read_text()
    for key, value in re.findall(r"^ {6}([a-z_.]+)= .*\[([^\]]+)\]$", text, re.MULTILINE):
        actual = OmegaConf.select(config, key)
        if actual is not None and key not in ("out", "name"):
            assert OmegaConf.from_dotlist([f"it={value}"]).it == actual, key


DOCS = {
    **dict.fromkeys(("stylize", "sheet", "compare"), "stylizing.md"),
    **{
        "export": "exporting.md",
        "page": "page.md",
        "serve": "page.md",
        "publish": "publishing.md",
        "photo": "photorealism.md",
    },
}


@pytest.mark.parametrize("script", DOCS)
def test_every_option_is_in_the_help_and_the_docs(script: str):
    config = OmegaConf.load(CONFIGS / f"{script}.yaml")
    assert isinstance(config, DictConfig)
    options = {str(key) for key in config} - {"defaults", "hydra"}
    helped = set(re.findall(r"^(\w+)=", config.hydra.help.template, re.MULTILINE))
    assert helped == options
    page = (ROOT / "docs" / DOCS[script]).read_text()
    rows = re.findall(r"^\| `(\w+)=[^`]*` \|", page, re.MULTILINE)
    assert len(rows) == len(set(rows)) and options <= set(rows)
    if script == "export":  # its size= is another one than that of pictures
        assert re.search(r"^\| `size=512x384` \| an ONNX file", page, re.MULTILINE)
