"""The sources of the site: README, docs/, the changelog, the pages of the API and the code that the docs link to.

The files in the repository stay as they are: their links work on the repository's web page. Here each link is rewritten
for the site. Knows nothing about the program that makes HTML of them.
"""

import ast
import posixpath
import re
import shutil
from pathlib import Path

from benchmarks.site import api
from stylenet.system.errors import UserError

PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}  # and docs/x.md is x.md
LINK = re.compile(r"(?P<before>\[(?P<text>[^][]*)\]\()(?!\w+:|//)(?P<path>[^)#\s]*)(?P<anchor>#[^)\s]*)?(?=\))")
PICTURE = re.compile(r"^!\[[^][]*\]\(([^)#\s]+)\)$")  # a line of its own: a click shows it in full size
FENCE = re.compile(r"^ *(`{3,}|~{3,})")
HIDDEN = "---\nsearch:\n  exclude: true\nhide:\n  - toc\n---\n\n"


def gather(root: Path, folder: Path) -> None:
    """Write the sources of the site of the repository ``root`` into ``folder``, which is emptied first.

    Raises UserError for a link to something that is neither in docs/ nor a file of Python.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "docs", folder)
    code: set[str] = set()
    for name in (*PAGES, *sorted(f"docs/{file.name}" for file in (root / "docs").glob("*.md"))):
        text, linked = for_site(root, name, (root / name).read_text(encoding="utf-8"))
        (folder / place(name)).write_text(text, encoding="utf-8")
        code |= linked
    for name in sorted(code):
        _write(folder / place(name), source_page(name, (root / name).read_text(encoding="utf-8")))
    for name, page in api.PAGES.items():
        _write(folder / "api" / f"{name}.md", api.markdown(page))


def place(name: str) -> str:
    """Where a file of the repository lies among the sources of the site. Raises UserError if it has no place there."""
    if name in PAGES:
        return PAGES[name]
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name.endswith(".py"):
        return f"source/{name.removesuffix('.py')}.md"
    raise UserError(f"{name} is not part of the docs site: link to a file in docs/, or to one of Python.")


def for_site(root: Path, name: str, text: str) -> tuple[str, set[str]]:
    """The text of ``name`` with its links rewritten for the site, and the files of Python among them."""
    code: set[str] = set()

    def rewritten(link: re.Match[str]) -> str:
        path, anchor = link["path"], link["anchor"] or ""
        if not path:
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        if target.endswith(".py"):
            code.add(target)
            anchor = f"#__codelineno-0-{line_of(root / target, link['text'].strip('`'))}"
        return link["before"] + posixpath.relpath(place(target), posixpath.dirname(place(name)) or ".") + anchor

    lines, fence = [], ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and not line.startswith("    "):
            line = PICTURE.sub(r"[\g<0>](\1)", LINK.sub(rewritten, line)).replace("<details>", '<details markdown="1">')
        lines.append(line)
    return "\n".join(lines) + "\n", code


def line_of(file: Path, name: str) -> int:
    """The line of ``name``, such as ``VGG._layer``, in a file of Python; 1 if it has no such function or class."""
    body, line = ast.parse(file.read_text(encoding="utf-8")).body, 1
    for part in name.split("."):
        found = [one for one in body if getattr(one, "name", None) == part]
        if not found:
            return 1
        body, line = getattr(found[0], "body", []), found[0].lineno
    return line


def source_page(name: str, code: str) -> str:
    """A page that shows a file of Python with its line numbers."""
    return f'{HIDDEN}# {name}\n\n``````python linenums="1"\n{code}``````\n'


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
