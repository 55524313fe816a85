"""Runs that are really killed and resumed end in the bits of one that was not: benchmarks/stress/kill_resume.py,
shorter.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from test_training import model, photos, trainer

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.training.trainer import train


def test_a_run_killed_twice_with_an_average_in_bf16_over_an_epochs_end_is_bit_identical(tmp_path: Path):
    """At first all its processes, while it saves; then the first alone, anywhere."""
    vgg_weights()  # fetched once, not by a run that is to be killed
    words = ["kills=2", "each=2", "steps=26", "recipes=[bf16_ema]", "copies=true", f"output={tmp_path / 'kills.json'}"]
    command = [sys.executable, "-m", "benchmarks.stress.kill_resume", *words, f"folder={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert (found["kills"], found["identical"]) == (2, 2)
    assert [kill["whom"] for kill in found["each"]] == ["all processes", "the first alone"]
    assert all(5 <= kill["checkpoint"] <= kill["step"] <= 26 for kill in found["each"])
    assert f"seed={found['seed']}" in done.stdout and done.stdout.count("bit-identical") == 2


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_run_killed_after_its_last_step_needs_only_to_be_resumed_for_its_style(ema: float | None, tmp_path: Path):
    whole = train(model(), photos(), trainer(tmp_path, ema=ema), tmp_path / "whole.safetensors")
    last = str(tmp_path / "last.ckpt")
    again = train(model(seed=1), photos(), trainer(tmp_path, ema=ema), tmp_path / "again.safetensors", last)
    one, other = load_file(whole), load_file(again)
    assert all(torch.equal(one[key], other[key]) for key in one)
    (_, before), (_, after) = checkpoint.load(whole), checkpoint.load(again)
    assert before["training"]["val"] == after["training"]["val"] != {}
