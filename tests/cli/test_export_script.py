"""scripts/export.py as a user runs it: a file where it was asked for, one line for a mistake, all options explained."""

import json
import os

import pytest
from conftest import ROOT
from omegaconf import OmegaConf


def test_a_file_for_another_program(place, run_script):
    openvino = pytest.importorskip("openvino")
    done = run_script("export.py", "ckpt=tiny", "format=openvino", "output=it's (1).xml", "pixels=uint8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "it's (1).xml\n", "")
    assert sorted(os.listdir(place)) == ["checkpoints", "it's (1).bin", "it's (1).xml"]
    model = openvino.Core().read_model(place / "it's (1).xml")
    told = json.loads(model.get_rt_info(["stylenet"]).astype(str))
    assert (told["styles"], told["picture"]["type"]) == ([{"name": "tiny"}], "uint8")


def test_mistakes_get_one_line(place, run_script):
    (place / "tiny.onnx").touch()
    for words, message in (
        (["format=tflite"], "format=tflite: allowed are onnx, torchscript, torch_export, openvino."),
        (["format=onnx"], "tiny.onnx exists: give overwrite=true"),
    ):
        done = run_script("export.py", "ckpt=tiny", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr


def test_help_explains_every_option(run_script):
    told = run_script("export.py", "--help").stdout
    options = set(OmegaConf.load(ROOT / "configs" / "export.yaml")) - {"defaults", "hydra"}
    assert {line.split("=")[0].strip() for line in told.splitlines() if "= " in line} >= options
