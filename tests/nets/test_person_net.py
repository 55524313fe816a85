"""The network for people gives what its own runtime gives."""

import numpy as np
import torch
from PIL import Image

from stylenet.images.image_io import to_tensor
from stylenet.nets import person_net
from stylenet.system.places import ASSETS

# Means of squares of 32 pixels of the mask that LiteRT makes of the astronaut at 256x256, with the original file.
LITERT = [
    [0.000, 0.000, 0.184, 0.708, 0.304, 0.000, 0.000, 0.000],
    [0.000, 0.000, 0.531, 1.000, 0.644, 0.000, 0.000, 0.000],
    [0.001, 0.027, 0.602, 1.000, 0.159, 0.000, 0.000, 0.000],
    [0.007, 0.593, 1.000, 1.000, 0.736, 0.027, 0.000, 0.000],
    [0.413, 1.000, 1.000, 1.000, 1.000, 0.587, 0.000, 0.000],
    [0.682, 1.000, 1.000, 1.000, 0.936, 0.903, 0.592, 0.121],
    [0.858, 1.000, 1.000, 1.000, 0.989, 1.000, 1.000, 0.685],
    [0.856, 0.991, 0.902, 0.721, 0.901, 1.000, 1.000, 0.784],
]


def test_the_mask_is_that_of_litert():
    with Image.open(ASSETS / "photos" / "val" / "astronaut.jpg") as photo:
        small = photo.resize((256, 256), Image.Resampling.BILINEAR)
    mask = person_net.load()(to_tensor(small))
    assert mask.shape == (1, 1, 256, 256)
    means = mask.reshape(8, 32, 8, 32).mean((1, 3))
    torch.testing.assert_close(means, torch.from_numpy(np.array(LITERT, np.float32)), atol=2e-3, rtol=0)
