"""The page in a real browser: it sends nothing, keeps nothing, says what is wrong in a sentence, and goes on."""

import http.client
import http.server
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from pages import ARGUMENTS, CHROMIUM, add_painting, choose, downloaded, serving, settled
from PIL import Image

from stylenet.page.styles import BUNDLED

PAINTED = re.compile(r"^Painted at \d")


def problem(page) -> str:
    """What the page complains of, once it does."""
    page.locator("#problem").wait_for(state="visible", timeout=60_000)
    return page.text_content("#problem")


# --- nothing is sent, nothing is kept


BROWSERS_OWN = re.compile(r"(^|\.)(google|googleapis|gvt1)\.com$")  # Chromium looks for updates, whatever page is open


class Recorder(http.server.BaseHTTPRequestHandler):
    """A proxy that records every request of the browser, and passes on those to the page's server."""

    requests: list[tuple[str, str, int]]

    def do_GET(self) -> None:
        self.requests.append((self.command, self.path, int(self.headers.get("Content-Length") or 0)))
        place = urlsplit(self.path)
        if place.hostname != "127.0.0.1":
            self.send_error(403)
            return
        there = http.client.HTTPConnection(place.netloc)
        there.request("GET", f"{place.path}?{place.query}", headers=dict(self.headers))
        answer = there.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        there.close()

    do_POST = do_PUT = do_CONNECT = do_OPTIONS = do_DELETE = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_all_requests_are_for_the_pages_files_and_carry_nothing(playwright, site, photo):
    requests: list[tuple[str, str, int]] = []
    kind = type("Here", (Recorder,), {"requests": requests})
    with serving(site) as address, http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        settings = {"server": f"http://127.0.0.1:{proxy.server_address[1]}", "bypass": "<-loopback>"}  # none, that is
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, proxy=settings)
        context = browser.new_context()
        seen: set[str] = set()
        context.on("request", lambda request: seen.add(request.url))
        page = context.new_page()
        page.goto(address)
        choose(page, photo)
        add_painting(page, BUNDLED / "summertime.jpg")
        page.get_by_label("Mix with").select_option("Pair 1")
        page.get_by_label("Strength").fill("50")
        settled(page)
        downloaded(page)
        kept = page.evaluate(
            """async () => [document.cookie, localStorage.length, sessionStorage.length,
            (await indexedDB.databases()).length, (await caches.keys()).length,
            (await navigator.serviceWorker.getRegistrations()).length]"""
        )
        assert kept == ["", 0, 0, 0, 0, 0] and context.cookies() == []
        page.reload()
        assert page.get_by_label("Strength").input_value() == "100"
        assert page.locator("#styles label").count() == 5  # and the painting is forgotten
        browser.close()
        proxy.shutdown()
        thread.join()
    files = {f"{address}{file.relative_to(site).as_posix()}" for file in site.rglob("*")} | {address}
    requests = [
        one for one in requests if not BROWSERS_OWN.search(urlsplit(f"//{one[1].split('://')[-1]}").hostname or "")
    ]
    asked = {path for _, path, _ in requests}
    assert asked <= files, asked - files
    assert {method for method, _, _ in requests} == {"GET"} and all(length == 0 for _, _, length in requests)
    assert seen <= files  # of this page, by the browser's own account
    assert f"{address}networks/the_scream_lite.onnx" in asked and f"{address}worker.js" in asked  # it saw the workers'
    assert any(path.endswith(".wasm") for path in asked)


def test_threads_where_the_headers_allow_them(opened, photo):
    page = opened()
    choose(page, photo)
    assert page.evaluate("crossOriginIsolated") is True
    threads = int(page.locator("body").get_attribute("data-threads"))
    assert threads == min(8, page.evaluate("navigator.hardwareConcurrency"))


def test_a_server_without_the_headers_gives_the_same_picture_with_one_thread(opened, photo, site, address):
    """Any web server will do: Python's own, for one."""
    page = opened()
    choose(page, photo)
    expected = downloaded(page)

    class Plain(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(site))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as plain:
        thread = threading.Thread(target=plain.serve_forever)
        thread.start()
        page = opened(f"http://127.0.0.1:{plain.server_address[1]}/")
        choose(page, photo)
        assert page.locator("body").get_attribute("data-threads") == "1"
        found = downloaded(page)
        plain.shutdown()
        thread.join()
    assert np.abs(found.astype(int) - expected).max() <= 1


