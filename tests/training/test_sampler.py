"""Which style a training sample is painted in."""

from typing import Any

import torch

from stylenet.training.sampler import StyleSampler

HERE: Any = torch.device("cpu"), torch.float32


def test_a_samples_style_depends_on_its_number_alone():
    sampler = StyleSampler(3)
    whole = sampler.weights(0, 12, *HERE)
    assert whole is not None and whole.tolist() == torch.eye(3).repeat(4, 1).tolist()
    for first, count in ((0, 5), (5, 4), (9, 3)):  # batches of any size, begun anywhere
        part = sampler.weights(first, count, *HERE)
        assert part is not None and torch.equal(part, whole[first : first + count])


def test_a_single_style_needs_no_weights():
    assert StyleSampler(1).weights(7, 4, *HERE) is None
