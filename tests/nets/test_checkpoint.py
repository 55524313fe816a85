"""Style files: what is saved comes back, what others made is understood or refused, nothing in a file is executed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from their_network import their_output, their_weights
from torch import Tensor, nn

from stylenet.nets import catalog, checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.registry import build
from stylenet.runtime.export import FORMATS, export
from stylenet.system.errors import UserError

SMALL = {"widths": [4, 6, 8], "blocks": 2}
INFO: dict[str, Any] = {"styles": [{"name": "waves", "sha256": "ab"}], "training": {"steps": 7, "val": {"total": 1.5}}}


@pytest.fixture
def net() -> StyleNet:
    torch.manual_seed(0)
    return build("johnson", **SMALL).eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, outside the project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photo(height: int = 24, width: int = 28, seed: int = 1) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def message(ckpt: str | Path) -> str:
    """The one line that a user reads when ``ckpt`` cannot be loaded."""
    with pytest.raises(UserError) as caught:
        checkpoint.load(ckpt)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewritten(path: Path, info: Any, state: dict[str, Tensor] | None = None) -> Path:
    """Our file with another info, and other tensors if given."""
    text = info if isinstance(info, str) else json.dumps(info)
    save_file(load_file(path) if state is None else state, path, {"stylenet": text})
    return path


def test_what_is_saved_comes_back(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "new" / "waves.safetensors", net, INFO)
    again, info = checkpoint.load(path)
    assert {key: info[key] for key in INFO} == INFO
    assert info["format"] == 1 and info["net"]["name"] == "johnson" and info["net"]["args"]["widths"] == [4, 6, 8]
    assert not again.training and all(p.requires_grad for p in again.parameters())
    assert torch.equal(again(photo()), net(photo()))


def test_half_is_half_the_size_and_loads_as_float32(net: StyleNet, tmp_path: Path) -> None:
    whole = checkpoint.save(tmp_path / "whole.safetensors", net, INFO)
    half = checkpoint.save(tmp_path / "half.safetensors", net, INFO, half=True)
    weights = sum(p.numel() for p in net.parameters())
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * weights, abs=64)
    again, _ = checkpoint.load(half)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert (again(photo()) - net(photo())).abs().max() < 0.01


@torch.no_grad()
def test_one_style_of_several_is_a_file_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    three = build("johnson", **SMALL, n_styles=3, noise=1).eval()
    for parameter in three.parameters():
        parameter.normal_()
    info = {
        "styles": [{"name": name} for name in ("waves", "stars", "dots")],
        "calibration": {"style_reference_relu1_2": [1.0, 2.0, 3.0], "content_reference_relu3_3": 4.0},
        "training": {"steps": 7},
    }
    path = checkpoint.save(tmp_path / "stars.safetensors", *checkpoint.single_style(three, info, "stars"))
    one, told = checkpoint.load(path)
    torch.testing.assert_close(one(photo()), three(photo(), torch.tensor([[0.0, 1.0, 0.0]])), atol=1e-6, rtol=0)
    assert told["styles"] == [{"name": "stars"}] and told["net"]["args"]["n_styles"] == 1
    assert told["calibration"] == {"style_reference_relu1_2": [2.0], "content_reference_relu3_3": 4.0}
    assert told["training"] == {"steps": 7} and len(info["styles"]) == 3
    checkpoint.save(tmp_path / "three.safetensors", three, info)
    again, told = checkpoint.load(f"{tmp_path / 'three.safetensors'}:stars")
    assert torch.equal(again(photo()), one(photo())) and told["styles"] == [{"name": "stars"}]
    assert checkpoint.called(f"{tmp_path}/three.safetensors:stars") == "three:stars"
    with pytest.raises(UserError, match="moon: no such style in this checkpoint. There are: waves, stars, dots"):
        checkpoint.single_style(three, info, "moon")


def test_the_file_is_as_readable_as_the_users_other_files(net: StyleNet, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("value", [float("nan"), Path("x"), torch.ones(1)])
def test_only_plain_data_is_saved_and_a_failure_leaves_the_old_file(net: StyleNet, tmp_path: Path, value: Any) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, INFO)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError)):
        checkpoint.save(path, net, {"training": value})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_loading_does_not_disturb_the_random_numbers(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    checkpoint.load(path)
    assert torch.equal(torch.rand(1), expected)


def test_a_network_stays_usable_when_its_file_is_overwritten(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    again, _ = checkpoint.load(path)
    path.write_bytes(b"")  # a network whose weights lay in the file's memory map would now crash
    assert torch.equal(again(photo()), net(photo()))


def test_names_are_looked_for_nearest_first(net: StyleNet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylenet.system.places.CLONE", folder / "project")
    monkeypatch.setattr(catalog, "ASSETS", folder / "project" / "stylenet" / "assets")
    places = [folder / "checkpoints", folder / "project/checkpoints", folder / "project/stylenet/assets/checkpoints"]
    for steps, place in enumerate(places):
        for name in ["waves", "stars", "sun"][: steps + 1]:
            checkpoint.save(place / f"{name}.safetensors", net, {"training": {"steps": steps}})
    (folder / "checkpoints" / ".0123.safetensors").touch()  # another process is just writing a file
    assert list(checkpoint.known()) == ["stars", "sun", "waves"]
    assert [checkpoint.load(name)[1]["training"]["steps"] for name in ("waves", "stars", "sun")] == [0, 1, 2]


def test_an_unknown_name_is_told_the_known_ones(net: StyleNet, folder: Path) -> None:
    checkpoint.save(folder / "checkpoints" / "great_wave.safetensors", net, {})
    text = message("graet_wave")
    assert "graet_wave" in text and "Did you mean great_wave?" in text and "path" in text
    assert "Did you mean" not in message("nowhere/zzz.safetensors")


@pytest.mark.parametrize("size", [0, 5, 400, -1])
def test_a_file_cut_short_says_so(net: StyleNet, tmp_path: Path, size: int) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, INFO)
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in message(path) and "cut short" in message(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt", "a.pth", "a.model"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50), b"\x80\x02" + bytes(50), bytes(5000)])
def test_rubbish_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "damaged" in message(path) and "weights_only" not in message(path)


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "{}", '{"format": "1"}', "[" * 100_000])
def test_metadata_that_is_not_ours_is_refused(net: StyleNet, tmp_path: Path, text: str) -> None:
    path = rewritten(checkpoint.save(tmp_path / "waves.safetensors", net, {}), text)
    assert str(path) in message(path)


def test_a_foreign_file_is_named_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "bert.safetensors"
    save_file({"encoder.weight": torch.ones(2)}, path)
    assert "encoder.weight" in message(path) and "fast_neural_style" in message(path)
    torch.save({"features.0.weight": torch.ones(2)}, tmp_path / "vgg.pth")
    assert "features.0.weight" in message(tmp_path / "vgg.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "no weights" in message(tmp_path / "list.pth")


def test_a_newer_format_asks_for_an_upgrade(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    rewritten(path, {"format": 2, "net": {"name": "johnson", "args": SMALL}})
    assert "format 2" in message(path) and "upgrade" in message(path)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"name": "os.system", "args": {}},
        {"name": ["johnson"], "args": {}},
        {"name": "johnson", "args": [1]},
        {"name": "johnson", "args": {"command": "x"}},
        {"name": "johnson", "args": {"widths": [4, 6]}},
        {"name": "johnson", "args": {"widths": "big"}},
        {"name": "johnson", "args": {"widths": [1e9, 6, 8]}},
        {"name": "johnson", "args": {"widths": [10**9] * 3}},
        {"name": "johnson", "args": {"widths": [9999] * 3, "blocks": 2}},
        {"name": "johnson", "args": {**SMALL, "blocks": 10**9}},
        {"name": "johnson", "args": {**SMALL, "n_styles": 10**12}},
    ],
    ids=str,
)
def test_a_network_that_cannot_be_is_refused_before_it_is_made(net: StyleNet, tmp_path: Path, spec: Any) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    assert "declares" in message(rewritten(path, {"format": 1, "net": spec}))


def test_tensors_that_do_not_fit_are_named(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    good, info = load_file(path), {"format": 1, "net": checkpoint.describe(net)}
    for change, expected in [
        ({"last.bias": torch.ones(4)}, "last.bias is torch.float32 (4,), not float (3,)"),
        ({"last.bias": torch.ones(3, dtype=torch.int64)}, "last.bias is torch.int64"),
        ({"last.bias": torch.tensor([1, float("nan"), 1])}, "last.bias holds NaN"),
        ({"more": torch.ones(3)}, "more is left over"),
    ]:
        assert expected in message(rewritten(path, info, good | change))
    good.pop("last.bias")
    assert "last.bias is missing" in message(rewritten(path, info, good))


def test_our_trainings_checkpoint(net: StyleNet, tmp_path: Path) -> None:
    state = {f"net.{key}": value for key, value in net.state_dict().items()} | {"other.x": torch.ones(1)}
    info = {"format": 1, "net": checkpoint.describe(net), **INFO}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "stylenet": info, "optimizer_states": [{"lr": 1e-3}], "global_step": 7}, path)
    again, found = checkpoint.load(path)
    assert found == info and torch.equal(again(photo()), net(photo()))


@pytest.mark.parametrize("half", [False, True])
def test_a_flipped_bit_is_noticed(net: StyleNet, tmp_path: Path, half: bool) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {}, half)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    assert "its weights are not those that were written" in message(path)


@pytest.mark.parametrize("styles", [5, {"name": "waves"}, ["waves"], None])
def test_styles_in_another_form_are_refused(net: StyleNet, tmp_path: Path, styles: Any) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {"styles": styles})
    assert "does not list its styles" in message(path)


def test_keys_that_are_no_names_are_refused(net: StyleNet, tmp_path: Path) -> None:
    info = {"format": 1, "net": checkpoint.describe(net)}
    torch.save({"state_dict": {1: torch.ones(1)}, "stylenet": info}, tmp_path / "last.ckpt")
    assert "is missing" in message(tmp_path / "last.ckpt") or "larger than the file" in message(tmp_path / "last.ckpt")


def test_a_small_file_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    spec = {"name": "johnson", "args": {"widths": [9999] * 3}}
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build(spec["name"], **spec["args"]).state_dict().items()}
    state = {f"net.{key}": torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    torch.save({"state_dict": state, "stylenet": {"format": 1, "net": spec}}, tmp_path / "bomb.ckpt")
    assert "larger than the file" in message(tmp_path / "bomb.ckpt")


class Evil:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "style.pth"
    evil = {"conv1.conv2d.weight": Evil(tmp_path / "harm")}
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    assert "wants to run code" in message(path) and "mkdir" in message(path)
    assert not (tmp_path / "harm").exists()


def test_a_whole_pickled_network_is_refused(net: StyleNet, tmp_path: Path) -> None:
    torch.save(net, tmp_path / "net.pth")
    assert "wants to run code (stylenet.nets.johnson.Johnson)" in message(tmp_path / "net.pth")


# pytorch/examples' network, stated again on its own: keys and arithmetic as in its released files, pictures in 0..255.


@pytest.mark.parametrize("height, width", [(64, 48), (61, 46)])
def test_a_pytorch_examples_file_gives_what_that_project_gives(tmp_path: Path, height: int, width: int) -> None:
    state = their_weights()
    torch.save(state, tmp_path / "candy.pth")
    net, info = checkpoint.load(tmp_path / "candy.pth")
    assert info["styles"][0]["name"] == "candy" and info["origin"] == "pytorch/examples"
    content = photo(height, width)
    theirs = their_output(state, content * 255)[..., :height, :width].clamp(0, 255) / 255
    assert 0.1 < theirs.std() < 0.4  # a picture, not a grey or clipped one
    with torch.no_grad():
        assert (net(content) - theirs).abs().max() <= 1e-4


def test_an_old_pytorch_examples_file_with_statistics(tmp_path: Path) -> None:
    state = their_weights(widths=(4, 6, 8), blocks=2)
    old = dict(state)
    for key in [key for key in state if ".weight" in key and "conv2d" not in key]:
        for name in ("running_mean", "running_var"):
            old[key.replace("weight", name)] = torch.full_like(state[key], 9.0)
    torch.save(old, tmp_path / "mosaic.model", _use_new_zipfile_serialization=False)
    net, _ = checkpoint.load(tmp_path / "mosaic.model")
    theirs = their_output(state, photo() * 255).clamp(0, 255) / 255
    with torch.no_grad():
        assert (net(photo()) - theirs).abs().max() <= 1e-4
    again, _ = checkpoint.load(checkpoint.save(tmp_path / "mosaic.safetensors", net, {}))
    assert torch.equal(again(photo()), net(photo()))


def test_a_pytorch_examples_file_with_missing_or_other_parts(tmp_path: Path) -> None:
    state = their_weights(widths=(4, 6, 8), blocks=2)
    for change, expected in [("in2.weight", "in2.weight is missing"), ("res2.conv1.conv2d.weight", "res2.conv1")]:
        torch.save({key: value for key, value in state.items() if key != change}, tmp_path / "x.pth")
        assert expected in message(tmp_path / "x.pth")
    torch.save(state | {"attention.weight": torch.ones(1)}, tmp_path / "x.pth")
    assert "attention.weight is no part" in message(tmp_path / "x.pth")
    torch.save(state | {"in1.weight": torch.ones(5)}, tmp_path / "x.pth")
    assert "does not fit" in message(tmp_path / "x.pth")
    torch.save(state | {"conv1.conv2d.weight": torch.ones(1).expand(4, 3, 10**5, 10**5)}, tmp_path / "x.pth")
    assert "larger than the file" in message(tmp_path / "x.pth")


def test_loading_a_style_needs_no_training_software(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, {})
    heavy = ["pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb", "torchvision", "stylenet.losses.vgg"]
    program = (
        "import sys, stylenet.nets.checkpoint, stylenet.stylizing.stylizer\n"
        f"stylenet.nets.checkpoint.load({str(path)!r})\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_can_be_read_without_stylenet(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, INFO)
    with safetensors.safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["stylenet"])["styles"] == INFO["styles"]


# --- the same weights, wrapped


class Wrapped(nn.Module):
    """What an upscaler or a trainer of someone's own makes of a network: it is a part of something else."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.vgg = net, nn.Conv2d(3, 4, 3)


