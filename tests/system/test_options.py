"""Options as keywords and as objects: each is one or the other, and none is passed over in silence."""

from pathlib import Path
from typing import Any

import pytest

import stylenet
from stylenet import Controls, Engine, FilmOptions, Runtime, UserError, Writing
from stylenet.system.options import grouped


def test_keywords_go_to_the_dataclass_that_has_them():
    controls, runtime = grouped({"stroke": 2, "tile": 64}, {Controls: None, Runtime: None})
    assert controls == Controls(stroke=2) and runtime == Runtime(tile=64)
    given = Controls(strength=0.5)
    assert grouped({"tile": 64}, {Controls: given, Runtime: None}) == [given, Runtime(tile=64)]


def test_a_keyword_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(TypeError, match=r"There is no option 'stroek'\. Did you mean stroke\?"):
        stylenet.load("the_scream_lite", stroek=2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"controls": Controls(), "strength": 0.5}, r"strength: give it in Controls\(\.\.\.\)"),
        ({"runtime": Runtime(), "device": "cpu"}, r"device: give it in Runtime\(\.\.\.\)"),
        ({"film": FilmOptions(), "fps": 5}, r"fps: give it in FilmOptions\(\.\.\.\)"),
        ({"writing": Writing(), "size": 5}, r"size: give it in Writing\(\.\.\.\)"),
        ({"engine": Engine(), "workers": 2}, r"workers: give it in Engine\(\.\.\.\)"),
    ],
)
def test_a_keyword_beside_its_object_is_refused(given: dict[str, Any], told: str):
    with pytest.raises(TypeError, match=told):
        stylenet.stylize_files("the_scream_lite", "in.jpg", **given)


def test_an_engine_is_a_name_or_an_object(tmp_path: Path):
    for engine in ("local", Engine()):
        with pytest.raises(UserError, match="there is no such file"):
            list(stylenet.stylize_files("the_scream_lite", tmp_path / "in.jpg", engine=engine))
    with pytest.raises(UserError, match="engine=spark: give local or ray"):
        stylenet.stylize_files("the_scream_lite", tmp_path / "in.jpg", engine="spark")


@pytest.mark.parametrize("wrong", [{"mask": 3}, {"mask": ""}, {"mask_invert": "yes"}, {"mask_invert": True}])
def test_controls_check_themselves(wrong: dict[str, Any]):
    with pytest.raises(UserError, match=f"^{next(iter(wrong))}="):
        Controls(**wrong)
