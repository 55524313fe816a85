"""The file of a finished style: under the style's name, and replacing a finished one only on request.

Knows style files; nothing about training.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.system.atomic import Taken, numbered
from stylenet.system.errors import UserError

log = logging.getLogger(__name__)

FINISHED = "finished"
UNFINISHED = "unfinished"  # of "training" in a style file: the run was not through when it was written


class Shelf:
    """The path of one run's finished style: ``path``, or the next free name: a_2, a_3 ...

    An existing style stays unless ``overwrite`` is true. ``resumed``: the run continues another one and replaces its
    unfinished style. ``claims``: a folder shared by the runs of one sweep; no two of them write to one name, whatever
    ``overwrite`` says. Raises UserError for an ``overwrite`` that is neither true nor false.
    """

    def __init__(self, path: Path, overwrite: bool = False, resumed: bool = False, claims: Path | None = None):
        if not isinstance(overwrite, bool):
            raise UserError(f"overwrite={overwrite}: give true or false.")
        self.path, self.overwrite, self.resumed, self.claims = path, overwrite, resumed, claims
        self.meant = checkpoint.known()  # before this run
        self.mine: Path | None = None

    def keep(self, net: StyleNet, info: dict[str, Any], half: bool = False, stopped_at: int | None = None) -> Path:
        """Write the style and return its path; another call replaces it.

        A run that was ``stopped_at`` a step does not take the name of an existing style: its style becomes a_at_<step>.
        Raises UserError if nothing can be written.
        """
        if self.mine:
            return checkpoint.save(self.mine, net, info, half)
        path = self.path
        taken = path.stem in self.meant or (path.exists() and self._left(path, info) != UNFINISHED)
        if stopped_at is not None and taken:
            path = path.with_stem(f"{path.stem}_at_{stopped_at}")
        self.mine = next(place for place in numbered(path) if self._written(place, net, info, half))
        if self.mine != path:
            log.warning("%s is there already and stays; this style: %s (overwrite=true replaces)", path, self.mine)
        return self.mine

    def tell(self) -> None:
        """Say what a name means now that meant a style before."""
        name = self.mine.stem if self.mine else ""
        before, now = self.meant.get(name), checkpoint.known().get(name)
        if self.mine is None or before is None or now is None or before.resolve() == self.mine.resolve():
            return
        if now.resolve() == self.mine.resolve():
            log.warning("ckpt=%s now means %s; the style that had the name: ckpt=%s", name, self.mine, before)
        else:
            log.warning("ckpt=%s still means %s; this style: ckpt=%s", name, now, self.mine)

    def _written(self, place: Path, net: StyleNet, info: dict[str, Any], half: bool) -> bool:
        """Whether the style is at ``place`` now; no, if the place is another's."""
        if not self._claimed(place):
            return False
        left = self._left(place, info)
        if left == FINISHED and info["training"].get(UNFINISHED):
            return True  # it is there as it will be
        if self.overwrite or left:
            checkpoint.save(place, net, info, half)
            return True
        if place.exists():
            return False
        try:
            checkpoint.save(place, net, info, half, new=True)
        except Taken:
            return False
        return True

    def _claimed(self, place: Path) -> bool:
        if self.claims is None:
            return True
        self.claims.mkdir(parents=True, exist_ok=True)
        try:
            (self.claims / hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _left(self, place: Path, info: dict[str, Any]) -> str:
        """The state of the resumed run's style at ``place``: UNFINISHED, FINISHED, or "" for another run's. The
        references measured at the start of a run identify it.
        """
        if not self.resumed or not place.exists():
            return ""
        try:
            theirs = checkpoint.load(place)[1]
        except UserError:
            return ""  # damaged or foreign: not ours to replace
        mine = json.loads(json.dumps(info))
        if any(theirs.get(key) != mine.get(key) for key in ("styles", "loss", "calibration")):
            return ""
        before, now = (one.get("training") or {} for one in (theirs, mine))
        if before.get(UNFINISHED):
            return UNFINISHED
        return FINISHED if all(before.get(key) == now.get(key) for key in ("steps", "optimizer", "batch")) else ""
