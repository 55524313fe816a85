"""A loaded style: image in, image out. :mod:`stylenet.files.stylize_files` works on files.

Knows nothing about training, losses or VGG, and imports neither Lightning, Hydra nor W&B.
"""

import copy
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.images import image_io
from stylenet.images.safe_open import allowed
from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet, as_style_net
from stylenet.nets.catalog import is_for_photos
from stylenet.nets.regions import Regions
from stylenet.runtime import backends, tiling
from stylenet.runtime.options import Device, Runtime, choose_device
from stylenet.runtime.scratch import Scratch
from stylenet.stylizing import style_pictures, wraps
from stylenet.stylizing.areas import Areas, areas, covered
from stylenet.stylizing.containers import ImageStylizer, Progress, Style
from stylenet.stylizing.controls import Controls, MaskedStylizer, styles_and_masks
from stylenet.stylizing.found_masks import OpenMask
from stylenet.system import forked
from stylenet.system.errors import UserError
from stylenet.system.memory import free_memory

# Fractions of the free memory: for a pass over a whole picture, and for the features of a pass in strips.
WHOLE, KEPT = 1 / 2, 1 / 8
MOST_KEPT = 2**30  # bytes: further features go to files, so memory is bounded for any picture size

# Pixels per batch: small pictures are faster in a batch, as they share the overhead of each operation.
BATCH_PIXELS = {"cpu": 2**16, "cuda": 2**21}
MAX_BATCH = 16


def load(
    ckpt: str | Path | Sequence[str | Path], controls: Controls | None = None, runtime: Runtime | None = None
) -> "Stylizer | MaskedStylizer":
    """Load a style by its name or file; or several, with a mask each.

    ``controls``, ``runtime``: None for the defaults. Raises UserError if a style does not exist, a file cannot be used,
    masks do not match the styles, or the device or backend is not available.
    """
    controls, runtime = controls or Controls(), runtime or Runtime()
    with allowed(runtime.megapixels):
        styles, masks = styles_and_masks(ckpt, controls)
        controls = controls.opened()
    return load_each(styles, masks, runtime, controls)


def load_each(
    styles: Sequence[str | Path], masks: Sequence[OpenMask], runtime: Runtime, controls: Controls
) -> "Stylizer | MaskedStylizer":
    """As :func:`load`, with the results of :func:`stylenet.stylizing.controls.styles_and_masks`, and ``controls`` whose
    pictures are opened.
    """
    drawn = [mask for mask in masks if isinstance(mask, Image.Image)]  # one pass needs them before there is a photo
    if len(drawn) == len(masks) > 1 and runtime.backend in ("auto", "torch"):
        one = _the_only(styles, runtime, controls.wrap)
        if one:
            return _in_one_pass(one, styles, drawn, controls)
    loaded: dict[str, Stylizer] = {}
    each = []
    for number, style in enumerate(styles):
        one = controls.of_one(number)
        known = loaded.get(str(style))
        loaded[str(style)] = known.restyled(one) if known else load_one(style, one, runtime)
        each.append(loaded[str(style)])
    if controls.style is not None and not any(one.net.any_style for one in each):
        raise UserError(_no_any_style(", ".join(map(str, styles))))
    return MaskedStylizer(each, masks, runtime.megapixels) if masks else each[0]


def _the_only(styles: Sequence[str | Path], runtime: Runtime, wrap: str | None) -> "Stylizer | None":
    """The network of all these styles, if it is one that knows several."""
    file, *others = dict.fromkeys(checkpoint.split(style)[0] for style in styles)
    one = None if others else load_one(file, Controls(wrap=wrap), replace(runtime, backend="torch"))
    return one if one and one.net.n_styles > 1 else None


def _in_one_pass(
    one: "Stylizer", styles: Sequence[str | Path], masks: Sequence[Image.Image], controls: Controls
) -> "Stylizer | MaskedStylizer":
    """The styles of one network in their masks. ``one``: the network, with any style."""
    each = [controls.of_one(number) for number in range(len(styles))]
    named = [checkpoint.split(style)[1] for style in styles]
    parts = [
        one.restyled(replace(its, mix=name or its.mix, style=None if name else its.style))
        for its, name in zip(each, named, strict=True)
    ]
    return one.in_areas(parts, masks)


