"""`sharing_penalty`: the distance of kernels from their mean, and where training with it leads."""

import pytest
import torch

import weightshare as ws
from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank
from weightshare.errors import ArgumentError


def perturb(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def compute(values, p):
    """Return the mean distance of rows from their mean, element by element."""
    mean = sum(values) / len(values)
    return sum((value - mean).pow(2).sum().sqrt() ** p for value in values) / len(values)


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_the_mean_distance_of_the_kernels_and_biases(sharing, transposed, p):
    kind, size = (ws.nn.ConvTranspose2d, 6) if transposed else (ws.nn.Conv2d, 8)
    layer = kind(2, 3, 3, sharing=sharing, bias_sharing=Local(), input_size=size, dtype=torch.float64)
    perturb(layer)
    kernels = torch.einsum("pk,k...->p...", layer.assignment(), layer.kernels())
    expected = compute([*kernels], p) + compute([*layer.bias_map().flatten(1).T], p)
    parameters = [*layer.parameters()]
    got = ws.sharing_penalty(layer, p)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(got, parameters, allow_unused=True, materialize_grads=True)
    wanted = torch.autograd.grad(expected + 0 * sum(q.sum() for q in parameters), parameters)
    if sharing == Full():  # the root of a sum of rounding errors has any gradient
        assert torch.equal(gradients[0], torch.zeros_like(layer.weight))
    else:
        torch.testing.assert_close(gradients, wanted, rtol=1e-6, atol=1e-8)


def test_layers_are_added_and_other_modules_have_no_penalty():
    one, two = (perturb(ws.nn.LocallyConnected1d(2, 3, 3, input_size=9)) for _ in range(2))
    model = torch.nn.Sequential(one, torch.nn.ReLU(), two, torch.nn.Linear(7, 4), one)
    each = ws.sharing_penalty(one) + ws.sharing_penalty(two)
    torch.testing.assert_close(ws.sharing_penalty(model), each)


@pytest.mark.parametrize("model", [torch.nn.Linear(3, 4), ws.nn.Conv2d(1, 2, 3), torch.nn.ReLU()])
def test_what_is_shared_has_no_penalty(model):
    penalty = ws.sharing_penalty(model)
    assert penalty.shape == ()
    assert penalty.item() == 0
    (penalty + torch.ones((), requires_grad=True)).backward()


@pytest.mark.parametrize("sharing", [Local(), LowRank(2), ws.Tiled(2)], ids=str)
def test_equal_kernels_have_no_penalty_and_a_finite_gradient(sharing):
    layer = ws.relax(ws.nn.Conv2d(2, 3, 3), sharing, input_size=8)
    penalty = ws.sharing_penalty(layer)
    penalty.backward()
    assert penalty.item() < 1e-6
    assert all(q.grad is None or q.grad.isfinite().all() for q in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_does_not_overflow(dtype):
    layer = ws.nn.LocallyConnected2d(2, 3, 3, input_size=8).to(dtype)
    with torch.no_grad():
        layer.weight.normal_(std=300)
    penalty = ws.sharing_penalty(layer, 2)
    assert penalty.dtype == torch.float32
    assert penalty.isfinite()


def test_a_strong_penalty_makes_kernels_equal():
    distances = []
    for strength in (0.0, 1.0, 30.0):
        torch.manual_seed(0)
        layer = ws.nn.LocallyConnected1d(1, 2, 3, input_size=8, bias=False, dtype=torch.float64)
        perturb(layer)
        target = layer.weight.detach().clone()
        optimizer = torch.optim.SGD(layer.parameters(), 0.01)
        for _ in range(2000):
            loss = (layer.weight - target).square().sum() + strength * ws.sharing_penalty(layer, 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        distances.append(ws.sharing_penalty(layer).item())
    ratio = 1 / (1 + torch.tensor([0.0, 1.0, 30.0]) / 6)  # of the distances from the mean, for six positions
    torch.testing.assert_close(torch.tensor(distances[1:]) / distances[0], ratio[1:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("p", [0, 0.5, float("inf"), float("nan"), "1", None, True])
def test_wrong_exponents(p):
    with pytest.raises(ArgumentError, match="p must be a number of at least 1"):
        ws.sharing_penalty(torch.nn.ReLU(), p)


def test_what_is_not_a_module():
    with pytest.raises(ArgumentError, match="sharing_penalty"):
        ws.sharing_penalty([ws.nn.Conv2d(1, 2, 3)])