WRAPPINGS: dict[str, Any] = {
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "torch.compile": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    "a layer compiled": lambda state: {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()},
    "AveragedModel": lambda state: {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in state.items()},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}},
    "model": lambda state: {"model": state, "args": ["--lr", 1e-3]},
    "model_state_dict": lambda state: {"epoch": 1, "model_state_dict": state, "loss": torch.tensor(3.0)},
    "net": lambda state: {"net": {f"module.{key}": value for key, value in state.items()}},
    "Lightning": lambda state: {
        "state_dict": {f"net.{k}": v for k, v in state.items()} | {"vgg.0.weight": torch.ones(4)},
        "hyper_parameters": {"lr": 1e-3},
    },
    "deep": lambda state: {"checkpoint": {"networks": {"generator": state}}},
    "half": lambda state: {key: value.half() for key, value in state.items()},
    "bfloat16": lambda state: {key: value.bfloat16() for key, value in state.items()},
    "double, old format": lambda state: {key: value.double() for key, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("theirs", [True, False])
def test_a_wrapped_network_gives_its_picture(net: StyleNet, tmp_path: Path, wrapping: str, theirs: bool) -> None:
    state = their_weights(widths=(4, 6, 8), blocks=2) if theirs else net.state_dict()
    torch.save(state, tmp_path / "plain.pth")
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "it.pth", _use_new_zipfile_serialization="old" not in wrapping)
    again, info = checkpoint.load(tmp_path / "it.pth")
    assert info["styles"] == [{"name": "it"}] and {p.dtype for p in again.parameters()} == {torch.float32}
    wanted = checkpoint.load(tmp_path / "plain.pth")[0](photo()) if theirs else net(photo())
    rounding = {"half": 5e-3, "bfloat16": 5e-2}.get(wrapping, 0.0)
    assert (again(photo()) - wanted).abs().max() <= rounding


