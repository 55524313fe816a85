"""The losses of a stylized picture: content, Gram style, total variation, range and repetition; and the calibration of
these terms.

vgg.py computes the features, repetition.py finds what repeats. Knows nothing about networks, Lightning or files.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from stylenet.losses.repetition import REACH, TILE, allowance, flatter, repeats, repetition
from stylenet.losses.vgg import VGG
from stylenet.system.errors import UserError

SCALES = ("calibrated", "johnson", "pytorch_examples", "gatys")


def gram(features: Tensor) -> Tensor:
    """Gram matrices ``F F^T / (c h w)`` of features ``(b, c, h, w)``: ``(b, c, c)``, always in float32 (Johnson 2016,
    eq. 3).

    Sums of squares of VGG features overflow half precision, so autocast is off in here.
    """
    return cast(Tensor, _Gram.apply(features))


class _Gram(torch.autograd.Function):
    """With a gradient of its own: autograd does not see that a Gram matrix is symmetric, and multiplies twice."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        with torch.autocast(features.device.type, enabled=False):
            if features.device.type == "cuda" and features.dtype in (torch.bfloat16, torch.float16):
                return products(features.flatten(2).mT) / features[0].numel()
            flat = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)
            return flat @ flat.mT / features[0].numel()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        # d G / d F: (grad + grad^T) F, here for the rows of F^T, which is how channels-last features lie in memory
        symmetric = (grad + grad.mT).div_(features[0].numel()).to(features.dtype)
        flat = features.flatten(2)
        if flat.is_contiguous():
            return (symmetric @ flat).view_as(features)
        return (flat.mT @ symmetric).mT.unflatten(2, features.shape[2:])


PARTS = 16


