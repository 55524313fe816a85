"""Style images: a file, a bundled painting by its bare name, and what is said where there is none."""

from pathlib import Path

import pytest
from PIL import Image

from stylenet.errors import UserError
from stylenet.paintings import BUNDLED, find_painting, open_painting


def test_a_bare_name_is_a_bundled_painting_unless_such_a_file_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_painting("starry_night.jpg") == BUNDLED / "starry_night.jpg"
    Image.new("RGB", (64, 48), "red").save("starry_night.jpg")
    assert open_painting("starry_night.jpg", 1000).size == (64, 48)


def test_a_path_is_not_looked_for_among_the_bundled_ones():
    with pytest.raises(UserError, match=r"nowhere/starry_night.jpg: there is no such file.*great_wave.jpg"):
        find_painting("nowhere/starry_night.jpg")


def test_the_longer_side_is_what_was_asked_for_and_nothing_is_enlarged():
    assert open_painting("starry_night.jpg", 384).size == (384, 309)  # 1274 x 1024
    assert open_painting("great_wave.jpg", 2000).size == (661, 445)


def test_a_painting_too_thin_for_its_grams_is_refused_with_its_size(tmp_path: Path):
    Image.new("RGB", (1000, 50)).save(tmp_path / "thin.png")
    with pytest.raises(UserError, match="400x20 pixels at this size: give 32 or more"):
        open_painting(tmp_path / "thin.png", 400)