@pytest.mark.parametrize("name", ["it.safetensors", "it.pth", "it"])
@pytest.mark.parametrize("theirs", [True, False])
def test_the_same_tensors_as_safetensors(net: StyleNet, tmp_path: Path, theirs: bool, name: str) -> None:
    """Whatever the file is called; and weights that torch saved may be called .safetensors."""
    state = their_weights(widths=(4, 6, 8), blocks=2) if theirs else net.state_dict()
    torch.save(state, tmp_path / "plain.safetensors")
    wanted = checkpoint.load(tmp_path / "plain.safetensors")[0](photo())
    save_file({f"module.{key}": value for key, value in state.items()}, tmp_path / name)
    assert torch.equal(checkpoint.load(tmp_path / name)[0](photo()), wanted)
    if not theirs:
        assert torch.equal(wanted, net(photo()))


def test_our_file_with_lengthened_names(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, INFO)
    info = {"format": 1, "net": checkpoint.describe(net), **INFO}
    rewritten(path, info, {f"module.{key}": value for key, value in load_file(path).items()})
    again, found = checkpoint.load(path)
    assert found == info and torch.equal(again(photo()), net(photo()))


def test_our_weights_alone_tell_their_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    two = build("johnson", widths=[4, 6, 8], blocks=0, n_styles=2, noise=1).eval()
    torch.save(Wrapped(two).state_dict(), tmp_path / "two.pt")
    again, info = checkpoint.load(tmp_path / "two.pt")
    assert checkpoint.describe(again) == checkpoint.describe(two)
    assert [style["name"] for style in info["styles"]] == ["two_1", "two_2"]
    assert torch.equal(again(photo()), two(photo()))
    assert "do not tell what upsample= and output= were" in caplog.text


