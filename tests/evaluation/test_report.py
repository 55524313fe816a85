"""The tables of an evaluation, from figures written by hand; and docs/results.md, from those that are shipped."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.experiments.results import DOCS, page
from stylenet.evaluation import report


def figures(worths: dict[str, Any], seconds: float | None = 12.0) -> dict[str, Any]:
    """The figures of one size."""
    worth = {
        start: {"median": median, "min": 20.0, "max": None, "seconds": seconds, "limit": 300}
        for start, median in worths.items()
    }
    pairs = ("grid", "grid_of_photos", "dots", "dots_of_photos", "border", "out_of_range", "saturated")
    summary = {
        "photos": 10,
        "style": 0.12345,
        "style_by_layer": {"relu1_2": 0.01},
        "content": 0.5,
        "objective": 1.25,
        "ssim": 0.4,
        "worth": worth,
        **{name: {"mean": 1.0, "worst": 2.5} for name in (*pairs, "saturated_of_photos")},
    }
    times = {"median": 0.25, "min": 0.2, "max": 0.5}
    races = {start: {"a.jpg": {"goal": 1.25, "curve": [5.0, 2.0, 1.2]}} for start in worths}
    return {"photos": {}, "races": races, "summary": summary, "speed": {"pass_s": times, "file_s": times}}


def results(command: str = "python scripts/evaluate.py ckpt=a") -> dict[str, Any]:
    about = {
        "command": command,
        "commit": "abc",
        "seed": 3,
        "hardware": {"cpu": "A CPU", "cores": 2, "threads": 1},
        "versions": {"torch": "2", "python": "3.11", "stylenet": "0.1"},
    }
    sizes = {"1024": figures({}), "256": figures({"content": 41.6, "noise": None})}
    nets = {"a": {"sizes": sizes, "notes": "stylenet, 5 steps", "painting": "wave.jpg"}}
    return {"kind": "evaluation", "about": about, "nets": nets}


def rows(title: str) -> list[list[str]]:
    return report.tables(results())[title][1]


def test_equivalent_steps_have_their_spread_and_say_where_the_goal_was_not_reached():
    (row,) = rows("One pass in iterations of L-BFGS")  # not the size at which nothing ran
    assert row == ["a", "256", "1.250", "**42** (20 to over 300)", "more than 300", "12", "0.25", "48"]


def test_sizes_stand_in_order_and_what_was_not_measured_stays_empty():
    assert [row[:5] for row in rows("Style, content, similarity")] == [
        ["a", "256", "10", "0.123", "0.010"],
        ["a", "1024", "10", "0.123", "0.010"],
    ]
    assert rows("Style, content, similarity")[0][5:] == ["0.500", "0.400", "", "", ""]
    assert rows("Artefacts: mean (worst)")[0][2] == "1.00 (2.50)"
    assert rows("Seconds, median (least to greatest)")[0][2] == "0.25 (0.2 to 0.5)"


def test_artefacts_that_older_figures_lack_have_no_column_or_stay_empty():
    title, found = "Artefacts: mean (worst)", results()
    heads = report.tables(found)[title][0]
    assert "weave" not in heads and heads[2:4] == ["grid", "photos"]
    found["nets"]["a"]["sizes"]["256"]["summary"]["weave"] = {"mean": 0.25, "worst": 0.5}
    heads, cells = report.tables(found)[title]
    assert [row[heads.index("weave")] for row in cells] == ["0.25 (0.50)", ""]


def test_every_row_of_a_table_has_a_cell_for_each_head():
    for heads, found in report.tables(results()).values():
        assert {len(row) for row in found} == {len(heads)}
    text = report.markdown(results())
    assert text.startswith("    python scripts/evaluate.py ckpt=a\n\n1 threads on 2 cores of A CPU; torch 2")
    assert "commit abc, seed 3." in text


def test_a_page_holds_the_tables_the_figure_the_commands_and_the_gallery(tmp_path: Path):
    (tmp_path / "results").mkdir()
    for name in ("one", "two"):
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(results(f"python x.py {name}")))
    (tmp_path / "results" / "leaks.json").write_text('{"something": "else"}')
    text = page(tmp_path)
    assert "| a | 256 |" in text and "| a (two) | 256 |" in text
    assert "    python x.py one\n" in text and "    python x.py two\n" in text
    assert "![Objective against iterations](results/worth.png)" in text
    assert "[leaks.json](results/leaks.json)" in text and "gallery" not in text
    (tmp_path / "gallery.md").write_text("")
    assert "[the gallery](gallery.md)" in page(tmp_path)


def test_the_plots_are_drawn_where_there_is_something_to_draw(tmp_path: Path):
    assert report.plot_equivalent_steps(tmp_path / "worth.png", results())
    with Image.open(tmp_path / "worth.png") as picture:
        assert min(picture.size) > 200
    assert not report.plot_tradeoff(tmp_path / "tradeoff.png", results())  # one network
    nothing = results()
    nothing["nets"]["a"]["sizes"].pop("256")
    assert not report.plot_equivalent_steps(tmp_path / "none.png", nothing)


def test_the_page_in_the_docs_is_what_the_figures_in_the_docs_make():
    assert (DOCS / "results.md").read_text() == page(DOCS), "run python -m benchmarks.experiments.results"


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ({"median": 41.6, "min": 30.2, "max": 55.0, "limit": 300}, "**42** (30 to 55)"),
        ({"median": None, "min": None, "max": None, "limit": 300}, "more than 300"),
    ],
)
def test_iterations_in_words(steps, text):
    assert report.iterations(steps) == text
