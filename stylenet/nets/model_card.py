"""The page of a published style, as Markdown with the metadata that the Hugging Face hub reads.

Everything in it comes from the style file and the network; what they do not say is named as such. Knows no files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stylenet.nets import cost, hub
from stylenet.nets.base import StyleNet
from stylenet.nets.catalog import dated
from stylenet.system.version import __version__

LICENCES = {  # those that the hub knows, of what styles are likely to have
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "wtfpl", "zlib"),
    *("agpl-3.0", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "openrail", "creativeml-openrail-m", "artistic-2.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
}
SIDE = 512  # pixels a side, for the work of a pass
TAGS = ["style-transfer", "neural-style-transfer", "fast-neural-style", "stylenet", "safetensors"]


class Evaluated(NamedTuple):
    """The figures of one style at one size in pixels; ``summary``: see :func:`stylenet.evaluation.metrics.summary`."""

    name: str
    size: int
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """What a card needs beside the network and its metadata.

    ``repo``: user/name. ``file``: the name of the style file, ``bytes``: its size. ``sheet``: the name of the picture
    before and after; ``credit``: whose photo it shows, "" for the publisher's own. ``about``: sentences of the
    publisher. ``evaluated``: figures of an evaluation.
    """

    repo: str
    file: str
    bytes: int
    sheet: str
    credit: str = ""
    about: str = ""
    evaluated: Sequence[Evaluated] = ()


def card(net: StyleNet, info: Mapping[str, Any], published: Published) -> str:
    """The text of README.md in the repo."""
    styles = [one for one in info.get("styles") or [] if isinstance(one, Mapping)]
    parts = [
        f"---\n{_front_matter(str(info['licence']))}\n---",
        f"# {_title(styles, published)}",
        _abstract(net, styles),
        *([_plain(published.about)] if published.about else []),
        _picture(net, published),
        f"## How to use\n\n{_usage(net, styles, published.repo)}",
        *([f"## {'Painting' if len(styles) == 1 else 'Paintings'}\n\n{_paintings(styles)}"] if styles else []),
        f"## Training\n\n{_training(info)}",
        f"## Figures\n\n{_figures(net, info, published)}",
        f"## Licence\n\n{_licence(str(info['licence']))}",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(licence: str) -> str:
    from importlib import import_module

    hub.package()
    known = re.sub(r"-(only|or-later)$", "", licence.lower())
    named = {"license": known} if known in LICENCES else {"license": "other", "license_name": licence}
    about = {**named, "library_name": "stylenet", "pipeline_tag": "image-to-image", "tags": TAGS}
    return import_module("huggingface_hub").ModelCardData(**about).to_yaml().strip()


def _title(styles: Sequence[Mapping[str, Any]], published: Published) -> str:
    if len(styles) == 1:
        return _painting(styles[0])
    name = published.repo.partition("/")[2]
    return f"{name}: {len(styles)} styles in one network" if styles else f"{name}: the style of any painting"


def _abstract(net: StyleNet, styles: Sequence[Mapping[str, Any]]) -> str:
    if len(styles) == 1:
        what = f"repaints any photo in the style of *{_painting(styles[0])}*"
    elif net.any_style:
        what = "repaints any photo in the style of a painting that you give it"
    else:
        what = f"repaints any photo in one of {len(styles)} styles, or in a mixture of them"
    return (
        f"A feed-forward network that {what}, in a single pass and at any size. "
        f"It was made with stylenet {__version__}, and nothing in its file is executed when it is loaded."
    )


def _picture(net: StyleNet, published: Published) -> str:
    photo = f"The photo: {_plain(published.credit)}." if published.credit else "The first picture is the photo itself."
    added = " Paintings that come with stylenet gave the styles." if net.any_style else ""
    return f"![A photo, and the same photo after a pass]({published.sheet})\n\n{photo}{added}"


def _usage(net: StyleNet, styles: Sequence[Mapping[str, Any]], repo: str) -> str:
    one = f":{styles[0].get('name')}" if len(styles) > 1 else ""
    ckpt = f"hf:{repo}{one}"
    more, option = (" style=painting.jpg", ', style="painting.jpg"') if net.any_style else ("", "")
    lines = [
        "With stylenet and its extra `hub` (`pip install '.[hub]'` in a clone of stylenet):",
        f"    stylenet stylize ckpt={ckpt} input=photo.jpg{more}",
        "or from Python:",
        f'```python\nimport stylenet\n\nstyle = stylenet.load("{ckpt}"{option})\n'
        'style("photo.jpg").save("painted.png")\n```',
    ]
    if one:
        lines.append(f"`ckpt=hf:{repo}` loads all styles at once; `mix=` chooses among them or mixes them.")
    return "\n\n".join(lines)


def _paintings(styles: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [f"`{_plain(one.get('name'))}`", _painting(one), _pixels(one.get("size")), _digest(one.get("sha256"))]
        for one in styles
    ]
    return _table(["style", "painting", "longer side in training", "SHA-256 of the picture"], rows)


def _training(info: Mapping[str, Any]) -> str:
    rows = [[name, _plain(value)] for name, value in _facts(info)]
    if not rows:
        return f"The file does not say how it was trained. Its origin: {_plain(info.get('origin') or 'not given')}."
    return _table(["what", "value"], rows)


def _facts(info: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the file says of its training, by name, in the order of a reader's questions."""
    training, loss = _mapping(info.get("training")), _mapping(info.get("loss"))
    data, optimizer = _mapping(training.get("data")), _mapping(training.get("optimizer"))
    facts: dict[str, Any] = {
        "steps": training.get("steps"),
        "minutes": training.get("minutes"),
        "photos in a step": training.get("batch"),
        "photos": _joined(data.get("photos"), data.get("root")),
        "photos held out": data.get("held_out"),
        "paintings": _joined(data.get("paintings"), data.get("paintings_of")),
        "size of the crops": _pixels(data.get("size")),
        "learning rate": optimizer.get("lr"),
        "precision": training.get("precision"),
        "started from": training.get("init"),
        "weight of the style": loss.get("style_weight"),
        "weight of the content": loss.get("content_weight"),
        "layers of the style": ", ".join(_mapping(loss.get("style_layers"))),
        "layers of the content": ", ".join(_mapping(loss.get("content_layers"))),
        "VGG of the loss": loss.get("vgg"),
        "seed": data.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in _mapping(info.get("versions")).items()),
    }
    yield from ((name, value) for name, value in facts.items() if value not in (None, ""))


