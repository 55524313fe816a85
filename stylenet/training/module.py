"""The LightningModule. Knows nothing about files, loggers or Lightning's Trainer; trainer.py runs it.

Settings are plain dicts, as in ``configs/train.yaml``; only the command line knows Hydra.
"""

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn

from stylenet.data.datamodule import Photos
from stylenet.data.paintings import find_painting, in_colors, open_painting
from stylenet.images.color import Colors
from stylenet.images.image_io import to_tensor
from stylenet.losses.perceptual import PerceptualLoss, Targets
from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.joined import joined
from stylenet.nets.kernel_net import TrainingPass, works_for
from stylenet.nets.layers import ADDED_NOISE
from stylenet.nets.registry import build, of_styles
from stylenet.system.errors import UserError, one_line
from stylenet.system.version import __version__
from stylenet.training.sampler import StyleSampler
from stylenet.training.schedule import Schedule, rise, share
from stylenet.training.shelf import UNFINISHED

log = logging.getLogger(__name__)

CALIBRATION_PHOTOS = 32
Window = tuple[Tensor, Tensor]
LICENCE = "Made by training; the painting and the photos keep their own licences: see styles and training.data."


class StyleTransfer(pl.LightningModule):
    """Trains ``net`` against a frozen VGG (Johnson et al. 2016, eq. 5, without TV unless it is given a weight).

    ``net``: {"name", and the constructor's arguments}; ``loss``: the arguments of ``PerceptualLoss``; ``styles``: one
    dict for each style, {"name", "image", "size", ...}, image and size as ``open_painting`` takes them; ``optimizer``:
    {"lr", "warmup", "final"}: Adam, its learning rate rising over ``warmup`` steps and falling along a half cosine to
    ``final`` times its height at the end of the ``schedule`` (None: after ``steps``). Norms and noise, of which each
    style has its own, learn at "norms" times that rate; nothing else learns in the first "norms_first" part of the run.
    A style's "color" is "style" (default), or "match": its painting is given
    the photos' colours, which ``colors`` finds, before anything is learned of it. Batches are uint8 or [0, 1],
    ``(b, 3, h, w)``.
    """

    def __init__(
        self,
        net: dict[str, Any],
        loss: dict[str, Any],
        styles: Sequence[dict[str, Any]],
        optimizer: dict[str, Any],
        steps: int,
        colors: Callable[[], Colors] | None = None,
        schedule: Schedule | None = None,
    ):
        super().__init__()
        check("optimizer.lr", optimizer["lr"], 0)
        check("optimizer.warmup", optimizer["warmup"], 0, whole=True)
        check("optimizer.final", optimizer["final"], 0, 1)
        check("optimizer.norms", optimizer.get("norms", 1), 0)
        check("optimizer.norms_first", optimizer.get("norms_first", 0), 0, 1)
        for name in ("style_weight", "content_weight", "tv_weight", "range_weight", "repeat_weight"):
            check(f"loss.{name}", loss.get(name, 0), 0)
        self.save_hyperparameters(ignore=["colors", "schedule"])
        arguments = {key: value for key, value in net.items() if key != "name"}
        self.net = self._built(net["name"], len(styles), arguments).to(memory_format=torch.channels_last)
        self.pictures = _paintings(styles, colors)
        self.styles = [{**style, "sha256": _sha256(find_painting(style["image"]))} for style in styles]
        self.loss = self._loss(loss)
        self.loss.to(memory_format=torch.channels_last)
        self.sampler = StyleSampler(len(styles))
        self.optimizer, self.schedule = optimizer, schedule or Schedule(steps)
        self.last_terms: dict[str, Tensor] = {}
        self.last_norm = torch.zeros(())
        self.last_batch: tuple[Tensor, Tensor | None, Window | None, Targets | None] | None = None
        self.validated_at = -1  # the step of the latest validation
        self.training_terms = self.terms
        self.base: tuple[StyleNet, dict[str, Any]] | None = None  # the network that these styles are added to
        self.kernels: TrainingPass | None = None  # compute the network's pass on a GPU
        self.settings: dict[str, Any] = {}  # those that a resumed run is compared with
        self.changes: list[dict[str, Any]] = []  # at which step which of them changed, and from what to what
        self.goes_on_otherwise = False

    def _built(self, name: str, n_styles: int, arguments: dict[str, Any]) -> StyleNet:
        """The network, untrained."""
        return build(name, n_styles=n_styles, **arguments)

    def _loss(self, arguments: dict[str, Any]) -> Any:
        """The loss, not calibrated."""
        return PerceptualLoss([to_tensor(picture) for picture in self.pictures], **arguments)

    def _first_to_learn(self) -> set[str]:
        """The parameters that learn at "norms" times the rate, and from the start; none: all learn as the others."""
        return of_styles(self.net)

    def setup(self, stage: str) -> None:
        """On a GPU our kernels compute the network's pass. Without them it works in planes: there PyTorch's kernel for
        the norms is several times as fast.
        """
        if self.trainer.strategy.root_device.type == "cuda":
            self.net.to(memory_format=torch.contiguous_format)
            self.kernels = TrainingPass(self.net) if works_for(self.net) else None

    def configure_optimizers(self) -> Any:
        lr, final, warmup = (self.optimizer[name] for name in ("lr", "final", "warmup"))
        norms, norms_first = self.optimizer.get("norms", 1), self.optimizer.get("norms_first", 0)

        def height(step: int) -> float:
            return min(1.0, (step + 1) / max(1, warmup)) * share(self.schedule.part(step), final)

        of_style = self._first_to_learn()
        if (norms == 1 and not norms_first) or not of_style:
            groups, heights = [{"params": [*self.net.parameters()]}], [height]
        else:
            mine = [one for name, one in self.net.named_parameters() if name in of_style]
            others = [one for name, one in self.net.named_parameters() if name not in of_style]
            groups = [{"params": mine, "lr": lr * norms}, {"params": others}]
            heights = [height, lambda step: height(step) * rise(self.schedule.part(step), norms_first)]
        adam = torch.optim.Adam(groups, lr, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(adam, heights)
        self._rates = schedule.base_lrs
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """A resumed run with changed settings uses their learning rate instead of the checkpoint's."""
        if not self.goes_on_otherwise:
            return
        schedule: Any = self.trainer.lr_scheduler_configs[0].scheduler
        schedule.base_lrs = self._rates
        for group, rate, height in zip(schedule.optimizer.param_groups, self._rates, schedule.lr_lambdas, strict=True):
            group["initial_lr"], group["lr"] = rate, rate * height(schedule.last_epoch)

    def on_fit_start(self) -> None:
        """Measure what the loss is measured in, unless a resumed run has it already."""
        if bool(self.loss.get_buffer("is_calibrated")):
            return
        photos = self._photos()

        def seen(k: int) -> Tensor:
            rows, columns = photos.window(k)
            return photos.crops[k][:, rows, columns]

        log.info("calibrating the loss on %d crops", CALIBRATION_PHOTOS)
        with torch.autocast(self.device.type, enabled=False):
            self.loss.calibrate(self.prepare(seen(k)[None]) for k in range(CALIBRATION_PHOTOS))
        self.loss.load_state_dict(self.trainer.strategy.broadcast(self.loss.state_dict()))  # to the last digit

    def prepare(self, photos: Tensor) -> Tensor:
        """uint8 ``(b, 3, h, w)`` -> the same on the device in [0, 1]."""
        layout = torch.contiguous_format if self.device.type == "cuda" else torch.channels_last
        photos = photos.to(self.device, memory_format=layout, non_blocking=True)
        return photos.to(self._at_least_float()) / 255 if photos.dtype == torch.uint8 else photos

    def choose_styles(self, first: int, count: int) -> Tensor | None:
        """The style weights of samples, on the device, see :meth:`StyleSampler.weights`."""
        return self.sampler.weights(first, count, self.device, self._at_least_float())

    def samples(self, photos: list[Tensor]) -> list[list[Tensor]]:
        """The rows of a sheet: photos ``(1, 3, h, w)`` in [0, 1], and below them their stylizations."""
        return [photos, [self.net(photo, self.choose_styles(number, 1)) for number, photo in enumerate(photos)]]

    def _at_least_float(self) -> torch.dtype:
        return torch.promote_types(self.dtype, torch.float32)  # type: ignore[arg-type]

    def terms(
        self, content: Tensor, style: Tensor | None, window: Window | None = None, targets: Targets | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss for photos ``(b, 3, h, w)`` in [0, 1] and style weights ``(b, n_styles)``.

        ``targets``: of these styles; None for those that the loss knows by their weights. ``window``: the rows and
        columns that the loss looks at; None for all. Borders are the one place that a convolution recognises: a network
        that always sees them in its loss paints a frame of what the style lacks.
        """
        use_kernels = self.kernels is not None and self.net.training and not torch.compiler.is_compiling()
        net = self.kernels if use_kernels and self.kernels is not None else self.net
        if window is None:
            output = net(content, style)
        else:
            output = net(content, style, framed=False)  # the crop's margin is its frame
            content, output = (
                image.index_select(2, window[0]).index_select(3, window[1]) for image in (content, output)
            )
        return self.loss(output, content, self.loss.targets(style) if targets is None else targets)

    def inputs(self, batch: Any, first: int) -> tuple[Tensor, Tensor | None, Targets | None]:
        """Of a batch whose samples are numbered from ``first`` on: the photos in [0, 1], their styles, and the targets
        of these, see :meth:`terms`.
        """
        content = self.prepare(batch)
        return content, self.choose_styles(first, len(content)), None

    def window(self, k: int) -> Window | None:
        """The window of the loss in the batch that begins with sample ``k``: rows and columns as tensors, because plain
        numbers would be compiled again for each batch.
        """
        photos = self._photos()
        if not photos.margin:
            return None
        rows, columns = (torch.arange(part.start, part.stop, device=self.device) for part in photos.window(k))
        return rows, columns

    def compile_training(self) -> None:
        """Have the passes of the training steps compiled in the first of them (torch.compile); where that fails, they
        stay as they are. Validation has pictures of another size and is not compiled.
        """
        compiled = torch.compile(self.terms, dynamic=False)

        def first(*batch: Any) -> dict[str, Tensor]:
            began = time.monotonic()
            self.loss.require_calibration()  # now: to ask would cut what is compiled in two
            self.training_terms = compiled
            try:
                return compiled(*batch)
            except Exception as error:  # no C++ compiler, or one of the many things that ail it
                log.warning("compile=true does not work here, going on without: %s", one_line(error)[:200])
                self.training_terms = self.terms
                return self.terms(*batch)
            finally:
                log.info("compiling took %.0f s", time.monotonic() - began)

        self.training_terms = first

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        start = self._photos().sample(self.global_step)  # of all processes: they look through one window
        content, style, targets = self.inputs(batch, start + self.global_rank * self._photos().batch_size)
        self.last_batch = content, style, self.window(start), targets
        self.net.begin_noise_at(*self._photos().noise_place(start))
        terms = self.training_terms(*self.last_batch)
        self.last_terms = self._of_all({name: term.detach() for name, term in terms.items()})
        return torch.stack([*terms.values()]).sum()

    @torch.no_grad()
    def terms_after(self) -> dict[str, Tensor]:
        """The terms of the last step's batch with the weights as the step left them; empty before the first step."""
        if self.last_batch is None:
            return {}
        training = self.net.training
        self.net.train()  # a linear output is clamped in eval mode, where a validation may have left it
        with self.trainer.precision_plugin.forward_context():
            terms = self._of_all(self.terms(*self.last_batch))
        self.net.train(training)
        return terms

    def _photos(self) -> Photos:
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _of_all(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of the whole batch, the mean over the processes; a GPU is not waited for."""
        if self.trainer.world_size == 1:
            return terms
        values = torch.stack([*terms.values()])
        dist.all_reduce(values)
        return dict(zip(terms, values / self.trainer.world_size, strict=True))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        limit = gradient_clip_val or float("inf")
        self.last_norm = nn.utils.clip_grad_norm_(self.net.parameters(), limit)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        content, style, targets = self.inputs(batch, batch_idx * self._photos().batch_size)
        readings = self.loss.readings(self.terms(content, style, targets=targets))
        named = {f"val/{name}": value for name, value in readings.items()}
        self.log_dict(named, batch_size=len(content), sync_dist=True, logger=False)  # LogMetrics knows the right step

    def on_validation_epoch_end(self) -> None:
        self.validated_at = self.global_step

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(content, style)

    def info(self) -> dict[str, Any]:
        """What a style file says about itself; what the finished run adds is added by ``runs.train``."""
        loss: dict[str, Any] = dict(self.hparams["loss"])
        return {
            "format": checkpoint.FORMAT,
            "net": checkpoint.describe(self.net),
            "styles": [{**style, "image": Path(style["image"]).name} for style in self.styles],
            "loss": {**loss, "vgg_path": None},
            "calibration": self.loss.calibration(),
            "training": self._trained() | {"optimizer": dict(self.optimizer)},
            "versions": {
                "stylenet": __version__,
                "torch": str(torch.__version__),
                "pytorch_lightning": version("pytorch-lightning"),
                "python": platform.python_version(),
            },
            "licence": LICENCE,
        }

    def _trained(self) -> dict[str, Any]:
        """The length of the training. A run with a number of steps records no minutes: repeated, it must give the same
        file.
        """
        steps: dict[str, Any] = {"steps": self.global_step}
        if self.changes:
            steps["changes"] = self.changes
        if self.schedule.seconds is None:
            return steps
        return steps | {"minutes": round(self.schedule.spent / 60, 1)}

    def on_save_checkpoint(self, saved: dict[str, Any]) -> None:
        saved[checkpoint.KEY] = self.info()
        saved["settings"] = self.settings
        if self.schedule.seconds is not None:
            saved["schedule"] = self.schedule.state_dict()

    def on_load_checkpoint(self, saved: dict[str, Any]) -> None:
        if "schedule" in saved:
            self.schedule.load_state_dict(saved["schedule"])

    def start_from(self, ckpt: str) -> None:
        """Take the weights of another checkpoint. A style that it has by name starts as it is there, any other where
        the mean of its styles is. Where it has no noise, ADDED_NOISE is drawn.

        Raises UserError if its network is not of the same kind and size.
        """
        self._start_at(*load_as("init", ckpt), f"init={ckpt}")

    def _start_at(self, other: StyleNet, info: dict[str, Any], given: str) -> None:
        """:meth:`start_from` with what was read. ``given``: the option, as the user typed it."""
        mine = self.net.state_dict()
        added = torch.randn_like(mine["noise.weight"]) * ADDED_NOISE if "noise.weight" in mine else None
        state = {} if added is None else {"noise.weight": added}
        state |= other.state_dict()
        known = [style.get("name") for style in info.get("styles", [])]
        for key in of_styles(self.net) & other.state_dict().keys():
            value = state[key]
            if value.shape[1:] == mine[key].shape[1:]:
                rows = [value[known.index(name)] if name in known else value.mean(0) for name in self._names()]
                state[key] = torch.stack(rows)
        if state.keys() != mine.keys() or any(state[key].shape != mine[key].shape for key in mine):
            raise UserError(
                f"{given} holds the net {info['net']}, this run trains {checkpoint.describe(self.net)}: "
                f"give the same net=... and its arguments, or leave {given.partition('=')[0]}= out."
            )
        self.net.load_state_dict(state)

    def add_to(self, ckpt: str, start: bool = True) -> None:
        """Train styles that are added to the network of ``ckpt``: only norms and noise learn, what the styles share
        stays. ``start``: begin at the mean of its styles; a resumed run does not.

        Raises UserError if the network has a style of the same name, or is not of the same kind and size.
        """
        self.base = load_as("add", ckpt)
        taken = {style.get("name") for style in self.base[1].get("styles", [])}
        if again := [name for name in self._names() if name in taken]:
            raise UserError(
                f"add={ckpt} has a style {again[0]} already: "
                "give style=custom with style.custom.image= and another name=."
            )
        if start:
            self._start_at(*self.base, f"add={ckpt}")
        of_style = of_styles(self.net)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name in of_style)

    def finished(self, training: dict[str, Any]) -> tuple[StyleNet, dict[str, Any]]:
        """The network that the style file holds, and what the file says; of added styles, with those that were there
        before. ``training``: what is known of the training besides.
        """
        info = self.info()
        info["training"] |= training
        if self.base is None:
            return self.net, info
        net, all_info = joined(*self.base, self.net, info)
        all_info["training"] |= {UNFINISHED: True} if UNFINISHED in training else {}
        return net, all_info

    def _names(self) -> list[str]:
        return [style["name"] for style in self.styles]


def load_as(option: str, ckpt: str) -> tuple[StyleNet, dict[str, Any]]:
    """:func:`stylenet.nets.checkpoint.load`, whose mistakes name this option."""
    try:
        return checkpoint.load(ckpt)
    except UserError as error:
        raise UserError(str(error).replace("ckpt=", f"{option}=", 1)) from error


def check(name: str, value: Any, least: float, most: float = float("inf"), whole: bool = False) -> None:
    """Raise UserError unless ``value`` is a number from ``least`` to ``most``, a whole one if so asked."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        limits = f"from {least} to {most}" if most < float("inf") else f"of {least} or more"
        raise UserError(f"{name}={value}: give a {'whole ' * whole}number {limits}.")


def _paintings(styles: Sequence[dict[str, Any]], colors: Callable[[], Colors] | None) -> list[Image.Image]:
    matched = [style.get("color", "style") for style in styles]
    for color in matched:
        if color not in ("style", "match"):
            raise UserError(f"style.color={color}: give style (the painting's) or match (the training photos').")
    pictures = [open_painting(style["image"], style["size"]) for style in styles]
    if "match" not in matched or colors is None:
        return pictures
    found = colors()
    return [in_colors(one, found) if color == "match" else one for one, color in zip(pictures, matched, strict=True)]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
