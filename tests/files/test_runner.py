"""Folders of pictures: overlapped steps, runs that are stopped and go on, the report."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from stylenet import load, stylize_files
from stylenet.files import report as outcomes
from stylenet.files.pipeline import AHEAD, in_order, overlapped
from stylenet.files.report import Outcome, Report, SomeFailed
from stylenet.images import image_io
from stylenet.nets import checkpoint, registry
from stylenet.stylizing.controls import MaskedStylizer
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1)
    return checkpoint.save(tmp_path_factory.mktemp("ckpt") / "tiny.safetensors", net, {"styles": [{"name": "tiny"}]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight pictures, no two alike, in the folder in and one below."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        name = Path("in", *(["sub"] if number % 2 else []), f"{number}.{'png' if number % 3 else 'jpg'}")
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((20 + number, 16)).rotate(40 * number).convert("RGB").save(name)
    return tmp_path


def lines(path="report.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# --- overlapped steps


def each(work):
    """What is done to one, done to some in their places."""

    def process(some):
        some[:] = map(work, some)

    return process


def test_each_item_takes_the_three_steps_and_comes_out_in_order():
    main = threading.current_thread()
    places = {"decode": set(), "process": set(), "encode": set()}

    def step(name):
        def work(item):
            number, *done = item
            places[name].add(threading.current_thread() is main)
            time.sleep(0.002 * (number % 3))  # so that later ones are ready first
            return [number, *done, name]

        return work

    items = [[number] for number in range(30)]
    found = overlapped(items, step("decode"), each(step("process")), step("encode"), lambda _: 1)
    assert [*found] == [[number, "decode", "process", "encode"] for number in range(30)]
    assert places == {"decode": {False}, "process": {True}, "encode": {False}}


STEPS = ("look", "process", "blend", "write")


def steps_in_order(work):
    """``in_order`` of 30 numbers through the steps, each of which is ``work(name, item)``."""
    look, process, blend, write = (lambda item, name=name: work(name, item) for name in STEPS)
    in_order(iter(range(30)), process, before=[look], after=[blend, write])


def test_steps_in_order_work_at_the_same_time_and_each_on_its_own_thread():
    busy, together, threads, written = set(), set(), {name: set() for name in STEPS}, []

    def work(name, item):
        busy.add(name)
        threads[name].add(threading.current_thread())
        time.sleep(0.005)
        together.add(frozenset(busy))
        busy.discard(name)
        if name == "write":
            written.append(item)
        return item if name != "process" else item * 10

    steps_in_order(work)
    assert written == [number * 10 for number in range(30)]
    assert all(len(one) == 1 for one in threads.values()) and len(set.union(*threads.values())) == 4
    assert threads["process"] == {threading.current_thread()}
    assert frozenset(STEPS) in together
    assert not [one for one in set.union(*threads.values()) - threads["process"] if one.is_alive()]


@pytest.mark.parametrize("broken", STEPS)
def test_what_a_step_raises_ends_all_of_them(broken):
    reached, threads = {name: 0 for name in STEPS}, threading.active_count()

    def work(name, item):
        if name == broken and item == 5:
            raise UserError(f"{name} fails")
        reached[name] = max(reached[name], item)
        return item

    with pytest.raises(UserError, match=f"{broken} fails"):
        steps_in_order(work)
    assert all(reached[name] <= 4 for name in STEPS[STEPS.index(broken) :])  # nothing after what failed is written
    assert reached["look"] <= 5 + 3 * AHEAD and threading.active_count() == threads


def test_items_that_are_too_heavy_to_wait_go_one_at_a_time():
    def most_alive(weight):
        alive, most, lock = 0, 0, threading.Lock()

        def change(by):
            nonlocal alive, most
            with lock:
                alive += by
                most = max(most, alive)

        def decode(number):
            change(1)
            return number

        def process(number):
            time.sleep(0.01)
            return number

        def encode(number):
            time.sleep(0.02)
            change(-1)

        assert len([*overlapped(range(12), decode, each(process), encode, lambda _: weight, most=100)]) == 12
        return most

    assert most_alive(101) == 1
    assert 3 <= most_alive(1) <= 2 * AHEAD + 2


def test_what_is_alike_and_ready_is_processed_together():
    """Kinds a a a b b a a, three at most; the first is taken alone, as nothing else is ready."""
    together, ready = [], threading.Event()

    def process(some):
        together.append([*some])
        ready.wait(0.05)  # the next are decoded meanwhile

    items = ["a1", "a2", "a3", "a4", "b1", "b2", "a5", "a6"]
    found = overlapped(items, str, process, str.upper, lambda _: 1, lambda item: (item[0], 3))
    assert [*found] == [item.upper() for item in items]
    assert together == [["a1"], ["a2", "a3", "a4"], ["b1", "b2"], ["a5", "a6"]]


def test_heavy_items_after_many_light_ones_are_not_decoded_all_at_once():
    """Thumbnails, then large pictures: what waits is no more than one or two of these."""
    alive, most, lock = 0, 0, threading.Lock()

    def weight(number):
        return 1 if number < 30 else 80

    def decode(number):
        nonlocal alive, most
        time.sleep(0.001)
        with lock:
            alive += weight(number)
            most = max(most, alive)
        return number

    def process(some):
        time.sleep(0.01)

    def encode(number):
        nonlocal alive
        with lock:
            alive -= weight(number)
        return number

    kinds = lambda number: (number < 30, 16)  # noqa: E731
    assert [*overlapped(range(50), decode, process, encode, weight, kinds, most=100)] == [*range(50)]
    assert most <= 4 * 80 + 30


@pytest.mark.parametrize("step", ["decode", "process", "encode"])
def test_an_error_comes_out_and_no_thread_stays(step):
    before = threading.active_count()

    def do(name):
        def work(number):
            if name == step and number == 5:
                raise KeyError("five")
            return number

        return work

    with pytest.raises(KeyError, match="five"):
        list(overlapped(range(99), do("decode"), each(do("process")), do("encode"), lambda _: 1))
    assert threading.active_count() == before


def test_stopped_early_it_reads_no_more_and_encodes_what_is_processed():
    decoded, processed, encoded = [], [], []

    def into(numbers):
        return lambda number: numbers.append(number) or number

    before = threading.active_count()
    results: Any = overlapped(range(10**6), into(decoded), each(into(processed)), into(encoded), lambda _: 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert sorted(encoded) == processed and len(decoded) <= len(processed) + AHEAD + 1
    assert threading.active_count() == before


def test_reading_in_several_threads_leaves_the_warnings_as_they_were(monkeypatch):
    """One is done while another begins a picture that Pillow warns of: a warning is an error here, and fails it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    first_is_in, second_is_in, first_is_done = (threading.Event() for _ in range(3))
    filters = list(warnings.filters)

    def picture(into, wait_for):
        class Waiting(io.BytesIO):
            def read(self, *size):
                into.set()
                assert wait_for.wait(10)
                return super().read(*size)

        file = Waiting()
        Image.new("RGB", (20, 20)).save(file, "PNG")
        file.seek(0)
        return file

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(image_io.open_rgb, picture(first_is_in, second_is_in))
        assert first_is_in.wait(10)
        second = threads.submit(image_io.open_rgb, picture(second_is_in, first_is_done))
        assert first.result().size == (20, 20)
        first_is_done.set()
        assert second.result().size == (20, 20)
    assert list(warnings.filters) == filters


