"""The command for a machine with a GPU, in miniature on a CPU: all parts; parts that fail, overrun, lack a package."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from benchmarks.speed import gpu, gpu_tests
from benchmarks.speed.gpu_summary import markdown
from benchmarks.speed.measuring import LAUNCH
from stylenet.system.errors import UserError

Results = dict[str, dict[str, Any]]


def measured(out: Path, *words: str, path: Path = ROOT) -> tuple[subprocess.CompletedProcess, Results]:
    """The command as a user runs it on a CPU, and the files that it left."""
    # Without the interpreter the kernels' tests are skipped: they are run with it elsewhere, and take long.
    variables = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{path}{os.pathsep}{ROOT}",
        "TRITON_INTERPRET": "0",
    }
    command = [sys.executable, "-m", "benchmarks.speed.gpu", "device=cpu", f"out={out}", *words]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    return done, {file.stem: json.loads(file.read_text()) for file in out.glob("*.json")}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, str]:
    """The results and the summary of all parts."""
    out = tmp_path_factory.mktemp("gpu") / "new" / "folder"
    done, results = measured(out, "budget=3000")
    assert done.returncode == 0, done.stderr + json.dumps(results, indent=1)
    assert {*results} == {*gpu.SHARES} and len([*out.iterdir()]) == len(gpu.SHARES) + 1 <= 8
    return results, (out / "summary.md").read_text()


def test_every_part_is_measured_on_a_named_machine(everything: tuple[Results, str]):
    for result in everything[0].values():
        assert result["status"] == "finished" and result["rows"] and result["miniature"]
        assert result["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert {"cuda", "triton", "cpu", "commit"} <= result["machine"].keys()
        assert str(ROOT) not in json.dumps(result)


def test_only_tests_that_need_a_gpu_are_run(everything: tuple[Results, str]):
    outcomes = {row["test"]: row["outcome"] for row in everything[0]["tests"]["rows"]}
    wanted = "tests/runtime/test_cuda_graphs.py::test_a_cuda_graph_gives_what_the_pass_gives[bf16]"
    assert outcomes[wanted] == ("passed" if torch.cuda.is_available() else "skipped")
    assert not [
        test for test in outcomes if "test_processes" in test or "test_backends" in test or "test_gpu.py" in test
    ]


def test_a_test_needs_a_gpu_by_its_mark_its_fixture_or_its_file(tmp_path: Path):
    """A file of such tests that cannot be imported is told; other files are not imported."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_norms.py").write_text(
        "import pytest\n"
        "@pytest.mark.skipif(False, reason='needs CUDA')\ndef test_marked(): pass\n"
        "@pytest.fixture\ndef gpu(): pass\ndef test_given(gpu): assert False\n"
        "@pytest.mark.skipif(False, reason='no fork')\ndef test_other(): pass\n"
    )
    (folder / "test_triton_norms.py").write_text("def test_in_such_a_file(): pass\n")
    (folder / "test_kernels.py").write_text("import no_such_module\n")
    (folder / "test_plain.py").write_text("raise SystemExit  # skip\n")
    begun: list[str] = []
    rows: list[dict[str, Any]] = []
    gpu_tests.run(folder, gpu_tests.Told(begun.append, rows.append))
    found = {row["test"].rpartition("/")[2].rpartition("::")[2]: row["outcome"] for row in rows}
    assert found.pop("test_kernels.py") == "failed"
    assert found == {"test_marked": "passed", "test_given": "failed", "test_in_such_a_file": "passed"}
    assert len(begun) == 3


def test_passes_are_compared_with_the_common_network_and_with_float32(everything: tuple[Results, str]):
    rows = {(row["style"], row["way"]): row for row in everything[0]["passes"]["rows"]}
    for style in ("starry_night", "the_scream_lite"):
        common, fp32, bf16 = (rows[style, way] for way in ("common, eager fp32", "torch fp32", "torch bf16"))
        times = common["seconds"]["median"] / fp32["seconds"]["median"]
        assert fp32["ratio"] == pytest.approx(times, rel=0.01, abs=1e-3)
        assert fp32["frames_per_s"] == pytest.approx(1 / fp32["seconds"]["median"], rel=1e-3)
        assert fp32["mean_difference_levels"] < 0.01 < bf16["mean_difference_levels"] < 1
    assert (rows["the_scream_lite", "torch fp32"]["width"], rows["starry_night", "torch fp32"]["width"]) == (64, 32)


def test_trainings_and_their_share_of_the_matrix_rate(everything: tuple[Results, str]):
    found = everything[0]["training"]
    assert [row["what"].partition(",")[0] for row in found["rows"]] == [
        "batches ready on the device",
        "photos from disk",
        "the common network and losses",
    ]
    for row in found["rows"]:
        for who in ("ours", "common"):
            assert row[who]["images_per_s"] == pytest.approx(2 / row[who]["step_s"]["median"], rel=1e-3)
    speed = found["rows"][0]["ours"]["images_per_s"]
    share = found["operations_per_image_g"] * speed / found["matrix_rate_t"] / 1000
    assert found["rows"][0]["share"] == pytest.approx(share, rel=1e-2)
    real = everything[0]["real_training"]["rows"][0]
    assert real["steps"] == 12 and real["least"] <= real["images_per_s"] <= real["most"]


def test_profiles_hold_what_took_most_first(everything: tuple[Results, str]):
    rows = everything[0]["profile"]["rows"]
    assert [row["what"].split(",")[0].rpartition(" at ")[0] or row["what"].split(",")[0] for row in rows] == [
        "pass of starry_night",
        "pass of the_scream_lite",
        "pass of the common network",
        "training step of ours",
        "training step of the common recipe",
    ]
    for row in rows:
        spent = [one["ms"] for one in row["most"]]
        assert spent == sorted(spent, reverse=True) and 5 < len(spent) <= 30 and row["ms"] >= sum(spent) * 0.99
    # 16 convolutions in the common network: one each.
    assert next(one["calls"] for one in rows[2]["most"] if one["name"] == "aten::mkldnn_convolution") == 16


