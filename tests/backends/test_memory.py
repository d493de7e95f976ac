"""No backend stores all patches: its temporaries are at most as large as input, output, weight or a block."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.ways import WAYS, computing
from weightshare import Local, LowRank, Mapped, Regional, SharedAlong, Tiled, nn
from weightshare.backends import OneHotBackend
from weightshare.backends.portable import BLOCK


class LargestStorage(TorchDispatchMode):
    """Records the size in bytes of the largest storage that an operation returned."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return result


each_way = pytest.mark.parametrize("way", [WAYS[0], "off"])


@each_way
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(
    "sharing",
    [
        Local(),
        Tiled(2),
        Regional(4),
        SharedAlong(1),
        LowRank(2),
        Mapped([[(i // 5 + j) % 3 for j in range(24)] for i in range(24)]),
    ],
    ids=lambda sharing: type(sharing).__name__,
)
def test_2d_layers(sharing, groups, way):
    layer = nn.Conv2d(16, 16, 5, sharing=sharing, input_size=28, groups=groups)
    _check(layer, torch.randn(64, 16, 28, 28), way)


@each_way
def test_a_long_1d_layer_is_split_into_blocks(way):
    layer = nn.LocallyConnected1d(1, 1, 50, input_size=100_000, stride=2, dilation=2)
    _check(layer, torch.randn(8, 1, 100_000), way)


def _check(layer, x, way):
    """Call the maps of the backend directly, because dispatch modes do not look inside custom operators."""
    backend, weight, banks = layer._backend, layer.weight.detach(), 1
    with computing(way), LargestStorage() as largest:
        if isinstance(backend, OneHotBackend):
            y = backend.output(x, weight)
            backend.input_grad(y, weight, x.shape)
            backend.weight_grad(x, y, weight.shape)
        else:
            banks = layer.kernels().shape[0]
            y = layer(x.requires_grad_())
            y.sum().backward()
    sizes = (x.numel(), banks * y.numel(), layer.weight.numel(), BLOCK)
    patches = x.shape[0] * x.shape[1] * layer.window.taps * y[0, 0].numel()
    assert max(sizes) < patches / 2, "the layer is too small for this test"
    copies = 2 if way != "off" else 1  # the native code keeps all its working memory in one tensor
    assert largest.bytes <= copies * 4 * max(sizes) + 2**20