# --- folders


def test_a_folder_gives_what_its_pictures_give_one_by_one(tiny, folder):
    paths = [*stylize_files(tiny, "in", "out", device="cpu")]
    assert paths == [*map(Path, sorted(map(str, paths), key=lambda path: ("sub" in path, path)))] and len(paths) == 8
    stylizer = load(tiny, "cpu")
    for path in paths:
        source = Path("in", *path.parts[1:]).with_stem(path.stem.removesuffix("_tiny"))
        image_io.write("alone" + path.suffix, stylizer.picture(image_io.read(source)))
        assert path.read_bytes() == Path("alone" + path.suffix).read_bytes()


def test_small_pictures_of_a_size_go_through_the_network_together(tiny, tmp_path, monkeypatch):
    """One of them cannot be stylized, and costs the others nothing."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(24):
        Image.effect_noise((40, 24), 90).convert("RGB").save(f"in/{number:02}.png")
    Image.new("RGB", (40, 24), "red").save("in/12.png")
    batches, passed = [], Stylizer._whole

    def counted(self, image, weights):
        batches.append(len(image))
        if any(bool((one[1:] == 0).all()) for one in image):
            raise ValueError("red")
        return passed(self, image, weights)

    monkeypatch.setattr(Stylizer, "_whole", counted)
    with pytest.raises(SomeFailed, match="1 of 24 .*\n.*12.png: ValueError: red"):
        list(stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl"))
    assert max(batches) > 4 and len(lines()) == 24
    alone = load(tiny, "cpu")
    for path in Path("out").iterdir():
        expected = np.asarray(alone(Path("in", path.name.replace("_tiny", ""))))
        assert np.abs(np.asarray(image_io.open_rgb(path)).astype(int) - expected).max() <= 1
    assert (alone.batch_size(10, 10), alone.batch_size(4000, 3000)) == (16, 1)


def test_pictures_of_two_depths_keep_theirs(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        levels = np.full((24, 40, 3), 100 + number, np.uint8 if number % 3 else np.uint16)
        image_io.write(f"in/{number:02}.png", image_io.Picture(levels))
    list(stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl"))
    depths = [image_io.read(path).rgb.dtype for path in sorted(Path("out").iterdir())]
    assert depths == [np.uint8 if number % 3 else np.uint16 for number in range(12)]


def test_the_time_of_pictures_done_together_is_shared(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(48):
        Image.effect_noise((40, 24), 90).convert("RGB").save(f"in/{number:02}.png")
    passed = Stylizer._whole
    monkeypatch.setattr(Stylizer, "_whole", lambda *args: (time.sleep(0.1), passed(*args))[1])
    batches: list[int] = []
    pictures = Stylizer.pictures
    counted = lambda self, some, *args, **more: batches.append(len(some)) or pictures(self, some, *args, **more)  # noqa: E731
    monkeypatch.setattr(Stylizer, "pictures", counted)
    list(stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl"))
    assert len(batches) < 24 and sum(batches) == 48
    assert 0.1 * len(batches) <= sum(line["seconds"] for line in lines()) < 0.1 * 48


def test_how_many_go_together(tiny):
    assert load(tiny, "cpu").batch_size(64, 64) == 16
    assert load(tiny, "cpu", stroke=0.25).batch_size(64, 64) == 1  # the network sees 256x256
    assert load(tiny, "cpu", tile=256).batch_size(64, 64) == 1
    both = MaskedStylizer([load(tiny, "cpu"), load(tiny, "cpu", stroke=0.5)], [Image.new("L", (1, 1), 255)] * 2)
    assert both.batch_size(64, 64) == 4


def test_a_stopped_run_goes_on_without_reading_what_is_done(tiny, folder, capsys):
    run: Any = stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl")
    first = [next(run), next(run)]
    run.close()
    done = {path for path in Path("out").rglob("*.*")}
    assert {*first} <= done and {line["output"] for line in lines()} == {str(path) for path in done}
    for path in done:  # what is done is not read again: it would fail
        Path("in", *path.parts[1:]).with_stem(path.stem.removesuffix("_tiny")).write_bytes(b"no picture")
    capsys.readouterr()
    rest = [*stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl", skip_existing=True)]
    assert {*rest} | done == {*Path("out").rglob("*.*")} and len(rest) + len(done) == 8
    assert f"{len(done)}/8" in capsys.readouterr().err  # counted from the beginning
    assert sorted(line["output"] for line in lines()) == sorted(map(str, [*done, *rest]))
    assert {line["status"] for line in lines()} == {"written"}


def test_the_report_says_what_became_of_each_picture(tiny, folder):
    Path("in/2.png").write_bytes(b"")
    Path("out").mkdir()
    Path("out/4_tiny.png").touch()
    with pytest.raises(SomeFailed, match="1 of 8 pictures failed"):
        list(stylize_files(tiny, "in", "out", size=10, device="cpu", report="some/report.jsonl", skip_existing=True))
    said = {line["input"]: line for line in lines("some/report.jsonl")}
    assert len(said) == 8
    assert [*said["in/2.png"]] == ["input", "output", "status", "reason", "width", "height", "seconds"]
    assert (said["in/2.png"]["status"], said["in/2.png"]["width"]) == ("failed", None)
    assert "the file is empty" in said["in/2.png"]["reason"]
    assert (said["in/4.png"]["status"], said["in/4.png"]["seconds"]) == ("skipped", 0)
    assert said["in/0.jpg"] | {"seconds": 1} == {
        **{"input": "in/0.jpg", "output": "out/0_tiny.jpg", "status": "written", "reason": None},
        **{"width": 10, "height": 8, "seconds": 1},
    }
    assert said["in/0.jpg"]["seconds"] > 0


def test_existing_results_are_refused_with_both_ways_out(tiny, folder):
    list(stylize_files(tiny, "in", "out", device="cpu"))
    with pytest.raises(SomeFailed, match="8 of 8.*\n.*overwrite=true to replace it, skip_existing=true to keep it"):
        list(stylize_files(tiny, "in", "out", device="cpu"))


def test_one_picture_can_be_reported_and_skipped_too(tiny, folder):
    for _ in range(2):
        list(stylize_files(tiny, "in/0.jpg", "out", device="cpu", report="report.jsonl", skip_existing=True))
    assert [line["status"] for line in lines()] == ["written"]
    Path("in/bad.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="^Cannot read in/bad.jpg: the file is empty.$"):
        list(stylize_files(tiny, "in/bad.jpg", "out", device="cpu", report="report.jsonl"))
    assert [line["status"] for line in lines()] == ["written", "failed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overwrite": True, "skip_existing": True}, "overwrite=true and skip_existing=true contradict each other"),
        ({"skip_existing": "maybe"}, "skip_existing=maybe: give true or false"),
        ({"report": "in/0.jpg"}, "report=in/0.jpg is not a report: give another file"),
        ({"report": "in"}, "Cannot write report=in: Is a directory"),
        ({"engine": "cluster"}, "engine=cluster: give local or ray"),
        ({"workers": 2}, "workers=2 is for engine=ray"),
        ({"engine": "ray", "workers": 0}, "workers=0: give the number of workers"),
    ],
)
def test_options_that_make_no_sense(tiny, folder, options, message):
    before = Path("in/0.jpg").read_bytes()
    with pytest.raises(UserError, match=message):
        list(stylize_files(tiny, "in", "out", device="cpu", **options))
    assert Path("in/0.jpg").read_bytes() == before and not Path("out").exists()


def test_a_uri_without_a_cluster_says_what_it_is_for(tiny, folder):
    with pytest.raises(UserError, match="input=s3://bucket/in: .*URIs are for engine=ray"):
        list(stylize_files(tiny, "s3://bucket/in", device="cpu"))


# --- the report as a file


def outcome(name, status="written"):
    return Outcome(f"{name}.jpg", f"{name}_s.jpg", status)


@pytest.mark.parametrize("kept", [1, 11, 40, 199])
def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path, kept):
    path = tmp_path / "report.jsonl"
    with Report(path) as report:
        report.add(outcome("a"))
        report.add(outcome("b"))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for start in (0, second):  # the first line or the second one is cut
        path.write_bytes(whole[: min(start + kept, len(whole) - 1)])
        before = [*outcomes.read(path)]
        with Report(path) as report:
            report.add(outcome("c"))
        assert [line["input"] for line in lines(path)] == ["a.jpg"] * (len(before) and 1) + ["c.jpg"]


@pytest.mark.parametrize("text", ["\n", "hello", "{}\n", '{"kind": "evaluation"}\n', "[1]\n", "\xff\xd8"])
def test_files_that_are_no_report_stay_as_they_are(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(UserError, match="notes.txt is not a report"):
        Report(path)
    assert path.read_text() == text


def test_a_report_without_room_says_so():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with pytest.raises(UserError, match="Cannot write report=/dev/full"), Report("/dev/full") as report:
        report.add(outcome("a"))


# --- the script, stopped


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_script_that_is_stopped_leaves_whole_files_and_goes_on(tiny, tmp_path, monkeypatch, by):
    count = 60
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(count):
        Image.effect_noise((200, 150), 90).convert("RGB").save(tmp_path / "in" / f"{number:02}.png")
    words = [f"ckpt={tiny}", "input=in", "output=out", "device=cpu", "report=report.jsonl"]
    command = [sys.executable, str(ROOT / "scripts" / "stylize.py"), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(by)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # one that goes on would be waited for
    assert process.returncode == (-by if by == signal.SIGKILL else 130)
    made = [*(tmp_path / "out").glob("[!.]*")]
    assert 3 <= len(made) < count
    for path in made:
        image_io.read(path)
    written = [line["output"] for line in outcomes.read(tmp_path / "report.jsonl")]
    if by == signal.SIGINT:
        assert "Traceback" not in errors
        assert not [*(tmp_path / "out").glob(".*")]
        assert sorted(written) == sorted(f"out/{path.name}" for path in made)
    times = {path: path.stat().st_mtime_ns for path in made}
    rest = [*stylize_files(tiny, "in", "out", device="cpu", report="report.jsonl", skip_existing=True)]
    assert len(rest) == count - len(made)
    assert {path: path.stat().st_mtime_ns for path in made} == times
    said = [line["input"] for line in lines(tmp_path / "report.jsonl")]
    assert sorted(said) == [f"in/{number:02}.png" for number in range(count)]
