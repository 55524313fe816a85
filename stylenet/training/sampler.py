"""The style of each training sample. Knows nothing about photos, networks or Lightning."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class StyleSampler:
    """Samples take turns at the ``n_styles`` styles: sample k gets style k modulo ``n_styles``.

    So the style is a pure function of the sample's number. Batch size, number of processes and interruptions do not
    change it, and it needs no seed: the run's seed already decides which photo and which crop a sample is.
    """

    n_styles: int

    def weights(self, first: int, count: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """The style weights of the samples ``first``, ``first + 1`` ...: ``(count, n_styles)`` of 0 and 1, with one 1
        in each row. None if there is a single style.
        """
        if self.n_styles == 1:
            return None
        turns = torch.arange(first, first + count, device=device) % self.n_styles
        return one_hot(turns, self.n_styles).to(dtype)
