"""StyleNet, the interface of every network. The rest of the program knows networks only by it.

Knows nothing about VGG, losses, training or files.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from stylenet.nets.regions import Regions

# Float32 maps of the picture's size that a pass holds at its peak: so many for each channel of the first width, and so
# many more. This is slightly above every measurement, with first widths of 4 to 64.
MAPS_PER_CHANNEL, MORE_MAPS = 10, 20

STYLE_SIDE = 512  # longer side in pixels of a painting when its style is taken: about what training shows
SMALLEST = 16  # pixels a side that a graph of a module which does not say so gets at least


class StyleNet(nn.Module):
    """``net(content, style=None) -> image``, both pictures ``(b, 3, h, w)`` in [0, 1], any h, w >= 1.

    ``style``: weights ``(b, n_styles)``, or None for the first style. Rows that sum to 1 mix styles. Or
    :class:`stylenet.nets.regions.Regions`, a style for each region.

    A subclass passes these facts to the constructor:

    - ``config``: the arguments of the subclass's own constructor, as plain data. A checkpoint rebuilds the network
      from them.
    - ``n_styles``: the number of styles, 1 or more.
    - ``smallest``: a side in pixels. The network enlarges smaller pictures to it: it repeats their right and bottom
      edges.
    - ``bytes_per_pixel``: the memory in bytes that a float32 pass needs at its peak, for each pixel of all its
      pictures. None: unknown.
    """

    in_parts: ClassVar[bool] = False
    """Whether :meth:`encode` does a part of the work, so that the two parts can run in different precisions."""

    any_style: ClassVar[bool] = False
    """Whether the network paints in the style of any picture, which :meth:`style_of` makes the weights of."""

    own_style: ClassVar[bool] = False
    """Whether None as a style is the picture's own; for all other networks it is the first weight alone."""

    style_parts: ClassVar[tuple[str, ...]] = ()
    """The submodules that only :meth:`style_of` uses, where it uses no others."""

    config: dict[str, Any]
    n_styles: int
    smallest: int
    bytes_per_pixel: int | None

    def __init__(
        self, config: dict[str, Any], n_styles: int = 1, smallest: int = 1, bytes_per_pixel: int | None = None
    ):
        super().__init__()
        self.config, self.n_styles = config, n_styles
        self.smallest, self.bytes_per_pixel = smallest, bytes_per_pixel

    def forward(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The stylized pictures, of the size of ``content``.

        ``framed``: whether a network with a frame lays it around the picture. False is for crops that have real pixels
        around the part that counts. A network without a frame ignores it.
        """
        raise NotImplementedError

    def encode(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The first part of a pass: the picture's features. A network in one piece returns the picture itself."""
        return content

    def decode(self, features: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The second part of a pass: from the features of :meth:`encode` to the image. Cut its right and bottom to the
        picture's size.
        """
        return self(features, style, framed)

    def style_of(self, painting: Tensor) -> Tensor:
        """The weights ``(b, n_styles)`` of the styles of paintings ``(b, 3, h, w)`` in [0, 1]; of a network with
        ``any_style`` alone.
        """
        raise NotImplementedError

    def fixed(self, style: Tensor) -> "StyleNet":
        """A network with one style alone, ``style (n_styles)``, that paints the same; of one with ``any_style``."""
        raise NotImplementedError

    def begin_noise_at(self, down: int, across: int) -> None:
        """Set where the noise of a training step begins, see :class:`stylenet.nets.layers.Noise`. A network without
        noise ignores it.
        """


def peak_bytes(first_width: int) -> int:
    """``bytes_per_pixel`` of a network with so many channels at full size."""
    return (first_width * MAPS_PER_CHANNEL + MORE_MAPS) * 4


def as_style_net(net: nn.Module) -> StyleNet:
    """``net`` itself if it is a :class:`StyleNet`. Any other module, ``net(content, style) -> image``, becomes a
    network with one style whose memory is unknown.
    """
    return net if isinstance(net, StyleNet) else _OneStyle(net)


class _OneStyle(StyleNet):
    """A module that says nothing about itself."""

    def __init__(self, net: nn.Module):
        super().__init__({}, smallest=SMALLEST)
        self.net = net

    def forward(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        return self.net(content, style)
