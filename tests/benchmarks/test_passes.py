"""The count of launches and memory passes: right where it can be worked out by hand, and held where it stands."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.speed.passes import GPU, counted, on_fake_gpu, stylizing, training
from stylenet.nets import kernels


def test_operators_are_counted_with_what_they_read_and_write():
    """Of maps of 4 x 8 x 8: a convolution of 4 to 4 channels reads and writes one, and its 36 x 4 weights are 144 of
    256 numbers; adding in place reads two and writes one of them; a view costs nothing, a scalar's sum reads one.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    layer = on_fake_gpu(nn.Conv2d(4, 4, 3, padding=1, bias=False), fake)
    with fake, torch.no_grad():
        x = torch.empty(1, 4, 8, 8, device=GPU)
        assert counted(lambda: layer(x), 1024)[0] == (1, 2.6)  # 1 + 1 + 144 / 256
        assert counted(lambda: x.view(4, 64).T, 256)[0] == (0, 0)
        cost, counter = counted(lambda: x.add_(torch.empty(1, 4, 8, 8, device=GPU)), 1024)
        assert cost == (1, 3.0) and counter.by_name == {"add_": 3072}
        assert counted(lambda: x.relu().sum(), 1024)[0] == (2, 3.0)


def test_a_kernel_of_ours_counts_as_one_launch():
    """Of a map of 4 x 8 x 8: the kernel that lays a border of 1 around it writes 4 x 10 x 10 numbers."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        x = torch.empty(1, 4, 8, 8, device=GPU).contiguous(memory_format=torch.channels_last)
        layout = kernels.Layout(4, 8, 8)
        cost, counter = counted(lambda: kernels.lay(x, layout, kernels.Border(kernels.REFLECT, 1)), 1024)
        assert cost == (1, 2.6) and counter.by_name == {"lay": 4 * (256 + 400)}
        cost, counter = counted(lambda: kernels.moments(x, layout), 1024)
        assert cost.launches == 2 and set(counter.by_name) == {"moments", "combine"}
        assert 1024 < counter.by_name["moments"] < 1100


def test_a_pass_and_a_step_cost_no_more_than_they_did():
    """The figures reached, as docs/speed.md has them."""
    for ours, launches, passes in ((True, 65, 16.2), (False, 90, 71.9)):
        cost = stylizing(1024, ours)[0]
        assert cost.launches <= launches and cost.passes <= passes
    for ours, launches, passes in ((True, 207, 106.1), (False, 237, 131.5)):
        cost = training(288, 16, ours)[0]
        assert cost.launches <= launches and cost.passes <= passes
