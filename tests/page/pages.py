"""A page, its server and Debian's Chromium, for the tests of the page."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylenet.nets import checkpoint, registry
from stylenet.page import onnxruntime_web
from stylenet.page.build import build
from stylenet.page.serve import server
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SMALL: dict[str, Any] = {"widths": (4, 6, 8), "blocks": 1, "noise": 1, "frame": 8}
PHOTO = ASSETS / "photos" / "val" / "harbour_at_dusk.jpg"


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The folder of onnxruntime-web's files."""
    try:
        return onnxruntime_web.folder()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names or files of the styles of :func:`site`: a light network, two more with one style and with two, and a
    small one for any style, which looks at paintings as the bundled one does.
    """
    folder = tmp_path_factory.mktemp("styles")
    made = ["the_scream_lite"]
    for name, count in (("plain", 1), ("pair", 2)):
        torch.manual_seed(count)
        net = registry.build("johnson", **SMALL, n_styles=count).eval()
        with torch.no_grad():
            for key, parameter in net.named_parameters():
                if ".norm" in key or "noise" in key:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        told = [{"name": f"{name}_{n}", "title": f"{name.title()} {n}"} for n in range(count)]
        made.append(str(checkpoint.save(folder / f"{name}.safetensors", net, {"styles": told})))
    bundled, _ = checkpoint.load("any")
    wild = registry.build("predicted", **SMALL, code=bundled.n_styles, hidden=bundled.config["hidden"]).eval()
    looks = ("encoder.", "predict.", "centre", "spread")
    wild.load_state_dict({key: it for key, it in bundled.state_dict().items() if key.startswith(looks)}, strict=False)
    return [*made, str(checkpoint.save(folder / "wild.safetensors", wild, {"styles": []}, half=True))]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, runtime: Path, styles: list[str]) -> Path:
    """A page with the styles the_scream_lite, plain_0, pair_0, pair_1 and great_wave, and with paintings of one's own.
    Tests do not change it.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    return build(tmp_path_factory.mktemp("page") / "site", styles, paintings=["great_wave"], runtime=runtime)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a page, and yield its address."""
    with server(folder, port=0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/"
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with serving(site) as address:
        yield address


@pytest.fixture(scope="module")  # while it runs, this thread has an event loop: no business of other tests
def playwright() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright) -> Iterator:
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield started
    started.close()


@pytest.fixture
def opened(browser, address: str) -> Iterator[Callable]:
    """``opened(**options)``: a fresh page of the site. Fails if the page logged an error by the end of the test."""
    contexts, errors = [], []

    def open_page(at: str = address, script: str = "", **options):
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(at)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo as PNG, so that the browser and Pillow decode the same pixels."""
    file = tmp_path_factory.mktemp("photo") / "harbour.png"
    Image.open(PHOTO).convert("RGB").resize((300, 211), Image.Resampling.LANCZOS).save(file)
    return file


def settled(page) -> None:
    """Wait until nothing is being painted. Raises if the page complains."""
    from playwright.sync_api import expect

    expect(page.locator("body")).to_have_attribute("data-state", "idle", timeout=120_000)


def choose(page, photo: Path) -> None:
    """Open a photo and wait for its picture."""
    page.locator("#file").set_input_files(photo)
    settled(page)


def add_painting(page, painting: Path) -> None:
    """Add a painting of one's own and wait for the picture in its style."""
    page.locator("#painting").set_input_files(painting)
    settled(page)


def downloaded(page) -> np.ndarray:
    """The picture (h, w, 3) of uint8 that the button Download gives as PNG."""
    page.locator("#format").select_option("PNG")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    return np.asarray(Image.open(download.value.path()).convert("RGB"))