def load_one(ckpt: str | Path, controls: Controls, runtime: Runtime) -> "Stylizer":
    """As :func:`load`, for one style; the masks of ``controls`` are ignored."""
    device = choose_device(runtime.device)
    backends.choose(device, runtime.backend, runtime.precision)  # report what is missing before reading
    net, info = checkpoint.load(ckpt, device)
    if is_for_photos(info):
        raise UserError(
            f"ckpt={ckpt} holds no style. It is for stylenet photo content=photo.jpg style=other_photo.jpg."
        )
    net = _wrapped(net, controls.axes)
    run = backends.start(net, device, runtime.backend, runtime.precision)
    if not net.any_style:
        controls = replace(controls, style=None)  # load_each refuses it if no network takes one
    stylizer = Stylizer(net, info, device, checkpoint.called(ckpt), controls, runtime, run)
    stylizer.asked = str(runtime.device), runtime.backend, runtime.precision
    return stylizer


class Stylizer(ImageStylizer):
    """A network that stylizes any image container, see :class:`stylenet.stylizing.containers.ImageStylizer`.

    ``net``: a :class:`stylenet.nets.base.StyleNet`, or any module ``net(content, style)`` with one style.
    ``run``: the backend for whole pictures, see :mod:`stylenet.runtime.backends`; None for ``net`` itself.
    ``controls``: applied to the results; its ``mix`` is the default style. None for no changes, and the first style.
    ``runtime``: how to process pictures in strips; None for the defaults.

    It can be copied and pickled. The copy starts its backend anew, with the device and backend given to :func:`load`,
    "auto" included, and raises UserError if they are not available. In a forked process it continues in one thread;
    see docs/processes.md.
    """

    asked: tuple[str, str, str] | None = None
    """The device, backend and precision given to :func:`load`."""

    def __init__(
        self,
        net: nn.Module,
        info: dict[str, Any],
        device: Device = "cpu",
        name: str = "stylized",
        controls: Controls | None = None,
        runtime: Runtime | None = None,
        run: backends.Run | None = None,
    ):
        controls, runtime = controls or Controls(), runtime or Runtime()
        self.controls = replace(controls, mask=None, mask_invert=False, mix=None, style=None)  # of the pictures alone
        self.tile, self.scratch, self.megapixels = runtime.tile, runtime.scratch, runtime.megapixels
        mix = controls.mix
        self.device = torch.device(device)
        self.net = as_style_net(net).to(self.device).eval()
        self.run = run or self.net
        self.info = info
        self.styles = [one.get("name") for one in info.get("styles") or []]
        self.mix: Style = None
        self.own = 0.0  # how much of the style is the photo's own
        self.areas: Areas | None = None
        self._in_areas: Any = None  # the pass that knows areas
        if controls.style is not None and not self.net.any_style:
            raise UserError(_no_any_style(name))
        if controls.style is not None:
            self.mix, self.own, name = self._painted(controls.of_one(0).style)
        else:
            chosen = mix if isinstance(mix, str) else self.styles[0] if len(self.styles) == 1 else None
            name = chosen or name
            self.mix = self._weights(mix, 1, "mix") if mix is not None else None
        self.name = _plain(name)
        self._start_backend()

    def with_controls(self, controls: Controls, masks: Sequence[OpenMask] = ()) -> "Stylizer | MaskedStylizer":
        """The same network and backend with other controls. ``masks``: those of ``controls``, opened."""
        one = self.restyled(controls)
        return MaskedStylizer([one], masks, self.megapixels) if masks else one

    def restyled(self, controls: Controls) -> "Stylizer":
        """The same network and backend with other controls, whose masks are ignored."""
        runtime = Runtime(self.device, tile=self.tile, scratch=self.scratch, megapixels=self.megapixels)
        net, run = self.net, self.run
        if controls.axes != net.wrap:
            net = _wrapped(net, controls.axes)
            run = backends.start(net, self.device, *self.asked[1:]) if self.asked else None
        one = Stylizer(net, self.info, self.device, self.name, controls, runtime, run)
        one.asked = self.asked
        return one

    def in_areas(self, parts: Sequence["Stylizer"], masks: Sequence[Image.Image]) -> "Stylizer | MaskedStylizer":
        """The same network with the styles of ``parts``, which share it and other controls, each in its mask, see
        :mod:`stylenet.stylizing.areas`. The rest is the photo.
        """
        one = self.restyled(parts[0].controls)
        one.name = "+".join(dict.fromkeys(part.name for part in parts))
        if any(part.own for part in parts):
            raise UserError("style=: masks need the styles of pictures, not that of the photo.")
        one.areas = areas(torch.cat([part.own_weights() for part in parts]), masks)
        cover = covered(masks)
        return one if cover is None else MaskedStylizer([one], [cover], self.megapixels)

    def mixed(self, mix: Style) -> "Stylizer":
        """The same with another ``mix``, see :class:`stylenet.stylizing.controls.Controls`."""
        return self.restyled(replace(self.controls, mix=mix))

    def own_weights(self) -> Tensor:
        """The weights ``(1, n_styles)`` of the style that is used where no other is asked for."""
        first = torch.eye(self.net.n_styles, device=self.device)[:1]
        weights = self._weights(None, 1)
        return first if weights is None else weights

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_in_areas"] = None
        on_cpu = self.net if self.device.type == "cpu" else copy.deepcopy(self.net).cpu()
        # Bytes, as multiprocessing puts tensors into shared memory, which may be small and ends with this process.
        state["net"] = pickle.dumps(on_cpu)
        state["mix"] = self.mix.tolist() if isinstance(self.mix, Tensor) else self.mix
        if self.asked or self.run is self.net:
            state.pop("run")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.asked:
            self.device = choose_device(self.asked[0])
        self.net = pickle.loads(state["net"]).to(self.device)
        mix, self.mix = self.mix, None
        self.mix = self._weights(mix, 1, "mix")
        self._start_backend()

    def _start_backend(self) -> None:
        """Start the backend, unless it runs, and record the current process."""
        forked.use()
        self._copies = forked.copies()
        if self.asked and "run" not in self.__dict__:
            self.run = backends.start(self.net, self.device, *self.asked[1:])
        self.__dict__.setdefault("run", self.net)

    def _restart_after_fork(self) -> None:
        """In a forked process, replace the backend."""
        if self._copies == forked.copies():
            return
        if self.asked:
            self.asked = self.asked[0], "torch", self.asked[2]
            self.run = backends.start(self.net, self.device, *self.asked[1:])
        self._start_backend()

    def stylize_arrays(
        self, photos: Sequence[np.ndarray], style: Style, progress: Progress | None = None
    ) -> list[np.ndarray]:
        inputs = [self.controls.before(photo) for photo in photos]
        made = self._levels([self._fitted(one) for one in inputs], style, progress)
        made = [wraps.resized(one, before.shape[:2], self.net.wrap) for one, before in zip(made, inputs, strict=True)]
        return [self.controls.after(*three) for three in zip(photos, inputs, made, strict=True)]

    def stylize_tensor(self, photos: Tensor, style: Style) -> Tensor:
        inputs = self.controls.before_tensor(photos)
        size = wraps.sides(inputs.shape[2:], self.net.wrap, self.net.multiple)
        made = self._tensor(wraps.resized_tensor(inputs, size, self.net.wrap), style)
        return self.controls.after_tensor(photos, inputs, wraps.resized_tensor(made, inputs.shape[2:], self.net.wrap))

    def _fitted(self, photo: np.ndarray) -> np.ndarray:
        """A photo at a size at which the network can wrap it."""
        size = wraps.sides(photo.shape[:2], self.net.wrap, self.net.multiple)
        return wraps.resized(photo, size, self.net.wrap)

    def batch_size(self, height: int, width: int) -> int:
        most = BATCH_PIXELS.get(self.device.type, 0) if self.tile in ("auto", "off") else 0
        height, width = self.controls.sides(height, width)
        return max(1, min(MAX_BATCH, most // (height * width)))

    def _levels(self, photos: Sequence[np.ndarray], style: Style, progress: Progress | None) -> list[np.ndarray]:
        """Stylize (h, w, 3) of uint8 or uint16 to the same type; in strips, without a float copy."""
        weights, size, levels = self._style(style, photos), photos[0].shape[:2], photos[0].dtype.type

        def whole() -> list[np.ndarray]:
            image = torch.cat([image_io.to_tensor(photo) for photo in photos])
            return [image_io.to_array(made, levels) for made in self._whole(image, weights).split(1)]

        def strips() -> list[np.ndarray]:
            stylized = [np.empty(photo.shape, levels) for photo in photos]
            for index, (photo, result) in enumerate(zip(photos, stylized, strict=True)):

                def read(top: int, bottom: int, photo: np.ndarray = photo) -> Tensor:
                    return image_io.to_tensor(photo[top:bottom]).to(self.device)

                def write(top: int, rows: Tensor, result: np.ndarray = result) -> None:
                    result[top : top + rows.shape[2]] = image_io.to_array(rows, levels)

                self._strips(size, read, write, _row(weights, index), progress)
            return stylized

        return self._whole_or_in_strips(size, len(photos), whole, strips)

    def _tensor(self, image: Tensor, style: Style) -> Tensor:
        """Stylize (b, 3, h, w) to float32, on the network's device, or on the CPU if processed in strips."""
        weights, size = self._style(style, image.split(1)), image.shape[2:]

        def strips() -> Tensor:
            stylized = torch.empty(image.shape)
            for index in range(len(image)):

                def read(top: int, bottom: int, picture: Tensor = image[index : index + 1]) -> Tensor:
                    return picture[:, :, top:bottom].to(self.device, torch.float32)

                def write(top: int, rows: Tensor, result: Tensor = stylized[index]) -> None:
                    result[:, top : top + rows.shape[2]] = rows[0]

                self._strips(size, read, write, _row(weights, index))
            return stylized

        return self._whole_or_in_strips(size, len(image), lambda: self._whole(image, weights), strips)

    def _whole_or_in_strips(
        self, size: Sequence[int], count: int, whole: Callable[[], Any], strips: Callable[[], Any]
    ) -> Any:
        """Call ``whole`` or ``strips`` for ``count`` pictures (h, w), as ``tile`` and the free memory require."""
        self._restart_after_fork()
        height, width = size
        tiled = self._tiled(height, width, count)
        attempts = [strips] if tiled else [whole, strips] if self.tile == "auto" else [whole]
        for attempt in attempts:
            try:
                return attempt()
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
        # Outside the handler, so that the traceback no longer references the large tensors.
        raise UserError(f"Not enough memory on {self.device} for {width}x{height} pixels: give a smaller size=.")

    def _tiled(self, height: int, width: int, count: int) -> bool:
        """Whether to use strips. On a CPU this is decided beforehand, as Linux kills a process out of memory. Raises
        UserError if memory is insufficient and ``tile`` is off.
        """
        if self.tile not in ("auto", "off"):
            return True
        free = free_memory() if self.device.type == "cpu" else None
        if free is None or self.net.bytes_per_pixel is None:
            return False
        needed = height * width * count * self.net.bytes_per_pixel
        if self.tile == "off" and needed > free:
            fitting = int(max(height, width) * (free / needed) ** 0.5)
            raise UserError(
                f"Not enough memory for {width}x{height} pixels without strips: it takes {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free. Give tile=auto, or size={fitting} or less."
            )
        return self.tile == "auto" and needed > free * WHOLE

    @torch.inference_mode()
    def _whole(self, image: Tensor, weights: Tensor | Regions | None) -> Tensor:
        image = image.to(self.device, torch.float32)
        if not isinstance(weights, Regions):
            return self.run(image, weights)
        if self._in_areas is None:  # graphs and kernels know weights alone
            mine = isinstance(self.run, backends.TorchBackend) and self.run.half is None
            self._in_areas = self.run if mine else backends.TorchBackend(self.net, self.device, "fp32")
        return self._in_areas(image, weights)

    def _strips(
        self,
        size: Sequence[int],
        read: Callable[[int, int], Tensor],
        write: Callable[[int, Tensor], None],
        weights: Tensor | Regions | None,
        progress: Progress | None = None,
    ) -> None:
        height, width = size
        rows = None if self.tile in ("auto", "off") else int(self.tile)
        with Scratch(self.scratch, min(MOST_KEPT, int((free_memory() or 0) * KEPT))) as scratch:
            tiling.in_strips(self.net, (height, width), read, write, scratch, weights, rows, progress)

    def _painted(self, style: Any) -> tuple[Tensor, float, str]:
        """The style of a picture or several, how much of it is the photo's own and missing there, and its name."""
        with allowed(self.megapixels):
            pictures = style_pictures.opened(style)
        weights = style_pictures.weights_of(self.net, pictures, self.device)
        return weights, style_pictures.own_share(pictures), style_pictures.name_of(pictures)

    def require_style(self) -> None:
        """Raise UserError if the network paints in any style, and none was chosen."""
        if self.net.any_style and self.mix is None and self.areas is None:
            raise UserError(f"{self.name} paints in the style of any picture: give one, such as style=painting.jpg.")

    def _style(self, style: Any, photos: Sequence[Tensor | np.ndarray]) -> Tensor | Regions | None:
        """The weights of each of these photos, (1, 3, h, w) or (h, w, 3), or the regions of all."""
        own = self.own
        if style is None and self.areas is not None:
            height, width = photos[0].shape[:2] if isinstance(photos[0], np.ndarray) else photos[0].shape[2:]
            return self.areas.of(height, width, self.device)
        if style is not None and self.net.any_style and not _numbers(style):
            style, own, _ = self._painted(style)
        elif style is not None:
            own = 0.0
        weights = self._weights(style, len(photos))
        if not own:
            return weights
        tensors = [image_io.to_tensor(one) if isinstance(one, np.ndarray) else one for one in photos]
        each = [style_pictures.own_style(self.net, one.to(self.device, torch.float32)) for one in tensors]
        assert weights is not None
        return weights + own * torch.cat(each)

    def _weights(self, style: Any, count: int, option: str = "style") -> Tensor | None:
        style = self.mix if style is None else style
        if style is None:
            self.require_style()
            return None
        if self.net.any_style and option == "mix":
            raise UserError(f"mix={style!r:.80} is for a network with several styles: give style=painting.jpg.")
        if self.net.any_style and not _numbers(style):
            style, _, _ = self._painted(style)
        if isinstance(style, str) and style not in self.styles:
            style = self._shared(style)
        n_styles = self.net.n_styles
        names = self.styles[:n_styles]
        given = str(style) if isinstance(style, str) else repr(style)[:80]
        allowed = f"give {n_styles} weights" + (f", or a name: {', '.join(map(str, names))}" if any(names) else "")
        if isinstance(style, str) and style in names:
            style = [float(name == style) for name in names]
        try:
            weights = torch.as_tensor(style, dtype=torch.float32, device=self.device)
            right = bool(weights.isfinite().all())
        except (TypeError, ValueError, RuntimeError):
            right = False
        if not right:
            raise UserError(f"{option}={given}: there is no such style in this checkpoint; {allowed}.")
        if tuple(weights.shape) not in [(n_styles,), (1, n_styles), (count, n_styles)]:
            raise UserError(f"{option}={given} has shape {tuple(weights.shape)}; {allowed}, or weights for each image.")
        return weights.expand(count, n_styles)

    def _shared(self, text: str) -> str | list[float]:
        """The weights of a text such as ``udnie:0.6,sunflowers:0.4``; any other text as it is."""
        try:
            parts = dict(style_pictures.shares(text))
        except ValueError:
            return text
        return [parts.get(name, 0.0) for name in self.styles] if parts.keys() <= {*self.styles} else text


def _wrapped(net: StyleNet, axes: str) -> StyleNet:
    if axes == net.wrap:
        return net
    try:
        return net.wrapped(axes)
    except ValueError:
        raise UserError("wrap= is for networks of stylenet: other makers' borders are in their files.") from None


def _numbers(style: Any) -> bool:
    return isinstance(style, Tensor | np.ndarray) or (isinstance(style, Sequence) and not isinstance(style, str))


def _no_any_style(ckpt: str) -> str:
    return (
        f"style= is for networks that paint in any style, and ckpt={ckpt} has its own: leave style= out, or ckpt=any."
    )


def _row(weights: Tensor | Regions | None, index: int) -> Tensor | Regions | None:
    return weights[index : index + 1] if isinstance(weights, Tensor) else weights


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _plain(name: str) -> str:
    """A style's name made safe for file names: a checkpoint must not choose another folder."""
    return re.sub(r"[^\w.+-]+", "_", str(name)).strip("._") or "stylized"