def test_launches_are_told_from_other_calls_of_cuda():
    launches = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx", "cudaGraphLaunch")
    assert all(LAUNCH.match(call) for call in launches)
    assert not any(LAUNCH.match(call) for call in ("cudaMemcpyAsync", "aten::add", "cudaGraphInstantiate"))


def test_the_film_is_measured_by_stage(everything: tuple[Results, str]):
    found = everything[0]["film"]
    stages = [row["stage"].split()[0].rstrip(",") for row in found["rows"]]
    usual = ["decode", "network", "what", "blend", "encode", "from", "from"]
    assert stages in (usual, ["decode", *usual])  # a GPU may decode, too
    assert found["size"] == [96, 54] and found["frames"] == 4 and found["temporal"] == 0.6


def test_the_summary_has_the_figures_of_all_parts(everything: tuple[Results, str]):
    results, text = everything
    assert markdown([results[part] for part in gpu.SHARES]) == text
    assert all(f"## {part.replace('_', ' ')}\n\nFinished" in text for part in gpu.SHARES)
    row = next(row for row in results["passes"]["rows"] if row["way"] == "torch bf16")
    assert f"| {row['ratio']:.2f} | {row['mean_difference_levels']:.3f} | {row['frames_per_s']:.4g} |" in text
    assert f"| {results['training']['rows'][1]['ratio']:.2f} | {results['training']['rows'][1]['share']:.1%} |" in text


# --- parts that do not end well


def test_a_failing_part_is_told_and_does_not_stop_the_others(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done, results = measured(
        tmp_path / "out", f"photos={tmp_path / 'empty'}", "parts=[film,real_training]", "budget=900"
    )
    assert done.returncode == 1
    failed = results["real_training"]
    assert failed["status"] == "failed" and "ended with code 2" in failed["reason"]
    assert "no photos" in " ".join(failed["last_lines"]).lower() or "empty" in " ".join(failed["last_lines"])
    assert f"real_training: failed in miniature: {failed['reason']}" in done.stderr
    assert results["film"]["status"] == "finished" and {*results} == {"real_training", "film"}


def test_a_part_without_its_package_is_skipped_and_the_passes_need_little(tmp_path: Path):
    for name in ("hydra", "omegaconf", "pytorch_lightning", "wandb", "av"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    words = ("parts=[passes,training,film]", "budget=900")
    done, results = measured(tmp_path / "out", *words, path=tmp_path)
    assert {part: found["status"] for part, found in results.items()} == {
        "passes": "finished",
        "training": "skipped",
        "film": "skipped",
    }, json.dumps(results, indent=1)
    assert "film: skipped in miniature: this needs av, which is not installed" in done.stderr
    assert done.returncode == 0 and "Skipped: this needs hydra" in (tmp_path / "out" / "summary.md").read_text()


def test_a_part_that_overruns_is_killed_and_leaves_its_file(tmp_path: Path):
    done, results = measured(tmp_path, "parts=film", "budget=1")
    assert done.returncode == 1 and results["film"]["status"] == "overran"
    assert "film: overran: stopped after 1 s" in done.stderr
    assert "## film\n\nOverran" in (tmp_path / "summary.md").read_text()


def test_of_a_killed_part_the_rows_stay_and_nothing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """This one ignores the request to end, and has started another process."""
    file, child = tmp_path / "film.json", tmp_path / "child"
    part = f"""
import json, pathlib, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(child)!r}).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
pathlib.Path({str(file)!r}).write_text(json.dumps({{"part": "film", "status": "running", "rows": [{{"stage": 1}}]}}))
time.sleep(600)
"""
    monkeypatch.setattr(gpu, "command", lambda part_, order: [sys.executable, "-c", part])
    monkeypatch.setattr(gpu, "PATIENCE", 0.2)
    result = gpu.run_part("film", 5.0, gpu.OPTIONS | {"out": str(tmp_path)}, tmp_path)
    assert result == json.loads(file.read_text())
    assert (result["status"], result["rows"], result["limit_s"]) == ("overran", [{"stage": 1}], 5.0)
    assert gone(int(child.read_text()))


def gone(pid: int) -> bool:
    """Whether this process has ended; a moment may pass until it is known."""
    for _ in range(50):
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


# --- options


def test_options_have_the_types_of_their_defaults(tmp_path: Path):
    chosen = gpu.options(["parts=[film, passes]", "budget=60", "miniature=True", f"photos={tmp_path}", "out=here"])
    assert (chosen["parts"], chosen["budget"], chosen["miniature"]) == (["film", "passes"], 60.0, True)
    assert (chosen["photos"], chosen["out"]) == (str(tmp_path), str(Path.cwd() / "here"))
    assert sum(gpu.SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("budgets=3", "budgets=3: there is no such option. There are: budget=, out="),
        ("parts=[film,flim]", "parts=flim: there is no such part. There are: tests, passes"),
        ("budget=0", "budget=0: give seconds, more than 0."),
        ("budget=long", "budget=long: give a number."),
        ("miniature=1", "miniature=1: give true or false."),
        ("photos=/nowhere", "photos=/nowhere: it is not there."),
    ],
)
def test_a_wrong_option_is_answered_in_a_line(word: str, told: str):
    with pytest.raises(UserError) as raised:
        gpu.options([word])
    assert str(raised.value).startswith(told) and "\n" not in str(raised.value)