def test_several_networks_in_a_file_are_named(net: StyleNet, tmp_path: Path) -> None:
    torch.save({"model": net.state_dict(), "ema": net.state_dict()}, tmp_path / "two.pt")
    assert "holds several networks (model, ema)" in message(tmp_path / "two.pt")


def test_a_wrapping_that_wants_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": their_weights(widths=(4, 6, 8)), "args": Evil(tmp_path / "harm")}, tmp_path / "style.pth")
    assert "wants to run code" in message(tmp_path / "style.pth")
    assert not (tmp_path / "harm").exists()


def test_a_dict_that_holds_itself_is_looked_through_once(tmp_path: Path) -> None:
    loop: dict[str, Any] = {f"part{n}": {} for n in range(50)}
    for part in loop.values():
        part.update(loop)
    torch.save(loop, tmp_path / "loop.pth")
    assert "is not a style file" in message(tmp_path / "loop.pth")


# --- what is no style


def torch7(path: Path) -> None:
    """As Lua's torch.save begins a table: type 3, index 1, two entries, the first called "model"."""
    path.write_bytes(b"".join(n.to_bytes(4, "little") for n in (3, 1, 2, 2, 5)) + b"model" + bytes(5000))


def torch7_object(path: Path) -> None:
    path.write_bytes(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.Sequential" + bytes(5000))


def torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 3, 1), torch.ones(1, 3, 4, 4)), path)