# --- mistakes and accidents


def test_what_is_no_photo_is_said_and_the_next_photo_is_painted(opened, tmp_path, photo):
    page = opened()
    (tmp_path / "notes.txt").write_text("no photo")
    page.locator("#file").set_input_files(tmp_path / "notes.txt")
    assert problem(page) == "notes.txt is no photo that this browser can read. Use a JPEG, PNG or WebP file."
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:100])
    page.locator("#file").set_input_files(tmp_path / "cut.png")
    page.get_by_text("cut.png is no photo").wait_for()
    choose(page, photo)
    assert page.locator("#problem").is_hidden() and "Painted" in page.text_content("#status")
    page.locator("#file").set_input_files(tmp_path / "notes.txt")
    assert "notes.txt" in problem(page)
    page.get_by_label("Strength").fill("0")  # the photo before it is still there
    settled(page)
    with Image.open(photo) as before:
        assert np.array_equal(downloaded(page), np.asarray(before))


def test_a_painting_that_is_none_tiny_or_moving_is_said_and_the_page_goes_on(opened, tmp_path, photo):
    page = opened()
    choose(page, photo)
    (tmp_path / "notes.png").write_text("no painting")
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:5000])
    for file in (tmp_path / "notes.png", cut):
        add_painting(page, file)
        told = f"{file.name} is no picture that this browser can read. Use a JPEG, PNG or WebP file."
        assert problem(page) == told and page.locator("#styles label").count() == 5
    dot, moving = tmp_path / "dot.png", tmp_path / "moving.gif"
    Image.new("RGB", (1, 1), "orange").save(dot)
    frames = [Image.new("RGB", (80, 60), colour) for colour in ("red", "blue")]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    for file, told in (
        (dot, "has 1 × 1 pixels, with hardly any strokes."),
        (moving, "moves. Its first picture is used."),
    ):
        add_painting(page, file)
        assert page.text_content("#own-note") == f"“{file.stem}” {told}"
        assert page.locator("#problem").is_hidden() and "Painted at 300" in page.text_content("#status")
    choose(page, moving)
    assert page.text_content("#note") == "The photo moves. Its first picture is used."


