import os

import pytest

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError


def test_writes_whole_file_and_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b" / "style.safetensors"
    with replacing(path) as temp:
        assert temp.suffix == path.suffix and temp.parent == path.parent
        temp.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_old_file_stays_when_the_block_fails(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ValueError), replacing(path) as temp:
        temp.write_text("half")
        raise ValueError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match="Cannot write .*x.txt: No space left"), replacing(tmp_path / "x.txt"):
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder"), replacing(tmp_path / "file" / "a" / "x.txt"):
        pass
    with pytest.raises(UserError, match="folder"), replacing(tmp_path):
        pass


def test_trouble_with_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x.txt"):
        (tmp_path / "absent").read_text()


def test_a_link_stays_a_link_and_permissions_follow_the_umask(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as temp:
        temp.write_text("new")
    assert link.is_symlink() and real.read_text() == "new"
    plain = tmp_path / "plain"
    plain.touch()
    assert real.stat().st_mode == plain.stat().st_mode


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    with replacing(path) as temp:
        temp.write_text("new")
    assert path.read_text() == "new"