def _figures(net: StyleNet, info: Mapping[str, Any], published: Published) -> str:
    work = cost.multiply_adds(net, SIDE, SIDE) / 1e9
    rows = [
        ["network", _plain(f"{type(net).__name__}, {net.n_styles} styles" if net.n_styles > 1 else type(net).__name__)],
        ["parameters", f"{cost.parameters(net):,}"],
        ["file", f"`{published.file}`, {published.bytes / 1e6:.2f} MB"],
        [f"work of a pass at {SIDE}x{SIDE} px", f"{work:.1f} billion multiply-adds"],
    ]
    val = {name: value for name, value in _mapping(_mapping(info.get("training")).get("val")).items() if _number(value)}
    rows += [[f"{name} on held-out photos", f"{value:.3f}"] for name, value in val.items() if "/" not in name]
    text = _table(["what", "value"], rows)
    if val and _mapping(info.get("loss")).get("scale") == "calibrated":
        text += (
            "\n\nStyle: 1.0 is an untouched photo, 0 the painting's own statistics. "
            "Content: 1.0 is the distance of two unrelated photos, 0 the photo itself."
        )
    return f"{text}\n\n{_evaluation(published.evaluated)}" if published.evaluated else text


MEASURES = {"style": "style", "content": "content", "ssim": "SSIM", "lpips": "LPIPS", "cfsd": "CFSD"}
PATTERNS = ("grid", "weave")  # artefacts, with the photos' own values beside them


def _evaluation(evaluated: Sequence[Evaluated]) -> str:
    """A table with a row for each style and size, and what its columns mean."""
    several = len({one.name for one in evaluated}) > 1
    heads = ["style file" if several else "", "size", "photos", *MEASURES.values(), *PATTERNS]
    rows = [
        [
            f"`{_plain(one.name)}`" if several else "",
            f"{one.size} px",
            str(one.summary.get("photos", "")),
            *(f"{value:.3f}" if _number(value := one.summary.get(key)) else "" for key in MEASURES),
            *(_against_photos(one.summary, key) for key in PATTERNS),
        ]
        for one in evaluated
    ]
    return (
        f"By `stylenet evaluate`, on held-out photos:\n\n{_table(heads, rows)}\n\n"
        "Style: 0 is the painting, 1 an untouched photo. Content: 0 is the photo, 1 another photo. SSIM (1), LPIPS (0) "
        "and CFSD (0) compare picture and photo; in brackets, their values for two equal pictures. Grid and weave are "
        "repeating patterns: the mean of the pictures, in brackets that of the photos."
    )


def _against_photos(summary: Mapping[str, Any], artefact: str) -> str:
    mean, photos = (_mapping(summary.get(key)).get("mean") for key in (artefact, f"{artefact}_of_photos"))
    if not _number(mean):
        return ""
    return f"{mean:.2f} ({photos:.2f})" if _number(photos) else f"{mean:.2f}"


def _licence(licence: str) -> str:
    return (
        f"The weights: {_plain(licence)}. The paintings and the photos of the training keep their own licences; "
        "none of them is in this repo, except for the photo of the picture above."
    )


# --- cells of tables


def _painting(style: Mapping[str, Any]) -> str:
    title, year = dated(str(style.get("title") or style.get("name") or "an unnamed style"))
    return _plain(f"{title} ({year})" if year else title)


def _joined(count: Any, of: Any) -> str | None:
    return None if count is None and not of else " ".join(str(one) for one in (count, f"({of})" if of else "") if one)


def _pixels(side: Any) -> str:
    return f"{side} px" if _number(side) else ""


def _digest(sha256: Any) -> str:
    return f"`{sha256[:16]}`" if isinstance(sha256, str) and sha256.isalnum() else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> str:
    """Text that is neither HTML nor a part of a table: a style file can say anything."""
    return re.sub(r"([|<>`\[\]*])", r"\\\1", " ".join(f"{value}".split()))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without the columns that are empty."""
    kept = [number for number in range(len(heads)) if any(row[number] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[number] for number in kept) + " |" for line in lines)
