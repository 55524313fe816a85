"""Stylizing from Python, with a stand-in network whose result is known: the negative of the image."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import stylenet
from stylenet import load, stylize_files
from stylenet.files import planning
from stylenet.files.report import SomeFailed
from stylenet.images.image_io import Picture, open_rgb, read, write
from stylenet.nets import checkpoint, registry
from stylenet.runtime.options import choose_device
from stylenet.stylizing.controls import Controls
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError


class Negative(nn.Module):
    def forward(self, content, style=None):
        assert content.dtype == torch.float32 and not self.training and torch.is_inference_mode_enabled()
        return 1 - content


@pytest.fixture
def negative():
    return Stylizer(Negative().train(), {"styles": [{"name": "negative"}]})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1)
    return checkpoint.save(tmp_path_factory.mktemp("ckpt") / "tiny.safetensors", net, {"styles": [{"name": "tiny"}]})


def photo(path, size=(20, 16), colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


# --- what goes in comes out


def test_pillow_in_pillow_out(negative, tmp_path):
    image = Image.new("RGB", (3, 2), (255, 100, 0))
    image.putpixel((2, 1), (1, 2, 3))
    out = negative(image)
    assert (out.mode, out.size) == ("RGB", (3, 2))
    assert (out.getpixel((0, 0)), out.getpixel((2, 1))) == ((0, 155, 255), (254, 253, 252))
    assert image.getpixel((0, 0)) == (255, 100, 0)
    image.save(tmp_path / "x.png")
    for path in (tmp_path / "x.png", str(tmp_path / "x.png")):
        assert negative(path).getpixel((0, 0)) == (0, 155, 255)


def test_alpha_stays(negative):
    out = negative(Image.new("RGBA", (3, 2), (255, 0, 0, 77)))
    assert (out.mode, out.getpixel((0, 0))) == ("RGBA", (0, 255, 255, 77))


def test_arrays(negative):
    whole = np.array([[[255, 100, 0], [1, 2, 3]]], np.uint8)
    assert (negative(whole) == 255 - whole).all() and negative(whole).dtype == np.uint8
    for dtype in (np.float16, np.float32, np.float64):
        out = negative((whole / 255).astype(dtype))
        assert out.dtype == dtype and out.shape == (1, 2, 3)
        np.testing.assert_allclose(out, 1 - whole / 255, atol=1e-3)
    assert (negative(whole[:, ::-1]) == 255 - whole[:, ::-1]).all()  # a view with negative steps


def test_tensors(negative):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        image = torch.rand(2, 3, 4, 5).to(dtype)
        out = negative(image)
        assert out.dtype == dtype and torch.allclose(out, 1 - image, atol=1e-2)
    weight = torch.ones((), requires_grad=True)
    (negative(torch.rand(1, 3, 4, 5)) * weight).sum().backward()  # the result may take part in training


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \(4, 5\) .*give \(h, w, 3\)"),
        (np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\)"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
        (np.zeros((4, 5, 3), np.int32), "int32.*uint8, or float"),
        (np.full((4, 5, 3), 255.0), r"from 255 to 255.*\[0, 1\]"),
        (np.full((4, 5, 3), np.nan), "nan"),
        (torch.zeros(3, 4, 5), r"\(3, 4, 5\).*\(b, 3, h, w\)"),
        (torch.zeros(1, 1, 4, 5), r"\(1, 1, 4, 5\)"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), "uint8.*float"),
        (torch.full((1, 3, 4, 5), -0.5), "from -0.5 to -0.5"),
        (None, "NoneType"),
    ],
)
def test_other_things_are_refused_with_what_was_seen(negative, image, message):
    with pytest.raises(UserError, match=message):
        negative(image)


def test_16_bits_stay(negative, tmp_path):
    rgb = np.array([[[65535, 40001, 1]]], np.uint16)
    write(tmp_path / "x.png", Picture(rgb))
    assert (negative.picture(read(tmp_path / "x.png")).rgb == 65535 - rgb).all()


NO_STYLE = "there is no such style in this checkpoint; give 2 weights, or a name: wave, scream"


def test_style_weights(tiny):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2)
    for weights in net.parameters():
        if weights.shape[0] == 2:
            nn.init.normal_(weights, 1)
    stylizer, image = Stylizer(net, {}), torch.rand(2, 3, 16, 16)
    first, second = stylizer(image, [1, 0]), stylizer(image, [0, 1])
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.allclose(stylizer(image), first)
    each = stylizer(image, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(each, torch.stack([first[0], second[1]]), atol=1e-5)
    with pytest.raises(UserError, match=r"style=\[1, 0, 0\] has shape \(3,\); give 2 weights"):
        stylizer(image, [1, 0, 0])
    with pytest.raises(UserError, match="style=waves: there is no such style in this checkpoint; give 2 weights"):
        stylizer(image, "waves")
    with pytest.raises(UserError, match=r"style=\[nan, 1.0\]: .* give 2 weights"):
        stylizer(image, [float("nan"), 1.0])
    named = {"styles": [{"name": "wave"}, {"name": "scream"}]}
    assert torch.allclose(Stylizer(net, named)(image, "scream"), second)
    for mix, made, name in (("scream", second, "scream"), ([0.0, 1.0], second, "both"), (None, first, "both")):
        chosen = Stylizer(net, named, name="both", controls=Controls(mix=mix))
        assert torch.allclose(chosen(image), made) and chosen.name == name
        assert torch.allclose(chosen(image, [1, 0]), first)
    with pytest.raises(UserError, match=f"mix=waves: {NO_STYLE}"):
        Stylizer(net, named, controls=Controls(mix="waves"))


def test_one_of_several_styles_from_file_to_file(tmp_path, run_script):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2)
    nn.init.normal_(net.up[1].norm.weight)  # type: ignore[union-attr]
    ckpt = checkpoint.save(tmp_path / "both.safetensors", net, {"styles": [{"name": "wave"}, {"name": "scream"}]})
    photo(tmp_path / "x.png")
    words = [f"ckpt={ckpt}", f"input={tmp_path / 'x.png'}", "device=cpu", "backend=torch"]
    for mix, weights, name in (("scream", [0, 1], "x_scream.png"), ("[0.25,0.75]", [0.25, 0.75], "x_both.png")):
        done = run_script("stylize.py", *words, f"mix={mix}")
        assert (done.returncode, Path(done.stdout.strip()).name) == (0, name), done.stderr
        made = np.asarray(Image.open(tmp_path / name)).astype(int)
        expected = np.asarray(load(ckpt, "cpu", backend="torch")(tmp_path / "x.png", weights))
        assert np.abs(made - expected).max() <= 1
    done = run_script("stylize.py", *words, "mix=waves")
    assert (
        done.returncode == 2
        and "mix=waves: there is no such style in this checkpoint; give 2 weights, or a name: wave, scream"
        in done.stderr
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (2, 3), (17, 33)])
def test_real_network_at_any_size(tiny, size):
    out = stylenet.load(tiny, "cpu")(Image.new("RGB", size, "red"))
    assert out.size == size


def test_out_of_memory_says_what_to_do(negative, monkeypatch):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99999 bytes.")

    monkeypatch.setattr(negative.net, "forward", full)
    with pytest.raises(UserError, match="Not enough memory on cpu for 5x4 pixels: give a smaller size="):
        negative(torch.rand(1, 3, 4, 5))


def test_a_picture_that_the_memory_cannot_hold_is_refused_before_the_system_kills_the_process(tiny, monkeypatch):
    stylizer = stylenet.load(tiny, "cpu", tile="off")
    monkeypatch.setattr("stylenet.stylizing.stylizer.free_memory", lambda: 10**6)
    with pytest.raises(UserError, match=r"for 400x100 pixels .* takes .* GB.*tile=auto, or size=\d+ or less") as caught:
        stylizer(torch.rand(1, 3, 100, 400))
    fitting = int(re.findall(r"size=(\d+)", str(caught.value))[0])
    assert stylizer(torch.rand(1, 3, fitting // 4, fitting)).shape[3] == fitting


def test_devices():
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    for name in ("gpu", "cuda:77", "meta", ""):
        with pytest.raises(UserError, match=f"device={name}: there is no such device.*auto, cpu"):
            choose_device(name)


def test_what_a_checkpoint_calls_itself_cannot_lead_elsewhere():
    assert Stylizer(Negative(), {"styles": [{"name": "../../etc/x y"}]}).name == "etc_x_y"
    assert Stylizer(Negative(), {}).name == "stylized"


# --- which files, and where to


def targets(inputs, output=None, own=()):
    return {str(job.source): str(job.target) for job in planning.plan(inputs, output, "s", own)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/sub/b.PNG", "in/sub/c.gif", "in/.hidden/d.jpg", "in/.e.jpg"):
        photo(tmp_path / name)
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path


def test_beside_the_input(folder):
    assert targets(["in/a.jpg"]) == {"in/a.jpg": "in/a_s.jpg"}
    assert targets(["in"]) == {
        "in/a.jpg": "in/a_s.jpg",
        "in/sub/b.PNG": "in/sub/b_s.PNG",
        "in/sub/c.gif": "in/sub/c_s.png",
    }


def test_folder_keeps_its_structure(folder):
    expected = {"in/a.jpg": "out/a_s.jpg", "in/sub/b.PNG": "out/sub/b_s.PNG", "in/sub/c.gif": "out/sub/c_s.png"}
    assert targets(["in"], "out") == targets(["in/"], "out/") == expected
    assert targets(["in/a.jpg"], "out") == {"in/a.jpg": "out/a_s.jpg"}
    assert targets(["in/a.jpg"], "out/x.png") == {"in/a.jpg": "out/x.png"}


def test_patterns_and_several(folder):
    assert [*targets(["in/*"])] == ["in/a.jpg"]
    assert [*targets(["in/**/*.[gj]*"])] == ["in/a.jpg", "in/sub/c.gif"]
    assert [*targets(["in/sub/c.gif", "in/*.jpg", "in/a.jpg"])] == ["in/sub/c.gif", "in/a.jpg"]
    assert targets(["in/**/*.[gj]*"], "out") == {"in/a.jpg": "out/a_s.jpg", "in/sub/c.gif": "out/sub/c_s.png"}
    (folder / "in" / "clip.mp4").touch()
    assert [*targets(["in/*"])] == ["in/a.jpg", "in/clip.mp4"]
    photo(folder / "in" / "[a].jpg")
    assert [*targets(["in/[a].jpg"])] == ["in/[a].jpg"]  # the file, not the pattern


def test_earlier_results_are_not_stylized_again(folder):
    for name in ("in/a_s.jpg", "in/a_s_2.jpg", "in/a_other.jpg", "in/lonely_s.jpg", "in/out/a_s.jpg"):
        photo(folder / name)
    photo(folder / "in/a_other+s.jpg")  # of two styles
    names = [Path(name).name for name in targets(["in"], "in/out", {"other"})]
    assert names == ["a.jpg", "lonely_s.jpg", "b.PNG", "c.gif"]
    assert targets(["in/a_s.jpg"]) == {"in/a_s.jpg": "in/a_s_s.jpg"}  # asked for by name


def test_no_two_results_in_one_place(folder):
    for name in ("one/x.jpg", "two/x.jpg", "two/X.jpg", "two/x.gif", "two/x.png"):
        photo(folder / name)
    found = targets(["one/x.jpg", "two"], "out")
    assert len(found) == 5 and len({target.lower() for target in found.values()}) == 5


def test_a_picture_keeps_its_place_when_others_come(folder):
    photo(folder / "in" / "b" / "x.jpg")
    before = targets(["in/**/*.jpg"], "out")
    photo(folder / "in" / "a" / "x.jpg")
    assert before.items() <= targets(["in/**/*.jpg"], "out").items()


def test_many_of_one_name_are_numbered(tmp_path):
    made = planning._distinct([tmp_path / "x.png"] * 20_000)
    assert [path.name for path in made[:3]] == ["x.png", "x_2.png", "x_3.png"] and len(set(made)) == 20_000


def test_a_folder_that_links_to_itself_ends(folder):
    (folder / "in" / "again").symlink_to(folder / "in")
    assert len(targets(["in"])) == 3


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["in/b.jpg"], None, "in/b.jpg: there is no such file or folder. Did you mean in/a.jpg"),
        (["nowhere/*.jpg"], None, "as a pattern it matches none"),
        (["empty"], None, "no pictures in this folder .it is empty"),
        (["/"], None, "is the whole disk"),
        (["in"], "x.jpg", "names one file, but there are 3"),
        (["in"], "in/a.jpg", "names one file, but there are 3"),
        (["in"], "-", "holds one picture, but there are 3"),
        (["-", "in/a.jpg"], None, "cannot be combined"),
    ],
)
def test_places_that_do_not_suit(folder, inputs, output, message):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        targets(inputs, output)


# --- files in, files out


def test_existing_results_stay_unless_told(tiny, folder):
    assert [*stylize_files(tiny, "in/a.jpg", device="cpu")] == [Path("in/a_tiny.jpg")]
    before = Path("in/a_tiny.jpg").read_bytes()
    Image.linear_gradient("L").save(folder / "in/a.jpg")
    with pytest.raises(UserError, match="a_tiny.jpg exists: give overwrite=true"):
        list(stylize_files(tiny, "in/a.jpg", device="cpu"))
    assert Path("in/a_tiny.jpg").read_bytes() == before
    assert [*stylize_files(tiny, "in/a.jpg", device="cpu", overwrite=True)] == [Path("in/a_tiny.jpg")]
    assert Path("in/a_tiny.jpg").read_bytes() != before


def test_a_bad_file_does_not_stop_the_others(tiny, folder, capsys):
    Path("in/a_bad.jpg").write_bytes(b"")
    done = []
    with pytest.raises(SomeFailed, match="1 of 4 pictures failed:\n  .*a_bad.jpg.*empty") as caught:
        for path in stylize_files(tiny, "in", "out", size=8, device="cpu"):
            done.append(path)
    assert list(caught.value.reasons) == [Path("in/a_bad.jpg")]
    assert [path.name for path in done] == ["a_tiny.jpg", "b_tiny.PNG", "c_tiny.png"]
    assert all(max(open_rgb(path).size) == 8 for path in done)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"size": "big"}, {"size": 1.5}, {"quality": 101}, {"quality": True}, {"overwrite": "maybe"}],
)
def test_options_that_make_no_sense(tiny, folder, options):
    name, value = next(iter(options.items()))
    with pytest.raises(UserError, match=f"{name}={value}: give"):
        list(stylize_files(tiny, "in/a.jpg", **options))


def test_an_empty_name_is_not_the_folder_here(tiny, folder):
    """``input=$photo`` with the variable unset must not stylize all there is."""
    for names in ("", ["in/a.jpg", ""]):
        with pytest.raises(UserError, match="input= is empty"):
            list(stylize_files(tiny, names))
    with pytest.raises(UserError, match="output= is empty"):
        list(stylize_files(tiny, "in/a.jpg", ""))


def test_importing_stays_light():
    """Stylizing must not pay for Lightning, Hydra or W&B, nor `import stylenet` for torch."""
    code = "import sys, stylenet; assert 'torch' not in sys.modules; import stylenet.stylizing.stylizer"
    code += "; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb"} & set(loaded)
