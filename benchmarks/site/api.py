"""The pages of the API reference: which objects stand on which page. mkdocstrings writes them from the docstrings.

Knows nothing about the rest of the site.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Page(NamedTuple):
    """A page of the reference: its title, a sentence or two, and the objects on it."""

    title: str
    about: str
    objects: tuple[str, ...]


PAGES: Mapping[str, Page] = {
    "index": Page(
        "stylenet",
        "What `import stylenet` offers. Images are in [0, 1] as float tensors `(b, 3, h, w)`, and sRGB.",
        (
            "stylenet.load",
            "stylenet.list_styles",
            "stylenet.stylize_files",
            "stylenet.sheet",
            "stylenet.compare",
            "stylenet.paint",
            "stylenet.paint_model",
            "stylenet.photo",
            "stylenet.export",
            "stylenet.publish",
            "stylenet.UserError",
        ),
    ),
    "options": Page(
        "Options",
        "Options travel as one object each, which checks itself when it is made. Most functions take the fields as "
        "keywords, too.",
        ("stylenet.Controls", "stylenet.Runtime", "stylenet.FilmOptions", "stylenet.Writing", "stylenet.Engine"),
    ),
    "stylizing": Page(
        "Stylizers",
        "What `stylenet.load` returns. A stylizer is called with an image and returns an image of the same kind.",
        (
            "stylenet.stylizing.containers.ImageStylizer",
            "stylenet.stylizing.stylizer.Stylizer",
            "stylenet.stylizing.controls.MaskedStylizer",
            "stylenet.stylizing.photorealistic",
        ),
    ),
    "networks": Page(
        "Networks",
        "A network maps a photo to a picture of the same size. Every network is a `StyleNet`.",
        (
            "stylenet.nets.base",
            "stylenet.nets.johnson",
            "stylenet.nets.adain",
            "stylenet.nets.style_prediction",
            "stylenet.nets.layers",
            "stylenet.nets.checkpoint",
        ),
    ),
    "losses": Page(
        "Losses",
        "What a training minimises, and the network that measures it.",
        ("stylenet.losses.perceptual", "stylenet.losses.vgg"),
    ),
    "training": Page(
        "Training",
        "A training from the settings to the style file. The settings are those of `configs/train.yaml`.",
        (
            "stylenet.training.trainer",
            "stylenet.training.module",
            "stylenet.training.any_style",
            "stylenet.training.sampler",
            "stylenet.training.schedule",
            "stylenet.training.callbacks",
            "stylenet.training.loggers",
            "stylenet.data.datamodule",
            "stylenet.data.crops",
            "stylenet.data.pairs",
        ),
    ),
    "optimizing": Page(
        "Optimising",
        "Gatys' method: the pixels of one picture are optimised against the losses.",
        ("stylenet.optimizing.gatys", "stylenet.optimizing.optimizer"),
    ),
    "evaluation": Page(
        "Evaluation",
        "Measures of a style.",
        (
            "stylenet.evaluation.metrics",
            "stylenet.evaluation.artefacts",
            "stylenet.evaluation.similarity",
            "stylenet.evaluation.equivalent_steps",
        ),
    ),
}


def markdown(page: Page) -> str:
    """The page for mkdocstrings, which replaces each line that begins with ``:::``."""
    return "\n\n".join([f"# {page.title}", page.about, *(f"::: {name}" for name in page.objects)]) + "\n"