@pytest.fixture
def damaged(site, tmp_path):
    """A copy of the page whose first network has one wrong byte, and whose second is cut short."""
    copy = tmp_path / "damaged"
    shutil.copytree(site, copy)
    data = bytearray((copy / "networks" / "the_scream_lite.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "networks" / "the_scream_lite.onnx").write_bytes(data)
    (copy / "networks" / "plain.onnx").write_bytes((site / "networks" / "plain.onnx").read_bytes()[:-10])
    with serving(copy) as address:
        yield copy, address


def test_a_damaged_network_is_said_and_another_style_is_painted(opened, damaged, photo):
    folder, address = damaged
    page = opened(address)
    page.locator("#file").set_input_files(photo)
    told = "The network networks/the_scream_lite.onnx is damaged. Choose another style, or write the page again."
    assert problem(page) == told
    page.locator("#styles label", has_text="Plain 0").click()
    page.get_by_text("networks/plain.onnx is damaged").wait_for()
    (folder / "networks" / "plain.onnx").unlink()
    page.get_by_role("button", name="Paint again").click()
    page.get_by_text("networks/plain.onnx cannot be loaded").wait_for()
    page.locator("#styles label", has_text="Pair 1").click()
    settled(page)
    assert page.locator("#problem").is_hidden() and "Painted" in page.text_content("#status")


def test_a_browser_without_simd_is_told(opened):
    page = opened(script="WebAssembly.validate = () => false;")
    assert "no WebAssembly SIMD. Use a current" in problem(page)
    page.get_by_role("button", name="Use the sample").click()  # does nothing, breaks nothing


def test_a_full_memory_is_said_and_a_smaller_size_is_painted(playwright, address, tmp_path, photo):
    limits = [*ARGUMENTS, "--js-flags=--wasm-max-mem-pages=1600"]  # 100 MB
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=limits)
    page = browser.new_page()
    page.goto(address)
    large = tmp_path / "large.png"
    with Image.open(photo) as small:
        small.resize((1500, 1055)).save(large)
    page.get_by_label("Painted at").select_option("1536 pixels")
    page.locator("#file").set_input_files(large)
    assert problem(page).startswith("There is not enough memory for this. Choose a smaller size")
    page.get_by_label("Painted at").select_option("512 pixels, fast")
    settled(page)
    assert page.locator("#problem").is_hidden() and "Painted at 512" in page.text_content("#status")
    browser.close()


RECORD_STATUS = """() => {
    const status = document.getElementById("status");
    window.said = [];
    new MutationObserver(() => window.said.push(status.textContent))
        .observe(status, { childList: true, characterData: true, subtree: true });
}"""


def test_stop_and_a_change_of_the_networks_work_end_what_is_under_way(opened, tmp_path, photo):
    large = tmp_path / "large.png"
    with Image.open(photo) as small:
        small.resize((1536, 1080)).save(large)
    page = opened()
    page.get_by_label("Painted at").select_option("1536 pixels")
    page.locator("#file").set_input_files(large)
    page.get_by_text(re.compile("Painting at 1536 × 1080 pixels")).wait_for()
    assert page.get_by_role("progressbar").is_visible()
    page.get_by_role("button", name="Stop").click()
    assert page.text_content("#status") == "Stopped." and page.locator("#progress").is_hidden()
    page.get_by_label("Painted at").select_option("512 pixels, fast")
    settled(page)
    assert "Painted at 512 × 360" in page.text_content("#status")
    page.get_by_label("Painted at").select_option("1536 pixels")
    page.get_by_text(re.compile("Painting at 1536 × 1080 pixels")).wait_for()
    page.evaluate(RECORD_STATUS)
    page.get_by_label("Painted at").select_option("512 pixels, fast")
    settled(page)
    assert "Painted at 512 × 360" in page.text_content("#status")
    assert not any("Painted at 1536" in text for text in page.evaluate("window.said"))  # it was not finished first


# --- for everyone


def test_the_keyboard_is_enough(opened, address):
    page = opened(viewport={"width": 1280, "height": 900})
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Use the sample"
    page.keyboard.press("Enter")
    page.get_by_text(PAINTED).wait_for(timeout=60_000)
    assert page.evaluate("document.activeElement.id") == "split"  # the button is hidden now
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.getElementById('frame')).getPropertyValue('--split')") == "0%"
    page.locator("#styles input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#styles input").nth(1).is_checked()
    settled(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.does") == "choose-painting"
    with page.expect_file_chooser(timeout=120_000):
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "second"


NAMES = """() => [...document.querySelectorAll("input, select, button, canvas, progress, dialog, section, form")]
    .filter((one) => one.type !== "file" && !one.ariaHidden)
    .filter((one) => !one.ariaLabel && !one.labels?.length && !one.textContent.trim())
    .map((one) => one.outerHTML)"""

CONTRASTS = """() => {
    const numbers = (color) => (color.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const light = (rgb) => {
        const [r, g, b] = rgb.slice(0, 3).map((level) => level / 255)
            .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const color = numbers(getComputedStyle(one).backgroundColor);
            if (color.length === 3 || color[3] > 0.5) return color;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const one of document.querySelectorAll("body *")) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || one.disabled || !one.getClientRects().length) continue;
        const [a, b] = [light(numbers(getComputedStyle(one).color)), light(behind(one))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) low.push([one.textContent, contrast]);
    }
    return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_enough_contrast(opened, photo, scheme):
    page = opened(color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate(CONTRASTS) == []
    choose(page, photo)
    add_painting(page, photo)
    page.locator("#brush label", has_text="Keep photo").click()
    page.evaluate("document.getElementById('problem').hidden = false")
    assert page.evaluate(NAMES) == [] and page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_all_of_it_and_taps_reach_the_controls(opened, photo, width):
    page = opened(viewport={"width": width, "height": 700}, is_mobile=True, has_touch=True)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        choose(page, photo)
    page.locator("#brush label", has_text="Keep photo").tap()
    assert page.locator("#brush-size").is_visible()
    page.get_by_label("Painted at").focus()  # at the end of the page; the picture stays in sight
    box = page.locator("#frame").bounding_box()
    assert 0 <= box["y"] < 40 and page.evaluate("scrollY") > 100
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .choice > label, .check, #styles label")]
        .filter((one) => one.getClientRects().length && one.getBoundingClientRect().height < 44)
        .map((one) => one.textContent)"""
    )
    assert small == []  # for fingers


