"""add=: a new style in a network of several, as a user runs it; and the old styles, which stay what they are."""

from pathlib import Path

import pytest
import torch
from test_train_script import Run

import stylenet
from stylenet.nets import checkpoint
from stylenet.nets.joined import joined
from stylenet.nets.registry import build, of_styles

NET = {"widths": (8, 8, 8), "blocks": 1}
NEW = ("style=great_wave", "data.workers=0", "logger=none")


def saved(path: Path, names: list[str], **args) -> Path:
    """An untrained network of several styles, whose norms differ."""
    torch.manual_seed(1)
    net = build("johnson", **{**NET, "n_styles": len(names), **args})
    for name, weight in net.named_parameters():
        if name in of_styles(net):
            weight.data += torch.randn_like(weight) * 0.2
    return checkpoint.save(
        path, net, {"styles": [{"name": name} for name in names], "training": {"steps": 7}}, half=True
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("add")
    base = saved(folder / "two.safetensors", ["one", "other"])
    return base, Run(folder / "run", *NEW, f"add={base}", "steps=2", "trainer.val_every=10", "optimizer.lr=1e-2").done()


def test_the_old_styles_stay_as_they_are_to_the_last_bit(run):
    base, done = run
    file = done.out / "two+great_wave.safetensors"
    assert done.process.returncode == 0, done.stderr
    assert done.stdout.strip() == str(file)
    assert [style["name"] for style in checkpoint.load(file)[1]["styles"]] == ["one", "other", "great_wave"]
    photo = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    for name in ("one", "other"):
        assert torch.equal(
            stylenet.load(f"{file}:{name}", device="cpu", backend="torch")(photo),
            stylenet.load(f"{base}:{name}", device="cpu", backend="torch")(photo),
        )


def test_the_new_style_has_learned_and_what_is_shared_has_not(run):
    base, done = run
    before, now = (checkpoint.load(path) for path in (base, done.out / "two+great_wave.safetensors"))
    old, new = before[0].state_dict(), now[0].state_dict()
    rows = of_styles(now[0])
    for name, value in old.items():
        if name in rows:
            assert torch.equal(new[name][:2], value)
            assert new[name].shape[0] == 3
        else:
            assert torch.equal(new[name], value)
    start = {name: value.mean(0) for name, value in old.items() if name in rows}
    moved = [name for name, value in start.items() if not torch.equal(new[name][2], value)]
    assert len(moved) > len(start) / 2
    training = now[1]["training"]
    assert training["steps"] == 7 and training["added"][0]["styles"] == ["great_wave"]
    assert training["added"][0]["steps"] == 2


def test_what_cannot_be_added_is_told_in_a_line(run, tmp_path):
    base, done = run
    clash = saved(tmp_path / "clash.safetensors", ["great_wave", "x"])
    for number, (words, said) in enumerate(
        (
            ((f"add={clash}",), f"add={clash} has a style great_wave already: give style=custom"),
            (("add=nowhere",), "add=nowhere: no such style or file."),
            ((f"resume={done.run / 'last.ckpt'}", "net.noise=0", "net.frame=0"), "Give the add= of that run."),
        )
    ):
        failed = Run(tmp_path / str(number), *NEW, "steps=4", *words).done()
        assert failed.process.returncode == 2, failed.stderr
        assert said in failed.err.read_text() and "Traceback" not in failed.err.read_text()


def test_networks_of_two_kinds_are_not_joined():
    one, wider = build("johnson", **NET), build("johnson", **{**NET, "widths": (8, 8, 16)})
    info = {"styles": [{"name": "a"}]}
    with pytest.raises(ValueError, match="two kinds"):
        joined(one, info, wider, info)
    with pytest.raises(ValueError, match="not the same in both"):
        joined(one, info, build("johnson", **NET), info)


def test_measured_references_stay_only_where_the_loss_is_the_same():
    net = build("johnson", **NET)
    loss = {"scale": "calibrated", "style_weight": 8}
    measured = {"style_reference_relu1_2": [2.0], "content_reference_relu3_3": 20.0}
    one = {"styles": [{"name": "a"}], "loss": loss, "calibration": measured}
    two = {"styles": [{"name": "b"}], "loss": loss, "calibration": {**measured, "style_reference_relu1_2": [3.0]}}
    assert joined(net, one, net, two)[1]["calibration"] == {**measured, "style_reference_relu1_2": [2.0, 3.0]}
    assert joined(net, one, net, {**two, "loss": {**loss, "style_weight": 4}})[1]["calibration"] == {}