def products(places: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """``X^T X`` in ``dtype`` of half-precision ``(b, n, c)``: ``(b, c, c)``. For the tensor cores of a GPU, which
    multiply such numbers without rounding and add up in float32.

    The sums are taken in parts: a matrix of 64 x 64 alone, with 65,536 places to sum over, keeps few of its processors
    busy.
    """
    b, n, c = places.shape
    parts = next(parts for parts in (PARTS, 8, 4, 2, 1) if n % parts == 0)
    split = places.reshape(b * parts, n // parts, c)
    if places.device.type == "cuda":
        sums = torch.bmm(split.mT, split, out_dtype=dtype)
    else:
        sums = torch.bmm(split.to(dtype).mT, split.to(dtype))
    return sums.view(b, parts, c, c).sum(1)


def style_distance(grams: Tensor, targets: Tensor) -> Tensor:
    """``||G - A||_F^2`` of each picture: ``(b, c, c)``, ``(b or 1, c, c)`` -> ``(b,)`` (Johnson 2016, eq. 4)."""
    return (grams - targets).square().sum((1, 2))


def _squares(grams: Tensor) -> Tensor:
    return grams.square().sum((1, 2))


def content_distance(features: Tensor, targets: Tensor) -> Tensor:
    """``||F - P||^2 / (c h w)`` of each picture, in float32: two ``(b, c, h, w)`` -> ``(b,)`` (Johnson 2016, eq. 2)."""
    return (features.float() - targets.float()).square().mean((1, 2, 3))


def tv(image: Tensor) -> Tensor:
    """Total variation: squared differences of neighbours, summed over a picture and averaged over the batch, ``(b, 3,
    h, w)`` -> ``()``.

    Mahendran & Vedaldi 2015, eq. 7 with beta = 2.
    """
    return (image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum()) / len(image)


def out_of_range(image: Tensor) -> Tensor:
    """Mean squared distance of the pixels ``(b, 3, h, w)`` to the range [0, 1]: ``()``."""
    return (image - image.clamp(0, 1)).square().mean()


@torch.no_grad()
def _allowances(paintings: Tensor) -> Tensor:
    """:func:`allowance` of paintings ``(b, 3, h, w)`` in [0, 1]; nothing repeats itself in one of less than a tile."""
    if min(paintings.shape[-2:]) < TILE:
        return paintings.new_zeros(len(paintings), 2 * REACH + 1, 2 * REACH + 1)
    with torch.autocast(paintings.device.type, enabled=False):
        return allowance(paintings)


class Targets(NamedTuple):
    """The styles of the pictures of one batch, by style layer. One row serves all pictures of the batch."""

    grams: dict[str, Tensor]
    """The Gram matrices ``(b or 1, c, c)`` that the pictures are compared with, in float32."""
    references: dict[str, Tensor]
    """What the distances to these Grams are divided by, ``(b or 1,)``; 1 without a calibration."""
    repeats: Tensor | None = None
    """What may repeat itself in this style, ``(b or 1, 49, 49)``; None without a ``repeat_weight``."""


class PerceptualLoss(nn.Module):
    """``loss(output, content, targets=None) -> {name: weighted term}``. Training minimises the sum of the terms.

    ``output``, ``content``: ``(b, 3, h, w)`` in [0, 1]. ``targets``: the styles of these pictures, from
    :meth:`targets`; None for the first style.

    ``styles``: one image ``(1, 3, h, w)`` for each style, of any size; none if each batch brings its own paintings, see
    :meth:`targets_of`. ``style_layers`` and ``content_layers``: the
    weight of each layer by name. ``scale``: the unit of the terms:

    - "calibrated": style layers are divided by the score of unstylized photos against this style, content layers by
      the distance of two different photos. So style 1.0 is an untouched photo and content 1.0 an unrelated one, for
      any style, layers and size. The layers are averaged by their weights. Needs :meth:`calibrate` once, or a loaded
      ``state_dict`` with the measured references; raises UserError before.
    - "johnson": eq. 2-4 of Johnson et al. 2016, summed over the layers.
    - "pytorch_examples": the same with the Gram differences *averaged* over their c x c entries, as pytorch/examples
      does.
    - "gatys": eq. 1 and 4 of Gatys et al. 2016: ``1/2 sum (F - P)^2`` and ``E_l = 1 / (4 N^2 M^2) sum (G - A)^2`` with
      ``G = F F^T``, N channels and M places, averaged over the layers by their weights (there 1/5). Where painting
      and picture differ in size, each G is taken over its own M. ``content_weight`` is alpha, ``style_weight`` beta.

    ``repeat_weight``: of the term "repeat", which has a unit of its own in every scale: what repeats itself at up to 24
    px in ``output`` where ``content`` is flat, and does so neither there nor in places of the painting, see
    ``stylenet.losses.repetition``. A Gram matrix is a sum over all places, and hardly sees a pattern where the contrast
    is low; the eye sees it first there. Pictures of less than 64 px a side have no such term.

    The Grams are buffers outside of ``state_dict``. The measured references are inside, so that a resumed training
    continues in the same units.
    """

    def __init__(
        self,
        styles: Iterable[Tensor],
        scale: str,
        style_layers: Mapping[str, float],
        content_layers: Mapping[str, float],
        style_weight: float,
        content_weight: float,
        tv_weight: float = 0.0,
        range_weight: float = 0.0,
        repeat_weight: float = 0.0,
        vgg: str = "vgg16",
        vgg_path: str | None = None,
        pooling: str = "max",
    ):
        super().__init__()
        if scale not in SCALES:
            raise UserError(f"loss.scale={scale}: no such scale. Allowed: {', '.join(SCALES)}.")
        self.scale = scale
        self.style_layers, self.content_layers = dict(style_layers), dict(content_layers)
        self.weights = {"style": style_weight, "content": content_weight, "tv": tv_weight, "range": range_weight}
        self.weights["repeat"] = repeat_weight
        self.vgg = VGG([*style_layers, *content_layers], vgg, vgg_path, pooling)
        styles = [*styles]
        targets = self._grams(styles)
        for layer in self.style_layers:
            if not targets:
                channels = len(self.vgg.get_buffer(f"{layer.replace('relu', 'conv')}_bias"))
                self._keep(f"photo_gram_{layer}", torch.zeros(channels, channels))
                self._keep(f"photo_square_{layer}", torch.ones(()))
                continue
            self._keep(f"target_{layer}", torch.cat([each[layer] for each in targets]), persistent=False)
            self._keep(f"style_reference_{layer}", torch.ones(len(targets)))
        self.any_style = not targets
        if repeat_weight and targets:
            self._keep("repeats", torch.cat([_allowances(style) for style in styles]), persistent=False)
        for layer in self.content_layers:
            self._keep(f"content_reference_{layer}", torch.ones(()))
        self._keep("is_calibrated", torch.tensor(scale != "calibrated"))
        self._ready = False

    def _keep(self, name: str, value: Tensor, persistent: bool = True) -> None:
        self.register_buffer(name, value, persistent=persistent)

    @torch.no_grad()
    def _grams(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Those of the paintings, on a GPU where there is one: sixteen of 1,024 px take a processor a minute."""
        home = images[0].device if images else torch.device("cpu")
        device = torch.device("cuda") if torch.cuda.is_available() and home.type == "cpu" else home
        self.vgg.to(device)
        found = []
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for image in images:
                features = self.vgg(image.to(device), self.style_layers)
                found.append({layer: gram(features[layer]).to(home) for layer in self.style_layers})
        self.vgg.to(home)
        return found

    @torch.no_grad()
    def calibrate(self, photos: Iterable[Tensor]) -> None:
        """Measure the references on photos ``(b, 3, h, w)`` in [0, 1], all of one size, two or more in all. Their order
        counts: neighbours are compared.

        Raises UserError where a reference cannot be measured or is 0: one photo, or photos that do not differ.
        """
        style: dict[str, list[Tensor]] = {x: [] for x in self.style_layers}
        content: dict[str, list[Tensor]] = {x: [] for x in self.content_layers}
        last: dict[str, Tensor] = {}
        for photo in (p for batch in photos for p in batch.split(1)):
            features = self.vgg(photo)
            for layer, seen in style.items():
                grams = gram(features[layer])
                seen.append(grams if self.any_style else style_distance(grams, self.get_buffer(f"target_{layer}")))
            for layer, seen in content.items():
                if last:
                    seen.append(content_distance(features[layer], last[layer]))
            last = features
        if self.any_style:
            measured = {f"photo_gram_{x}": torch.cat(seen).mean(0) for x, seen in style.items() if seen}
            measured |= {f"photo_square_{x}": _squares(torch.cat(seen)).mean() for x, seen in style.items() if seen}
        else:
            measured = {f"style_reference_{x}": torch.stack(seen).mean(0) for x, seen in style.items() if seen}
        measured |= {f"content_reference_{x}": torch.cat(seen).mean() for x, seen in content.items() if seen}
        references = [value for name, value in measured.items() if not name.startswith("photo_gram")]
        if len(references) < len(style) + len(content) or not all((value > 0).all() for value in references):
            raise UserError("calibration needs at least 2 different photos; add photos to the training folder.")
        for name, value in measured.items():
            self.get_buffer(name).copy_(value)
        self.get_buffer("is_calibrated").fill_(True)

    def calibration(self) -> dict[str, Any]:
        """The measured references as plain data, for the checkpoint."""
        names = [name for name, _ in self.named_buffers() if "_reference_" in name]
        return {name: self.get_buffer(name).tolist() for name in names} if self.scale == "calibrated" else {}

    def targets(self, style: Tensor | None = None) -> Targets:
        """The targets of a batch. ``style``: weights ``(b, n_styles)``, which mix the Grams and the references of the
        styles; None for the first style.
        """
        grams = {layer: self.get_buffer(f"target_{layer}") for layer in self.style_layers}
        references = {layer: self.get_buffer(f"style_reference_{layer}") for layer in self.style_layers}
        repeated = self.get_buffer("repeats") if self.weights["repeat"] else None
        if style is None:
            return Targets(
                {layer: each[:1] for layer, each in grams.items()},
                {layer: each[:1] for layer, each in references.items()},
                None if repeated is None else repeated[:1],
            )
        with torch.autocast(style.device.type, enabled=False):  # it would round the targets to half precision
            return Targets(
                {layer: torch.einsum("bn,ncd->bcd", style, each) for layer, each in grams.items()},
                {layer: style @ each for layer, each in references.items()},
                None if repeated is None else torch.einsum("bn,nyx->byx", style, repeated),
            )

    @torch.no_grad()
    def targets_of(self, paintings: Tensor, features: Mapping[str, Tensor] | None = None) -> Targets:
        """The targets of a batch whose pictures have a painting each, ``(b, 3, h, w)`` in [0, 1]. ``features``: what
        ``vgg`` sees of these, if that is known.

        A reference is the mean distance of the calibration photos to a painting's Gram matrix A, as for a style that is
        known beforehand. The photos are not needed for it, only two moments of their Gram matrices P:
        ``E ||P - A||^2 = E ||P||^2 - 2 <E P, A> + ||A||^2``.
        """
        seen = self.vgg(paintings, self.style_layers) if features is None else features
        grams = {layer: gram(seen[layer]) for layer in self.style_layers}
        repeated = _allowances(paintings) if self.weights["repeat"] else None
        if self.scale != "calibrated":
            return Targets(
                grams, {layer: torch.ones(len(paintings), device=paintings.device) for layer in grams}, repeated
            )
        references = {}
        with torch.autocast(paintings.device.type, enabled=False):
            for layer, each in grams.items():
                common = (each * self.get_buffer(f"photo_gram_{layer}")).sum((1, 2))
                references[layer] = self.get_buffer(f"photo_square_{layer}") - 2 * common + _squares(each)
        return Targets(grams, references, repeated)

    def _layer_weights(self, layers: dict[str, float]) -> dict[str, float]:
        total = sum(layers.values()) if self.scale in ("calibrated", "gatys") else 1.0
        return {layer: weight / (total or 1.0) for layer, weight in layers.items()}

    def _style(self, layer: str, features: Tensor, targets: Targets) -> Tensor:
        distance = style_distance(gram(features), targets.grams[layer]) / targets.references[layer]
        divisor = {"pytorch_examples": targets.grams[layer][0].numel(), "gatys": 4}.get(self.scale, 1)
        return (distance / divisor).mean()

    def _content(self, layer: str, features: Tensor, wanted: Tensor) -> Tensor:
        distance = content_distance(features, wanted).mean() / self.get_buffer(f"content_reference_{layer}")
        return distance * (features[0].numel() / 2) if self.scale == "gatys" else distance

    def _repeat(self, content: Tensor, targets: Targets) -> Callable[[Tensor], Tensor]:
        """The term "repeat" as a function of the output."""
        assert targets.repeats is not None
        with torch.no_grad(), torch.autocast(content.device.type, enabled=False):
            chosen = flatter(content)
            allowed = torch.maximum(targets.repeats, repeats(content, chosen))

        def term(output: Tensor) -> Tensor:
            with torch.autocast(output.device.type, enabled=False):
                return self.weights["repeat"] * repetition(repeats(output, chosen), allowed).mean()

        return term

    def require_calibration(self) -> None:
        """Raise UserError where the scale wants references and none were measured. A GPU is waited for only once."""
        self._ready = self._ready or bool(self.get_buffer("is_calibrated"))
        if not self._ready:
            raise UserError("loss.scale=calibrated has measured nothing yet: call calibrate() with photos first.")

    def forward(self, output: Tensor, content: Tensor, targets: Targets | None = None) -> dict[str, Tensor]:
        return self.against(content, targets)(output)

    def against(self, content: Tensor, targets: Targets | None = None) -> Callable[[Tensor], dict[str, Tensor]]:
        """The loss as a function of ``output`` alone. The features of ``content`` are computed once, here."""
        self.require_calibration()
        with torch.no_grad():
            wanted = self.vgg(content, self.content_layers)
        targets = self.targets() if targets is None else targets
        repeat = self._repeat(content, targets) if self.weights["repeat"] and min(content.shape[-2:]) >= TILE else None
        return partial(self._terms, wanted=wanted, targets=targets, repeat=repeat)

    def _terms(
        self,
        output: Tensor,
        wanted: dict[str, Tensor],
        targets: Targets,
        repeat: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        features = self.vgg(output)
        terms: dict[str, Tensor] = {}
        for layer, weight in self._layer_weights(self.content_layers).items():
            distance = self._content(layer, features[layer], wanted[layer])
            terms[f"content/{layer}"] = self.weights["content"] * weight * distance
        for layer, weight in self._layer_weights(self.style_layers).items():
            terms[f"style/{layer}"] = self.weights["style"] * weight * self._style(layer, features[layer], targets)
        if self.weights["tv"]:
            terms["tv"] = self.weights["tv"] * tv(output.float())
        if self.weights["range"]:
            terms["range"] = self.weights["range"] * out_of_range(output.float())
        if repeat is not None:
            terms["repeat"] = repeat(output)
        return terms

    def readings(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a person reads: the terms without their weights (style/relu1_2 ...), the layers' mean as "style" and
        "content", and "loss".

        In "calibrated" scale 1.0 is an untouched photo for style and an unrelated photo for content.
        """
        read: dict[str, Tensor] = {"loss": torch.stack([*terms.values()]).sum()}
        layers = {"content": self._layer_weights(self.content_layers), "style": self._layer_weights(self.style_layers)}
        for name, term in terms.items():
            kind, _, layer = name.partition("/")
            share = self.weights[kind] or 1.0
            if layer:
                read[kind] = read.get(kind, torch.zeros_like(term)) + term / share
                share *= layers[kind][layer] or 1.0
            read[name] = term / share
        return read
