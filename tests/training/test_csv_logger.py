"""The CSV file of a run's figures: what is in it at every moment, after kills, on a full disk, in a resumed run."""

import csv
import resource
from pathlib import Path

import pytest

from stylenet.system.errors import UserError
from stylenet.training.csv_logger import Figures, rows_of


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [*csv.DictReader(file)]


def steps(folder: Path) -> list[int]:
    return [int(row["step"]) for row in read(folder)]


def written(folder: Path, last: int) -> Path:
    """A run's file with train figures of steps 1 to ``last`` and validations at 2 and 4."""
    figures = Figures(folder)
    for step in range(1, last + 1):
        figures.log_metrics({"train/loss": step + 0.1}, step)
        if step in (2, 4):
            figures.log_metrics({"val/loss": step + 0.2}, step)
    return folder


def test_every_row_is_on_disk_at_once_and_new_columns_keep_the_old_rows(tmp_path: Path):
    figures = Figures(tmp_path / "csv")
    figures.log_metrics({"train/loss": 0.1 + 0.2}, 1)
    assert read(tmp_path / "csv") == [{"step": "1", "train/loss": "0.30000000000000004"}]  # every digit
    figures.log_metrics({"val/loss": 2.0}, 1)
    assert read(tmp_path / "csv") == [
        {"step": "1", "train/loss": "0.30000000000000004", "val/loss": ""},
        {"step": "1", "train/loss": "", "val/loss": "2.0"},
    ]
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["metrics.csv"]


def test_a_resumed_run_drops_what_comes_after_the_checkpoint_and_goes_on(tmp_path: Path):
    written(tmp_path, 5)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,0.5")  # a kill in the middle of a line
    figures = Figures(tmp_path, earlier=tmp_path)
    rows = figures.go_on(3)
    assert rows == [
        (1, {"train/loss": "1.1"}),
        (2, {"train/loss": "2.1"}),
        (2, {"val/loss": "2.2"}),
        (3, {"train/loss": "3.1"}),
    ]
    figures.log_metrics({"train/loss": 4.5, "train/images_per_s": 9.0}, 4)
    assert steps(tmp_path) == [1, 2, 2, 3, 4]
    assert read(tmp_path)[-1] == {"step": "4", "train/loss": "4.5", "val/loss": "", "train/images_per_s": "9.0"}


def test_a_line_cut_short_is_no_row_even_where_it_looks_like_one(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text("step,a,b\r\n1,0.5,0.25\r\n2,0.5,0.2")
    assert rows_of(tmp_path / "metrics.csv") == [(1, {"a": "0.5", "b": "0.25"})]


def test_a_resumed_run_with_nothing_left_to_do_repeats_no_row(tmp_path: Path):
    written(tmp_path, 4)
    figures = Figures(tmp_path, earlier=tmp_path)
    figures.log_metrics({"val/loss": 4.2}, 4)  # the run validates what it ships
    assert steps(tmp_path) == [1, 2, 2, 3, 4, 4]
    figures.log_metrics({"val/other": 1.0}, 4)
    assert steps(tmp_path) == [1, 2, 2, 3, 4, 4, 4]


def test_a_resumed_run_in_another_folder_leaves_the_first_ones_file_alone(tmp_path: Path):
    before = (written(tmp_path / "a", 5) / "metrics.csv").read_text()
    figures = Figures(tmp_path / "b", earlier=tmp_path / "a")
    assert [step for step, _ in figures.go_on(3)] == [1, 2, 2, 3]
    figures.log_metrics({"train/loss": 4.5}, 4)
    assert (tmp_path / "a/metrics.csv").read_text() == before and steps(tmp_path / "b") == [4]


def test_a_new_run_in_the_same_folder_begins_a_file_of_its_own(tmp_path: Path):
    written(tmp_path, 5)
    Figures(tmp_path).log_metrics({"train/loss": 1.0}, 1)
    assert read(tmp_path) == [{"step": "1", "train/loss": "1.0"}]


def test_resuming_a_run_that_wrote_no_figures(tmp_path: Path):
    figures = Figures(tmp_path, earlier=tmp_path)
    assert figures.go_on(3) == []
    figures.log_metrics({"train/loss": 1.0}, 4)
    assert steps(tmp_path) == [4]


@pytest.mark.parametrize("room", [0, 3])
def test_no_room_for_a_row_is_said_and_leaves_whole_rows(tmp_path: Path, room: int):
    written(tmp_path, 3)
    figures = Figures(tmp_path, earlier=tmp_path)
    figures.go_on(3)
    size = (tmp_path / "metrics.csv").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, before[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*metrics\.csv: .*\. Make room\."):
            figures.log_metrics({"train/loss": 4.1}, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "metrics.csv").stat().st_size == size and steps(tmp_path) == [1, 2, 2, 3]
