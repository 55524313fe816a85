"""How large a painting is learned: what is typed for one, then what is typed for all, then its own, then the usual."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from stylenet.cli import launch
from stylenet.cli import train as train_script


@pytest.fixture(autouse=True)
def hydra_as_it_was() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def started(*words: str, **of_hydra: Any) -> dict[str, Any]:
    """The settings of a run with these words, which Hydra knows about."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", [*words], return_hydra_config=True)
    with open_dict(config):
        for key, value in of_hydra.items():
            OmegaConf.update(config, f"hydra.{key}", value)
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


BOTH, UDNIE = "style=[starry_night,udnie]", "style.udnie.image=great_wave.jpg"


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ([BOTH, UDNIE], {"starry_night": 1024, "udnie": 768}),
        ([BOTH, UDNIE, "style_size=128"], {"starry_night": 128, "udnie": 128}),
        ([BOTH, UDNIE, "++style_size=128"], {"starry_night": 128, "udnie": 128}),
        ([BOTH, UDNIE, "style_size=128", "style.udnie.size=64"], {"starry_night": 128, "udnie": 64}),
        ([BOTH, UDNIE, "++style.starry_night.size=64"], {"starry_night": 64, "udnie": 768}),
        (["style=udnie", UDNIE, "style_size=512"], {"udnie": 512}),
        ([BOTH, UDNIE, "experiment=quick"], {"starry_night": 1024, "udnie": 768}),
    ],
)
def test_what_is_typed_has_the_last_word(words: list[str], sizes: dict[str, int]):
    assert {style["name"]: style["size"] for style in train_script.style_list(started(*words))} == sizes


@pytest.mark.parametrize(("launcher", "number"), [("joblib", 3), ("submitit_local", 3), ("basic", None)])
def test_only_runs_that_share_a_machine_are_numbered(launcher: str, number: int | None):
    words = [BOTH, UDNIE] if launcher == "basic" else [BOTH, UDNIE, f"hydra/launcher={launcher}"]
    started(*words, **{"mode": "MULTIRUN", "job.num": 3})
    assert launch.beside_others() == number
    started(BOTH, UDNIE, **{"mode": "RUN"})
    assert launch.beside_others() is None
