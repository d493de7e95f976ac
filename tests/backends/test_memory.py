"""No backend stores all patches: its temporaries are at most as large as input, output, weight or a block."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from weightshare import Local, LowRank, Mapped, Regional, SharedAlong, Tiled, nn
from weightshare.backends import BilinearBackend
from weightshare.backends.base import BLOCK
from weightshare.backends.local_rows import BUFFER


class LargestStorage(TorchDispatchMode):
    """Records the size in bytes of the largest storage that an operation returned."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return result


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
def test_2d_layers(sharing, groups):
    layer = nn.Conv2d(16, 16, 5, sharing=sharing, input_size=28, groups=groups)
    _check(layer, torch.randn(64, 16, 28, 28))


def test_a_long_1d_layer_is_split_into_blocks():
    layer = nn.LocallyConnected1d(1, 1, 50, input_size=100_000, stride=2, dilation=2)
    _check(layer, torch.randn(8, 1, 100_000))


def _check(layer, x):
    """Call the maps of the backend directly, because dispatch modes do not look inside custom operators."""
    backend, weight = layer._backend, layer.weight.detach()
    if isinstance(backend, BilinearBackend):
        with LargestStorage() as largest:
            y = backend.output(x, weight)
            backend.input_grad(y, weight, x.shape)
            backend.weight_grad(x, y, weight.shape)
        banks = 1
    else:
        banks = layer.kernels().shape[0]
        with LargestStorage() as largest:
            y = layer(x.requires_grad_())
            y.sum().backward()
    sizes = (x.numel(), banks * y.numel(), layer.weight.numel(), BLOCK, BUFFER)
    patches = x.shape[0] * x.shape[1] * layer.window.taps * y[0, 0].numel()
    assert max(sizes) < patches / 2, "the layer is too small for this test"
    assert largest.bytes <= 4 * max(sizes)
