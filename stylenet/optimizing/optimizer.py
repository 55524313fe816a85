"""Optimise the pixels of a picture against the losses. Knows nothing about networks, files or options.

Gatys, Ecker and Bethge 2016: eq. 7 is the objective, section 3 the starting points.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.system.errors import UserError

INITS = ("content", "style", "noise")
RATES = {"lbfgs": 1.0, "torch_lbfgs": 1.0, "adam": 0.02}
"""The learning rate of each optimizer: L-BFGS in units of its own step, "adam" of the range [0, 1]."""
HISTORY = 20  # steps that L-BFGS remembers; 100 got it no lower
HISTORY_OF_TORCH = 100  # as torch has it by itself, and the published implementations
FIRST = 0.01  # how far its first step goes, root mean square over the pixels
FLAT = 1e-6  # least cosine of a step and its change of gradient that tells of a curvature
SHORTEST = 1e-3  # share of a step below which what is remembered is taken to mislead

Terms = Mapping[str, Tensor]
Seen = Callable[[int, Terms, Tensor], Any]


class NotANumber(UserError):
    """The objective is no number any more; ``image`` is the last picture that had one, if any, ``step`` its number."""

    def __init__(self, step: int, image: Tensor | None):
        self.step, self.image = step, image
        where = "of the picture to start from" if image is None else f"after step {step}"
        super().__init__(f"The objective {where} is not a number: try smaller weights, or a lower lr=.")


class Point(NamedTuple):
    """A picture ``(1, 3, h, w)``, the terms of the objective there, their sum, and its gradient."""

    image: Tensor
    terms: Terms
    objective: float
    gradient: Tensor


def optimize(
    loss: Callable[..., Terms],
    content: Tensor,
    start: Tensor,
    steps: int,
    *,
    targets: Any = None,
    optimizer: str = "lbfgs",
    lr: float | None = None,
    seen: Seen | None = None,
) -> Tensor:
    """The picture ``(1, 3, h, w)`` in [0, 1] that ``steps`` iterations make of ``start``. An iteration is one
    evaluation of ``loss(image, content, targets)`` and of its gradient. The objective is the sum of the loss's terms.

    ``targets``: the third argument of ``loss``; with None, :class:`stylenet.losses.perceptual.PerceptualLoss` takes its
    first style. ``optimizer``: "lbfgs" never goes up: it takes such a step back, and tries a shorter one in the next
    iteration. "torch_lbfgs" made the published figures: torch.optim.LBFGS, full steps and no line search. The picture
    stays in [0, 1] all the time, so the minimised picture is the picture that a user gets. ``seen(step, terms, image)``
    is called for the start (step 0) and after each iteration, with the terms of that very picture; it ends the
    optimisation by returning something true. Raises UserError for an unknown optimizer, and NotANumber, which holds
    the last good picture.
    """
    known_optimizer(optimizer)
    against: Any = getattr(loss, "against", None)  # the photo's features once, not in each iteration
    terms_at = against(content, targets) if against else partial(_with, loss, content, targets)
    begin = start.detach().clamp(0, 1).contiguous()
    good: Tensor | None = None
    for step, point in enumerate(DESCENTS[optimizer](partial(_at, terms_at), begin, lr or RATES[optimizer])):
        if not torch.tensor(point.objective).isfinite():
            raise NotANumber(step - 1, good)
        good = point.image
        if (seen is not None and seen(step, point.terms, good)) or step >= steps:
            break
    assert good is not None
    return good


def known_optimizer(name: str) -> None:
    """Raise UserError for an optimizer that there is not."""
    if name not in RATES:
        raise UserError(f"optimizer={name}: no such optimizer. Allowed: {', '.join(RATES)}.")


def _with(loss: Callable[..., Terms], content: Tensor, targets: Any, image: Tensor) -> Terms:
    return loss(image, content, targets)


def _at(terms_at: Callable[[Tensor], Terms], image: Tensor) -> Point:
    with torch.enable_grad():
        pixels = image.detach().requires_grad_()
        terms = terms_at(pixels)
        objective = torch.stack([*terms.values()]).sum()
    (gradient,) = torch.autograd.grad(objective, pixels)
    return Point(image, {name: term.detach() for name, term in terms.items()}, objective.item(), gradient.contiguous())


# --- the ways down: point after point, without end, one evaluation each


def _adam(at: Callable[[Tensor], Point], start: Tensor, lr: float) -> Iterator[Point]:
    pixels = start.clone()
    rule = torch.optim.Adam([pixels], lr)
    while True:
        point = at(pixels.clone())
        yield point
        pixels.grad = point.gradient
        rule.step()
        pixels.clamp_(0, 1)


def _torch_lbfgs(at: Callable[[Tensor], Point], start: Tensor, lr: float) -> Iterator[Point]:
    """torch's own: its first step is as long as the gradient, 1 in all at most, and so a small one."""
    pixels = start.clone()
    endless: Any = {"max_iter": 1, "tolerance_grad": 0, "tolerance_change": 0}
    rule: Any = torch.optim.LBFGS([pixels], lr, history_size=HISTORY_OF_TORCH, **endless)
    while True:
        point = at(pixels.clone())
        yield point
        pixels.grad = point.gradient
        rule.step(lambda point=point: torch.tensor(point.objective))
        pixels.clamp_(0, 1)


