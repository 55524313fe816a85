"""Build the docs site in build/site: README, docs/, an API reference from the docstrings, and the page that paints.

    python -m benchmarks.site.build

Needs `stylenet[docs,onnx]`. Zensical makes the HTML; a warning of it ends the build, and so does a link, an anchor or a
picture that leads nowhere. The site needs no network, and but for the page no server either: open
build/site/index.html. Without onnxruntime-web the page is left out, with a word.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.experiments.trainings import answering, options
from benchmarks.site.check import problems
from benchmarks.site.gather import gather
from stylenet.page import build as page
from stylenet.system.errors import UserError

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
OPTIONS: dict[str, Any] = {
    "folder": "build",  # gets docs/, the sources as Zensical reads them, and site/
    "page": True,  # false: without the page that paints
    "runtime": None,  # the files of onnxruntime-web, as for `stylenet page`
}
PAGE = "try"  # the page's folder in the site
EMBEDDED = """
This is the page, in two light styles. [Open it in a tab of its own]({page}/index.html){{ target=_blank }}.

<iframe class="page" src="{page}/index.html" title="A page that paints photos" allow="camera" loading="lazy"></iframe>

<p class="files">Read from files, the page cannot run: browsers want a server. <code>make docs-serve</code> is one.</p>

## Your own
"""
LEFT_OUT = "\nHere the page would stand: {why} Build the site again for it.\n\n## Your own\n"


def main() -> None:
    chosen = options(OPTIONS)
    folder = Path(chosen["folder"]).resolve()
    site = build(folder, chosen["runtime"]) if chosen["page"] else build_without_page(folder)
    print(f"The site: {site / 'index.html'}")


def build(folder: Path, runtime: str | None = None) -> Path:
    """The site in ``folder``/site with the page that paints, if its parts can be had. Raises UserError for a fault."""
    with_page = folder / "page"
    try:
        page.build(with_page, runtime=runtime, overwrite=True)
    except UserError as error:
        print(f"Without the page that paints: {error}", file=sys.stderr)
        return build_without_page(folder, str(error))
    return _build(folder, EMBEDDED.format(page=PAGE), with_page)


def build_without_page(folder: Path, why: str = "it was not asked for.") -> Path:
    """The site in ``folder``/site, alone. Raises UserError for a fault."""
    return _build(folder, LEFT_OUT.format(why=why), None)


def _build(folder: Path, about_page: str, with_page: Path | None) -> Path:
    docs, site = folder / "docs", folder / "site"
    gather(ROOT, docs)
    head, rest = (docs / "page.md").read_text(encoding="utf-8").split("\n", 1)
    (docs / "page.md").write_text(f"{head}\n{about_page}{rest}", encoding="utf-8")
    for name in ("site.css", "iframe-worker.js"):
        shutil.copy(HERE / name, docs / name)
    settings = (HERE / "zensical.toml").read_text(encoding="utf-8").replace("@ROOT@", ROOT.as_posix())
    (folder / "zensical.toml").write_text(settings, encoding="utf-8")
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    command += ["--config-file", str(folder / "zensical.toml")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"Zensical could not build the site:\n{done.stdout}{done.stderr}")
    if with_page:
        shutil.copytree(with_page, site / PAGE)
    if found := [*problems(site, f"{PAGE}/")]:
        raise UserError("\n".join(["The site has faults:", *found]))
    return site


if __name__ == "__main__":
    answering(main)