def torch_export(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Conv2d(3, 3, 1), (torch.ones(1, 3, 4, 4),)), path)


def picture(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, "JPEG")


def packed(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("saved_models/candy.pth", "x")


NOT_STYLES: list[tuple[str, Any, str, str]] = [
    ("starry_night_eccv16.t7", torch7, "is a Torch7 file", "train the style anew: python scripts/train.py"),
    ("candy.model", torch7_object, "is a Torch7 file", "Get the style as a file of PyTorch"),
    ("script.pt", torchscript, "is a TorchScript program", "torch.jit.load('it.pt').state_dict()"),
    ("script.pt2", torch_export, "is a torch.export program", "torch.export.load('it.pt2').state_dict"),
    ("candy-9.onnx", lambda path: path.write_bytes(b"\x08\x03\x12\x07pytorch"), "is an ONNX file.", "evaluate.py"),
    ("candy", lambda path: path.write_bytes(b"\x08\x09\x12\x07pytorch"), "is an ONNX file.", "Give the style file"),
    ("candy.pth", lambda path: path.write_text("<!DOCTYPE html>\n<html>"), "is a web page", "download link"),
    ("candy.pth", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS", "lfs pull"),
    ("candy.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "Keras or TensorFlow", "file of PyTorch"),
    ("wave.ckpt.meta", lambda path: path.write_bytes(b"\x0a\x05x"), "Keras or TensorFlow", "train the style anew"),
    ("wave.jpg", picture, "is a picture", "style.custom.image=wave.jpg experiment=quick"),
    ("saved_models.zip", packed, "is a zip archive with 'saved_models/candy.pth' in it", "Unpack it"),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(("name", "write", "what", "advice"), NOT_STYLES)
def test_what_is_no_style_is_named(tmp_path: Path, name: str, write: Any, what: str, advice: str) -> None:
    write(tmp_path / name)
    text = message(tmp_path / name)
    assert what in text and advice in text and "damaged" not in text


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_network_is_told_from_other_code(net: StyleNet, tmp_path: Path, zipped: bool) -> None:
    torch.save(nn.DataParallel(net), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    text = message(tmp_path / "net.pth")
    assert "is a whole pickled network" in text and "torch.save(net.state_dict(), 'style.pth')" in text
    assert "wants to run code (torch.nn.parallel.data_parallel.DataParallel)" in text


def test_our_own_exports_name_their_style(net: StyleNet, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "waves.safetensors", net, INFO)
    for format in ("openvino", "torchscript"):
        pytest.importorskip("openvino")
        made = export(path, format, tmp_path / f"it{FORMATS[format].suffix}")
        text = message(made)
        assert "made by stylenet of the style waves" in text and "ive the style file" in text


def test_loading_takes_no_compiler(tmp_path: Path):
    """It takes seconds to import, and building a network on "meta" may call for it."""
    names = ["any", "starry_night"]
    for name, net in (("adain", build("adain", widths=(4, 4, 4))), ("photowct", build("photowct"))):
        names.append(str(checkpoint.save(tmp_path / f"{name}.safetensors", net, {"styles": []}, half=True)))
    code = (
        "import sys; from stylenet.nets import checkpoint\n"
        f"for name in {names}: checkpoint.load(name); assert 'torch._dynamo' not in sys.modules, name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
