"""Under `torch.compile`, a layer is one graph with the same outputs and gradients."""

import pytest
import torch

from weightshare import Full, Local, LowRank, Mapped, Tiled, nn

SHARINGS = [Full(), Tiled(2), Mapped([[0, 1, 2], [2, 1, 0], [0, 0, 1]]), LowRank(2), Local()]
KINDS = [nn.Conv2d, nn.ConvTranspose2d]


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_layer_is_one_graph(kind, sharing):
    size = 5 if kind is nn.Conv2d else 3
    layer = kind(2, 4, 3, sharing=sharing, input_size=size, dtype=torch.float64)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 2, size, size, dtype=torch.float64, requires_grad=True)
    results = []
    for function in (compiled, layer):
        y = function(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    for got, expected in zip(*results):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    torch._dynamo.reset()
