"""The docs, on the repository's web page and as a site: links lead somewhere, nothing comes from the network."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from pages import browser, playwright  # noqa: F401  # fixtures

from benchmarks.site import build, check, gather
from stylenet.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site but for the page that paints. A warning or a link to nothing would end the build."""
    return build.build_without_page(tmp_path_factory.mktemp("site"))


def prose(file: Path) -> Iterator[str]:
    """The lines of a file in Markdown that are not code."""
    code = False
    for line in file.read_text(encoding="utf-8").splitlines():
        code ^= line.startswith("```")
        if not code and not line.startswith(("    ", "```")):
            yield line


def anchors(file: Path) -> set[str]:
    """The anchors that a repository's web page gives the headings of a file."""
    titles = [line.lstrip("# ") for line in prose(file) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_each_link_leads_somewhere_on_the_repositorys_web_page(file: Path):
    for path, anchor in LINK.findall("\n".join(prose(file))):
        target = file.parent / path if path else file
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


def test_each_page_of_the_docs_is_in_the_navigation(site: Path):
    """In the order of the settings, and nothing in docs/ is forgotten."""
    start = (site / "index.html").read_text(encoding="utf-8")
    navigation = start[start.index('<nav class="md-nav md-nav--primary') :]
    linked = re.findall(r'href="\.?/?([\w/]+\.html)"', navigation[: navigation.index("Changes")])
    names = list(dict.fromkeys(name.removesuffix(".html") for name in linked))
    assert names[:4] == ["index", "stylizing", "training", "controls"]
    assert {file.stem for file in (ROOT / "docs").glob("*.md")} <= set(names)


def test_the_reference_has_what_is_offered_with_links_in_place_of_roles(site: Path):
    import stylenet

    load, options = ((site / "api" / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "options"))
    titles = re.findall(r'<h2 id="stylenet\.(\w+)"', load + options)
    assert set(titles) == set(stylenet.__all__) - {"__version__"}
    assert re.search(r'<a [^>]*href="options\.html#stylenet\.(?:\w+\.)*Controls"[^>]*><code>Controls</code></a>', load)
    assert "strength: float = 1.0" in unescape(re.sub(r"<[^>]+>", "", options))


def test_the_lesson_leads_to_the_line_of_code(site: Path):
    lesson = (site / "how_it_works.html").read_text(encoding="utf-8")
    line = re.search(r'href="source/stylenet/losses/perceptual\.html#__codelineno-0-(\d+)"><code>gram</code>', lesson)
    code = (ROOT / "stylenet/losses/perceptual.py").read_text(encoding="utf-8").splitlines()
    assert line and code[int(line[1]) - 1].startswith("def gram(")


def test_without_a_server_the_site_is_read_and_searched_and_asks_nobody(site: Path, browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # a phone needs no scrolling sideways
    page.keyboard.press("Control+k")
    page.keyboard.type("gram matrix")
    page.get_by_text("style without places").last.click()
    page.wait_for_url("**/how_it_works.html*")
    assert [one for one in asked if not one.startswith(("file:", "data:", "blob:"))] == []


def test_faults_of_a_site_are_found(tmp_path: Path):
    (tmp_path / "other.html").write_text('<h1 id="here">Other</h1>')
    (tmp_path / "site.css").write_text("a { background: url(https://fonts.example/a.png) }")
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example/a.js"></script><a href="https://example.com">allowed</a>'
        '<a href="other.html#here">good</a><a href="other.html#there">bad</a><img src="gone.jpg">'
        "<p>See :class:`Controls`.</p><code>:class: is shown in code</code>"
    )
    assert [*check.problems(tmp_path)] == [
        "index.html loads https://cdn.example/a.js from the network",
        "index.html: there is no place other.html#there",
        "index.html: there is no gone.jpg",
        "index.html: ':class:' is left over from the source",
        "site.css loads from the network",
    ]


def test_a_link_out_of_the_docs_is_answered_with_the_way_out():
    with pytest.raises(UserError, match="LICENSE is not part of the docs site: link to a file in docs/"):
        gather.for_site(ROOT, "docs/page.md", "[the licence](../LICENSE)")
    code = "    [a](../LICENSE)\n```\n[b](../LICENSE)\n```\n"  # is shown as it is
    assert gather.for_site(ROOT, "docs/page.md", code) == (code, set())


def test_the_page_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch, capfd, tmp_path: Path):
    said = []
    monkeypatch.setattr(build, "_build", lambda folder, about, page: said.append((about, page)) or folder)
    build.build(tmp_path, runtime=str(tmp_path))  # no onnxruntime-web in there
    assert "Without the page that paints: runtime=" in capfd.readouterr().err
    assert "Here the page would stand: runtime=" in said[0][0] and said[0][1] is None