def _lbfgs(at: Callable[[Tensor], Point], start: Tensor, lr: float) -> Iterator[Point]:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.4), its step projected to [0, 1], the full one tried first."""
    here, share = at(start), 1.0
    memory: deque[tuple[Tensor, Tensor]] = deque(maxlen=HISTORY)
    while True:
        yield here
        move = _direction(here, memory)
        there = at((here.image + share * lr * move).clamp(0, 1))
        step, change = there.image - here.image, there.gradient - here.gradient
        if there.objective <= here.objective:  # not so for NaN
            if _dot(step, change) > FLAT * (_dot(step, step) * _dot(change, change)) ** 0.5:
                memory.append((step, change))
            here, share = there, 1.0
            continue
        share *= _shorter(_dot(here.gradient, step), there.objective - here.objective)
        if share < SHORTEST and memory:
            memory.clear()
            share = 1.0
        elif share < SHORTEST**2 and there.objective != there.objective:
            here = there  # NaN wherever one goes


def _direction(here: Point, memory: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Where to go: against the gradient, as bent by what is remembered; pixels at a bound are not pushed beyond it."""
    free = ~(((here.image <= 0) & (here.gradient > 0)) | ((here.image >= 1) & (here.gradient < 0)))
    move = -here.gradient * free
    if not memory:
        return move * (FIRST / move.square().mean().sqrt().clamp(min=1e-30))
    shares = []
    for step, change in reversed(memory):
        shares.append(_dot(step, move) / _dot(step, change))
        move = move - shares[-1] * change
    step, change = memory[-1]
    move = move * (_dot(step, change) / _dot(change, change))
    for (step, change), share in zip(memory, reversed(shares), strict=True):
        move = move + (share - _dot(change, move) / _dot(step, change)) * step
    move = move * free
    return move if _dot(move, here.gradient) < 0 else _direction(here, [])


def _shorter(slope: float, rise: float) -> float:
    """By how much to shorten a step that went up by ``rise``: to the lowest point of the parabola, within limits."""
    return min(0.5, max(0.1, -slope / (2 * (rise - slope)))) if rise < float("inf") and slope < 0 else 0.1


def _dot(a: Tensor, b: Tensor) -> float:
    return torch.dot(a.flatten(), b.flatten()).item()


DESCENTS = {"lbfgs": _lbfgs, "torch_lbfgs": _torch_lbfgs, "adam": _adam}


# --- where to start, and in how many sizes


def beginning(init: str, content: Tensor, style: Tensor, seed: int = 0) -> Tensor:
    """The picture ``(1, 3, h, w)`` to start from: the ``content``, the ``style`` image brought to its size, or white
    noise that ``seed`` chooses. Raises UserError for another ``init``.
    """
    if init not in INITS:
        raise UserError(f"init={init}: no such start. Allowed: {', '.join(INITS)}.")
    if init == "style":
        return _covering(style, content)
    if init == "noise":
        return torch.rand(content.shape, generator=torch.Generator().manual_seed(seed)).to(content)
    return content


def _covering(style: Tensor, content: Tensor) -> Tensor:
    """The middle of the style image, as large as the content: in proportion, nothing left empty."""
    (height, width), (h, w) = content.shape[-2:], style.shape[-2:]
    scale = max(height / h, width / w)
    large = enlarge(style, (max(height, round(h * scale)), max(width, round(w * scale))))
    top, left = (large.shape[-2] - height) // 2, (large.shape[-1] - width) // 2
    return large[..., top : top + height, left : left + width]


def enlarge(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """``(1, 3, h, w)`` resampled to ``shape``, height and width: to start the next size of coarse-to-fine from."""
    return F.interpolate(image, shape, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def sizes(size: int, coarse_to_fine: bool | Sequence[int], smallest: int = 128) -> list[int]:
    """The longer sides to go through, ``size`` last: those given, or, for True, each twice the one before.

    Raises UserError where they do not rise up to ``size``.
    """
    if isinstance(coarse_to_fine, bool):
        found = [size]
        while coarse_to_fine and found[0] // 2 >= smallest:
            found.insert(0, found[0] // 2)
        return found
    if not isinstance(coarse_to_fine, Sequence) or not all(isinstance(x, int) for x in coarse_to_fine):
        raise UserError(f"coarse_to_fine={coarse_to_fine}: give true, false or a list of sizes.")
    found = [*coarse_to_fine, *([size] if size not in coarse_to_fine else [])]
    if found != sorted({*found}):
        raise UserError(f"coarse_to_fine={list(coarse_to_fine)}: give sizes that rise, none above size={size}.")
    return found
