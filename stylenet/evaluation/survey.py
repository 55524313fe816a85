"""Evaluates several networks on several photos at several sizes, and saves the results after each photo.

Existing results are kept, so an interrupted survey can resume, and a later one can add photos, sizes and networks.
Knows what to measure and where to store it; metrics.py and equivalent_steps.py know how.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylenet.data.paintings import open_painting
from stylenet.data.photos import find_images
from stylenet.evaluation import equivalent_steps
from stylenet.evaluation.candidates import Candidate, judged, objective_of, stylized
from stylenet.evaluation.ledger import opened, write
from stylenet.evaluation.metrics import ARTEFACTS, PHOTOS, StyleMetrics, measure, named_squares, short, squares, summary
from stylenet.evaluation.similarity import Similarity
from stylenet.evaluation.speed import speed
from stylenet.images.image_io import fit, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.optimizing.optimizer import beginning, known_optimizer
from stylenet.system.errors import UserError
from stylenet.system.timing import commit, hardware, versions

MEASURES, SPEED = 8, 24  # cost of a photo's measures and of the speed test, in iterations of L-BFGS
TIMING_SIDE = 128  # pixels a side of the square on which an iteration is timed
CALIBRATION = 8  # photos, for a network without a calibration

OnProgress = Callable[[float], Any]


@dataclass(frozen=True)
class Plan:
    """What to measure. ``photos`` and ``runs``: number of photos and of Gatys runs at each of ``sizes``; ``steps``:
    maximum iterations of a run; ``paintings``: the folder for ArtFID, or None.
    """

    data: str | None
    sizes: Sequence[int]
    photos: Sequence[int]
    runs: Sequence[int]
    steps: int
    paintings: str | None
    seed: int
    device: torch.device
    starts: Sequence[str] = equivalent_steps.STARTS
    optimizer: str = "torch_lbfgs"

    def rounds(self, candidate: Candidate) -> list[tuple[int, int, int]]:
        """(size, photos, runs) for each size that the network takes."""
        if candidate.fixed_size:
            return [(candidate.fixed_size, max(self.photos), max(self.runs))]
        return list(zip(self.sizes, self.photos, self.runs, strict=True))


class Survey:
    """``Survey(candidates, plan, folder).run()`` measures everything, and saves it to ``folder``/results.json at once.

    ``about``: more entries for the file, such as the command. Raises UserError if the folder holds figures of another
    network of the same name, or of other options.
    """

    def __init__(self, candidates: Sequence[Candidate], plan: Plan, folder: Path, about: dict[str, Any] | None = None):
        self.candidates, self.plan, self.file = candidates, plan, folder / "results.json"
        known_optimizer(plan.optimizer)  # fail now, not after hours
        if len(find_images(Path(plan.data or PHOTOS), "data")) < 2:
            raise UserError(f"data={plan.data} has one photo: use a folder with two or more.")
        if plan.paintings:
            self._paintings()
        self.results = opened(self.file)
        self.results["about"] = {
            "commit": commit(),
            "versions": versions(),
            "hardware": hardware(plan.device),
            "seed": plan.seed,
            **(about or {}),
        }
        names = [candidate.name for candidate in candidates]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"ckpt= has two networks called {twice.pop()}: rename one of the files.")
        for candidate in candidates:
            self._enter(candidate)

    @cached_property
    def similarity(self) -> Similarity:
        return Similarity().to(self.plan.device)

    def _enter(self, candidate: Candidate) -> None:
        where = hardware(self.plan.device)
        machine = where.get("gpu") or f"{where['threads']} threads of {where['cpu']}"
        identity = candidate.identity() | {"seed": self.plan.seed, "steps": self.plan.steps, "machine": machine}
        identity |= {"optimizer": self.plan.optimizer}
        known = self.results["nets"].get(candidate.name, {}).get("identity", identity)
        if differing := [key for key in identity if known.get(key) != identity[key]]:
            raise UserError(
                f"{self.file} holds figures of {candidate.name} with another {', another '.join(differing)}: "
                "use another output=, or remove it."
            )
        net = self.results["nets"].setdefault(candidate.name, {"sizes": {}})
        judge = candidate.judge
        about = {"loss": {**judge["loss"], "vgg_path": None}, "calibration": judge.get("calibration")}
        size = (judge.get("styles") or [{}])[0].get("size") or judge.get("size")
        net |= {"identity": identity, "notes": candidate.notes, "painting": candidate.painting.name}
        net["objective"] = {**about, "painting_size": size}

    # --- expected time

    def expected(self) -> float:
        """Upper estimate of the remaining seconds, from the time of an iteration on a small square."""
        left = self.total()
        return left and left * self._iteration()

    def _iteration(self) -> float:
        """Seconds per iteration and pixel."""
        photo = torch.rand(1, 3, TIMING_SIDE, TIMING_SIDE, device=self.plan.device)
        objective = objective_of(self.candidates[0].painting, self._uncalibrated(), [])
        run = equivalent_steps.run_until(objective.to(self.plan.device), photo, photo, -1.0, 4)
        return run["iteration_s"] / TIMING_SIDE**2

    def _uncalibrated(self) -> dict[str, Any]:
        """The objective of the first candidate, on a scale that needs no photos."""
        judge = self.candidates[0].judge
        return {**judge, "loss": {**judge["loss"], "scale": "johnson"}, "calibration": None}

    def _costs(self) -> Iterator[tuple[int, float]]:
        """(pixels, equivalent iterations) of all that is left."""
        for candidate in self.candidates:
            for size, photos, runs in self.plan.rounds(candidate):
                found = self.results["nets"][candidate.name]["sizes"].get(str(size), {})
                whole = sum(map(_whole, found.get("photos", {}).values()))
                yield size**2, MEASURES * max(0, photos - whole)
                yield size**2, 0 if "speed" in found else SPEED
                for start in self.plan.starts:
                    yield size**2, self.plan.steps * max(0, runs - len(found.get("races", {}).get(start, {})))

    # --- measuring

    def run(self, on_progress: OnProgress = lambda work: None) -> dict[str, Any]:
        """Measure all that is left. ``on_progress(work)`` gets the work done, in iterations times pixels."""
        for candidate in self.candidates:
            objective = self._objective(candidate)
            style_metrics = StyleMetrics(candidate.picture()).to(self.plan.device)
            for size, count, runs in self.plan.rounds(candidate):
                self._round(candidate, objective, style_metrics, size, count, runs, on_progress)
        return self.results

    def total(self) -> float:
        """The sum of what ``on_progress`` will get."""
        return sum(pixels * iterations for pixels, iterations in self._costs())

    def _objective(self, candidate: Candidate) -> PerceptualLoss:
        judge = candidate.judge
        wanted = judge["loss"]["scale"] == "calibrated" and not judge.get("calibration")
        photos = squares(self.plan.data, min(self.plan.sizes), CALIBRATION) if wanted else []
        objective = objective_of(candidate.painting, judge, photos)
        return objective.to(self.plan.device).to(memory_format=torch.channels_last)  # faster, on a CPU too

    def _round(
        self,
        candidate: Candidate,
        objective: PerceptualLoss,
        style_metrics: StyleMetrics,
        size: int,
        count: int,
        runs: int,
        on_progress: OnProgress,
    ) -> None:
        """One network at one size."""
        found = self.results["nets"][candidate.name]["sizes"].setdefault(str(size), {"photos": {}, "races": {}})
        photos = {name: photo.to(self.plan.device) for name, photo in named_squares(self.plan.data, size, count)}
        names = list(photos)
        for number, name in enumerate(names):
            other = photos[names[number - 1]]
            key = _digest(photos[name], other)
            record = found["photos"].get(name, {})
            if record.get("key") != key or not _whole(record):
                output = stylized(candidate, photos[name])
                record = measure(output, photos[name], other, style_metrics, self.similarity)
                found["photos"][name] = {"key": key, **record, **judged(objective, output, photos[name])}
                self._write(found, names)
                on_progress(MEASURES * size**2)
        if "speed" not in found:
            found["speed"] = speed(candidate.net, photos[names[0]])
            on_progress(SPEED * size**2)
        chosen = [names[i * len(names) // runs] for i in range(min(runs, len(names)))]
        for start in self.plan.starts:
            for name in chosen:
                self._run_gatys(found, start, name, photos[name], objective, on_progress)
                self._write(found, names)
        if self.plan.paintings:
            self._artfid(found, candidate, photos, size)
        self._write(found, names)

    def _run_gatys(
        self,
        found: dict[str, Any],
        start: str,
        name: str,
        photo: Tensor,
        objective: PerceptualLoss,
        on_progress: OnProgress,
    ) -> None:
        runs = found["races"].setdefault(start, {})
        record, pixels = found["photos"][name], photo.shape[-1] ** 2
        if name in runs and _to_this_goal(runs[name], record):
            return
        begin = beginning(start, photo, photo, self.plan.seed)
        done = 0

        def callback(step: int) -> None:
            nonlocal done
            done = step
            on_progress(pixels if step else 0)

        run = equivalent_steps.run_until(
            objective, photo, begin, record["objective"], self.plan.steps, callback, self.plan.optimizer
        )
        runs[name] = {"key": record["key"], **run}
        on_progress(pixels * (self.plan.steps - done))

    @torch.no_grad()
    def pictures(self, photos: int = 4, near: int = 512) -> dict[str, list[Tensor]]:
        """Rows for a sheet: some photos, and the output of each network for them."""
        size = min(self.plan.sizes, key=lambda size: abs(size - near))
        shown = [photo.to(self.plan.device) for photo in squares(self.plan.data, size, photos)]
        return {"photos": shown} | {
            candidate.name: [stylized(candidate, photo) for photo in shown] for candidate in self.candidates
        }

    def _artfid(self, found: dict[str, Any], candidate: Candidate, photos: dict[str, Tensor], size: int) -> None:
        files = self._paintings()
        key = _digest(*photos.values(), *(file.read_bytes() for file in files))
        if found.get("artfid", {}).get("key") == key:
            return
        paintings = (to_tensor(fit(open_painting(file, size), size)).to(self.plan.device) for file in files)
        with torch.no_grad():
            outputs = (stylized(candidate, photo).clamp(0, 1) for photo in photos.values())
            figures = self.similarity.artfid(outputs, photos.values(), paintings)
        rounded = {name: short(value) for name, value in figures.items()}
        found["artfid"] = {"key": key, **rounded, "paintings": len(files)}

    def _paintings(self) -> list[Path]:
        files = find_images(self.plan.paintings or "", "paintings")
        if len(files) < 2:
            raise UserError(f"paintings={self.plan.paintings} has {len(files)} picture: ArtFID needs two or more.")
        return files

    def _write(self, found: dict[str, Any], names: Sequence[str]) -> None:
        """Save all figures, with a summary of the photos ``names``."""
        here = {name: found["photos"][name] for name in names if name in found["photos"]}
        records = [*here.values()]
        objectives = {
            key: equivalent_steps.median([record[key] for record in records])
            for key in records[0]
            if "objective" in key
        }
        runs_by_start = {
            start: kept
            for start, runs in found["races"].items()
            if (kept := [run for name, run in runs.items() if name in here and _to_this_goal(run, here[name])])
        }
        found["summary"] = {
            "photos": len(records),
            **summary(records),
            **{key: round(value or 0.0, 4) for key, value in objectives.items()},
            "worth": {start: equivalent_steps.summary(runs, self.plan.steps) for start, runs in runs_by_start.items()},
        }
        write(self.file, self.results)


def _whole(record: dict[str, Any]) -> bool:
    """Whether a photo's ``record`` has all artefacts. Records of older versions lack some and are measured again."""
    return record.keys() >= {*ARTEFACTS}


def _to_this_goal(run: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a run aimed at the objective in a photo's ``record``. If not, another photo has that name now. (The key
    of the record is unsuitable: it depends on the photo's neighbour, which changes when photos are added.)
    """
    return run["goal"] == float(f"{record['objective']:.5g}")


def _digest(*contents: Tensor | bytes) -> str:
    sha256 = hashlib.sha256()
    for content in contents:
        sha256.update(content if isinstance(content, bytes) else content.cpu().numpy().tobytes())
    return sha256.hexdigest()[:16]