def test_a_photo_is_taken_with_the_camera_dropped_or_pasted_and_a_painting_dropped(opened, photo, address):
    page = opened(permissions=["camera"])
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take the photo").click()
    page.get_by_text(PAINTED).wait_for(timeout=60_000)
    assert page.evaluate("document.querySelector('video').srcObject") is None  # the camera is off
    for kind, holder, place in (
        ("drop", "dataTransfer", "body"),
        ("paste", "clipboardData", "body"),
        ("drop", "dataTransfer", "#styles"),  # there it is a painting
    ):
        page = opened()
        if place == "#styles":
            choose(page, photo)
        page.evaluate(
            """async ([kind, holder, place, levels]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(levels)], "given.png", { type: "image/png" }));
            const Event = kind === "drop" ? DragEvent : ClipboardEvent;
            const options = { [holder]: data, cancelable: true, bubbles: true };
            document.querySelector(place).dispatchEvent(new Event(kind, options));
        }""",
            [kind, holder, place, list(photo.read_bytes())],
        )
        settled(page)
        assert page.locator("#styles label", has_text="given").count() == (place == "#styles")
        assert "Painted at 300 × 211" in page.text_content("#status")


def test_before_and_after_are_divided_by_the_slider(opened, photo, tmp_path):
    page = opened(viewport={"width": 1280, "height": 900})
    choose(page, photo)
    frame = page.locator("#frame")
    box = frame.bounding_box()

    def shown(part: float) -> np.ndarray:
        page.mouse.click(box["x"] + part * box["width"], box["y"] + 30)
        page.mouse.move(0, 0)
        frame.screenshot(path=tmp_path / "frame.png")
        return np.asarray(Image.open(tmp_path / "frame.png").convert("RGB").resize((100, 70))).astype(int)

    painted, half, before = shown(0.002), shown(0.5), shown(0.998)
    assert np.abs(half[20:50, 5:40] - before[20:50, 5:40]).mean() < 2
    assert np.abs(half[20:50, 60:95] - painted[20:50, 60:95]).mean() < 2
    assert np.abs(painted - before).mean() > 20


def test_what_a_jpeg_download_is_called(opened, photo):
    page = opened()
    choose(page, photo)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "harbour_the_scream_lite.jpg"
    with Image.open(Path(download.value.path())) as made:
        assert (made.format, made.size) == ("JPEG", (300, 211))


def test_webgpu_is_used_only_if_it_gives_the_picture_of_webassembly(playwright, address, photo):
    """On a GPU in software. Whether it is right depends on the versions of both; the picture is right either way."""
    software = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *software])
    page = browser.new_page()
    page.goto(address)
    choose(page, photo)
    page.locator("#styles label", has_text="Plain 0").click()
    settled(page)
    expected = downloaded(page)
    if page.locator("#gpu-field").is_hidden():
        browser.close()
        pytest.skip("this Chromium has no WebGPU here")
    page.get_by_label("Use the graphics card (WebGPU)").check()
    settled(page)
    refused = page.locator("#problem").is_visible()
    assert refused != page.get_by_label("Use the graphics card (WebGPU)").is_checked()
    assert refused == ("by the graphics card" not in page.text_content("#status"))
    assert not refused or "the page goes on without it" in problem(page)
    assert np.abs(downloaded(page).astype(int) - expected).max() <= 4  # 2 of the comparison, and as much by its size
    browser.close()
