"""What the experiment on photorealism measures, and how it fills the tables of its page."""

import pytest
import torch

from benchmarks.experiments import photorealism


def test_edges_are_kept_whatever_the_contrast_and_lost_in_noise():
    torch.manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64))
    assert photorealism.edges_kept(0.2 + 0.3 * photo, photo) == pytest.approx(1, abs=1e-3)
    assert photorealism.edges_kept(1 - photo, photo) == pytest.approx(1, abs=1e-3)
    assert photorealism.edges_kept(photo + 0.3 * torch.rand_like(photo), photo) < 0.8


def test_tables_of_a_page_get_new_rows():
    page = (
        "# A\n\n| what | a |\n|---|---|\n| old | 1 |\n| older | 2 |\n\nText.\n\n"
        "| photo, px | b |\n|---|---|\n| x | 3 |\n"
    )
    made = photorealism.filled(page, "| what |", ["| new | 5 |"])
    assert made == page.replace("| old | 1 |\n| older | 2 |", "| new | 5 |")
    assert photorealism.filled(made, "| photo, px |", ["| y | 4 |"]).endswith("|---|---|\n| y | 4 |\n")
