"""Several networks on several photos at several sizes: everything measured, and on disk after each photo.

What is there already is not measured again, so a stopped survey goes on and a later one may add photos, sizes and
networks. Knows what to measure and where to keep it; how a figure is come by is evaluate.py's and worth.py's business.
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
from stylenet.evaluation.metrics import ARTEFACTS, PHOTOS, Ruler, measured, named_squares, short, squares, summary
from stylenet.evaluation.similarity import Similarity
from stylenet.evaluation.speed import speed
from stylenet.images.image_io import fit, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.optimizing.optimizer import beginning, known_optimizer
from stylenet.system.errors import UserError
from stylenet.system.timing import commit, hardware, versions

MEASURES, SPEED, LIKE_ITERATIONS = 8, 24, 128  # what a photo's measures and the speed cost, in iterations of L-BFGS
CALIBRATION = 8  # photos, for a network that brings no calibration

Told = Callable[[float], Any]


@dataclass(frozen=True)
class Plan:
    """What is to be measured. ``photos`` and ``races``: how many at each of ``sizes``; ``steps``: iterations of Gatys
    at most; ``paintings``: the folder for ArtFID, None for none.
    """

    data: str | None
    sizes: Sequence[int]
    photos: Sequence[int]
    races: Sequence[int]
    steps: int
    paintings: str | None
    seed: int
    device: torch.device
    starts: Sequence[str] = equivalent_steps.STARTS
    optimizer: str = "torch_lbfgs"

    def rounds(self, candidate: Candidate) -> list[tuple[int, int, int]]:
        """(size, photos, races), one for each size that the network takes."""
        if candidate.fixed_size:
            return [(candidate.fixed_size, max(self.photos), max(self.races))]
        return list(zip(self.sizes, self.photos, self.races, strict=True))


class Survey:
    """``Survey(candidates, plan, folder).run()``: all figures, which ``folder``/results.json holds as they come.

    ``said``: what else is to stand in the file, such as the command. Raises UserError where the folder holds figures of
    another network by that name, or by other options.
    """

    def __init__(self, candidates: Sequence[Candidate], plan: Plan, folder: Path, said: dict[str, Any] | None = None):
        self.candidates, self.plan, self.file = candidates, plan, folder / "results.json"
        known_optimizer(plan.optimizer)  # what is wrong is told now, not after hours
        if len(find_images(Path(plan.data or PHOTOS), "data")) < 2:
            raise UserError(f"data={plan.data} has one photo: give a folder with two or more.")
        if plan.paintings:
            self._paintings()
        self.results = opened(self.file)
        self.results["about"] = {
            "commit": commit(),
            "versions": versions(),
            "hardware": hardware(plan.device),
            "seed": plan.seed,
            **(said or {}),
        }
        names = [candidate.name for candidate in candidates]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"ckpt= has two networks called {twice.pop()}: rename one of the files.")
        for candidate in candidates:
            self._enter(candidate)

    @cached_property
    def likeness(self) -> Similarity:
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
                "give another output=, or remove it."
            )
        net = self.results["nets"].setdefault(candidate.name, {"sizes": {}})
        judge = candidate.judge
        about = {"loss": {**judge["loss"], "vgg_path": None}, "calibration": judge.get("calibration")}
        size = (judge.get("styles") or [{}])[0].get("size") or judge.get("size")
        net |= {"identity": identity, "notes": candidate.notes, "painting": candidate.painting.name}
        net["objective"] = {**about, "painting_size": size}

    # --- how long it takes

    def expected(self) -> float:
        """Seconds that what is left takes on this machine at most, from the time of an iteration on a small square."""
        left = self.total()
        return left and left * self._iteration()

    def _iteration(self) -> float:
        """Seconds of an iteration, for each pixel."""
        photo = torch.rand(1, 3, LIKE_ITERATIONS, LIKE_ITERATIONS, device=self.plan.device)
        objective = objective_of(self.candidates[0].painting, self._uncalibrated(), [])
        steps = equivalent_steps.race(objective.to(self.plan.device), photo, photo, -1.0, 4)
        return steps["iteration_s"] / LIKE_ITERATIONS**2

    def _uncalibrated(self) -> dict[str, Any]:
        """The objective of the first, in a scale that needs no photos."""
        judge = self.candidates[0].judge
        return {**judge, "loss": {**judge["loss"], "scale": "johnson"}, "calibration": None}

    def _costs(self) -> Iterator[tuple[int, float]]:
        """(pixels, iterations or their like) of all that is left."""
        for candidate in self.candidates:
            for size, photos, races in self.plan.rounds(candidate):
                found = self.results["nets"][candidate.name]["sizes"].get(str(size), {})
                whole = sum(map(_whole, found.get("photos", {}).values()))
                yield size**2, MEASURES * max(0, photos - whole)
                yield size**2, 0 if "speed" in found else SPEED
                for start in self.plan.starts:
                    yield size**2, self.plan.steps * max(0, races - len(found.get("races", {}).get(start, {})))

    # --- measuring

    def run(self, told: Told = lambda share: None) -> dict[str, Any]:
        """Measure all that is left. ``told`` is given what was done, in iterations times pixels."""
        for candidate in self.candidates:
            objective = self._objective(candidate)
            ruler = Ruler(candidate.picture()).to(self.plan.device)
            for size, count, races in self.plan.rounds(candidate):
                self._round(candidate, objective, ruler, size, count, races, told)
        return self.results

    def total(self) -> float:
        """What ``told`` will come to."""
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
        ruler: Ruler,
        size: int,
        count: int,
        races: int,
        told: Told,
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
                record = measured(output, photos[name], other, ruler, self.likeness)
                found["photos"][name] = {"key": key, **record, **judged(objective, output, photos[name])}
                self._write(found, names)
                told(MEASURES * size**2)
        if "speed" not in found:
            found["speed"] = speed(candidate.net, photos[names[0]])
            told(SPEED * size**2)
        racing = [names[i * len(names) // races] for i in range(min(races, len(names)))]
        for start in self.plan.starts:
            for name in racing:
                self._race(found, start, name, photos[name], objective, told)
                self._write(found, names)
        if self.plan.paintings:
            self._artfid(found, candidate, photos, size)
        self._write(found, names)

    def _race(
        self, found: dict[str, Any], start: str, name: str, photo: Tensor, objective: PerceptualLoss, told: Told
    ) -> None:
        races = found["races"].setdefault(start, {})
        record, pixels = found["photos"][name], photo.shape[-1] ** 2
        if name in races and _to_this_goal(races[name], record):
            return
        begin = beginning(start, photo, photo, self.plan.seed)
        seen = 0

        def step(number: int) -> None:
            nonlocal seen
            seen = number
            told(pixels if number else 0)

        run = equivalent_steps.race(
            objective, photo, begin, record["objective"], self.plan.steps, step, self.plan.optimizer
        )
        races[name] = {"key": record["key"], **run}
        told(pixels * (self.plan.steps - seen))

    @torch.no_grad()
    def pictures(self, photos: int = 4, near: int = 512) -> dict[str, list[Tensor]]:
        """Rows for a sheet: some photos, and what each network makes of them."""
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
            figures = self.likeness.artfid(outputs, photos.values(), paintings)
        rounded = {name: short(value) for name, value in figures.items()}
        found["artfid"] = {"key": key, **rounded, "paintings": len(files)}

    def _paintings(self) -> list[Path]:
        files = find_images(self.plan.paintings or "", "paintings")
        if len(files) < 2:
            raise UserError(f"paintings={self.plan.paintings} has {len(files)} picture: ArtFID needs two or more.")
        return files

    def _write(self, found: dict[str, Any], names: Sequence[str]) -> None:
        """All figures to disk, with what those of the photos ``names`` come to."""
        here = {name: found["photos"][name] for name in names if name in found["photos"]}
        records = [*here.values()]
        objectives = {
            key: equivalent_steps.median([record[key] for record in records])
            for key in records[0]
            if "objective" in key
        }
        races = {
            start: kept
            for start, runs in found["races"].items()
            if (kept := [run for name, run in runs.items() if name in here and _to_this_goal(run, here[name])])
        }
        found["summary"] = {
            "photos": len(records),
            **summary(records),
            **{key: round(value or 0.0, 4) for key, value in objectives.items()},
            "worth": {start: equivalent_steps.summary(runs, self.plan.steps) for start, runs in races.items()},
        }
        write(self.file, self.results)


def _whole(record: dict[str, Any]) -> bool:
    """Whether a photo's ``record`` has all artefacts: one of an older version has not, and is measured anew."""
    return record.keys() >= {*ARTEFACTS}


def _to_this_goal(race: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a race was run to the objective in a photo's ``record``: else the photo is another one by that name. (The
    key of the record will not do: it changes with the photo's neighbour, when photos are added.)
    """
    return race["goal"] == float(f"{record['objective']:.5g}")


def _digest(*contents: Tensor | bytes) -> str:
    sha256 = hashlib.sha256()
    for content in contents:
        sha256.update(content if isinstance(content, bytes) else content.cpu().numpy().tobytes())
    return sha256.hexdigest()[:16]
