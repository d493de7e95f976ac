"""Gradients in reused memory: the same values, never overwritten while in use, freed with the layer."""

import copy
import gc
import threading

import pytest
import torch
from torch import Tensor

import weightshare as ws
from weightshare.backends import gradient_memory, native

pytestmark = pytest.mark.skipif(native.load() is None, reason="no native backend")


def build(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(0)
    return ws.nn.LocallyConnected2d(16, 16, 3, input_size=20, bias=False, dtype=dtype)


def compute_grad(layer: torch.nn.Module, seed: int) -> Tensor:
    """Return the gradient of a loss after `zero_grad`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 16, 20, 20, generator=generator, dtype=layer.weight.dtype)
    layer.zero_grad()
    layer(x).square().sum().backward()
    return layer.weight.grad


def expect_grad(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return compute_grad(build(dtype), seed)


def test_next_gradient_uses_the_same_memory():
    layer = build()
    ws.reuse_gradient_memory(layer)
    first = compute_grad(layer, 1).data_ptr()
    grad = compute_grad(layer, 2)
    assert grad.data_ptr() == first
    assert first % 64 == 0
    assert torch.equal(grad, expect_grad(2))
    assert grad.is_contiguous()
    assert not grad._is_view()
    assert grad.untyped_storage().nbytes() == grad.numel() * 4


def test_gradients_in_use_are_not_overwritten():
    layer = build()
    ws.reuse_gradient_memory(layer)
    kept = [compute_grad(layer, seed).flatten()[5:] for seed in range(4)]
    for seed, grad in enumerate(kept):
        assert torch.equal(grad, expect_grad(seed).flatten()[5:])
    array = compute_grad(layer, 4).numpy()
    compute_grad(layer, 5)
    assert torch.equal(torch.from_numpy(array), expect_grad(4))


def test_gradients_accumulate():
    layer = build()
    ws.reuse_gradient_memory(layer)
    expected = torch.zeros_like(layer.weight)
    for seed in range(4):
        x = torch.randn(3, 16, 20, 20, generator=torch.Generator().manual_seed(seed))
        layer(x).square().sum().backward()
        expected += expect_grad(seed)
    assert torch.equal(layer.weight.grad, expected)


def test_a_graph_is_used_twice_and_differentiated_twice():
    layer, plain = build(torch.float64), build(torch.float64)
    ws.reuse_gradient_memory(layer)
    x = torch.randn(3, 16, 20, 20, dtype=torch.float64)
    results = []
    for model in (layer, plain):
        loss = model(x).square().sum()
        first = torch.autograd.grad(loss, model.weight, retain_graph=True)[0]
        second = torch.autograd.grad(loss, model.weight, create_graph=True)[0]
        third = torch.autograd.grad(second.square().sum(), model.weight)[0]
        results.append((first, second, third))
    assert results[0][0].data_ptr() != results[0][1].data_ptr()
    for got, expected in zip(*results):
        assert torch.equal(got, expected)


def test_function_transforms():
    layer = build()
    ws.reuse_gradient_memory(layer)
    x = torch.randn(3, 16, 20, 20)

    def compute_loss(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x,)).square().sum()

    got = torch.func.grad(compute_loss)(layer.weight)
    layer(x).square().sum().backward()
    assert torch.equal(got, layer.weight.grad)


def test_cast_layers_get_memory_of_their_size():
    layer = build()
    ws.reuse_gradient_memory(layer)
    compute_grad(layer, 1)
    layer.double()
    first = compute_grad(layer, 2).data_ptr()
    grad = compute_grad(layer, 2)
    assert grad.dtype == torch.float64
    assert grad.data_ptr() == first
    expected = build().double()
    assert torch.equal(grad, compute_grad(expected, 2))


def test_threads_that_train_the_same_layer():
    layer = build()
    ws.reuse_gradient_memory(layer)
    expected = {seed: expect_grad(seed) for seed in range(4)}
    wrong = []

    def run(seed: int) -> None:
        x = torch.randn(3, 16, 20, 20, generator=torch.Generator().manual_seed(seed))
        for _ in range(20):
            (grad,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
            if not torch.equal(grad, expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_is_freed_with_the_layer_or_on_request():
    before = len(gradient_memory._blocks)
    layer = build()
    ws.reuse_gradient_memory(layer)
    ws.reuse_gradient_memory(layer)
    twin = copy.deepcopy(layer)
    assert len(gradient_memory._blocks) == before + 1
    grad = compute_grad(layer, 1)
    assert torch.equal(compute_grad(twin, 1), grad)
    ws.reuse_gradient_memory(layer, False)
    assert len(gradient_memory._blocks) == before
    compute_grad(layer, 2)
    assert torch.equal(grad, expect_grad(1))
    ws.reuse_gradient_memory(layer)
    compute_grad(layer, 2)
    del layer
    gc.collect()
    assert len(gradient_memory._blocks) == before


def test_errors():
    with pytest.raises(ws.WeightshareError) as error:
        ws.reuse_gradient_memory(torch.nn.Linear(2, 2))
    assert str(error.value) == (
        "reuse_gradient_memory: model must contain a layer with sharing=Local(), got Linear."
    )
    with pytest.raises(ws.WeightshareError, match=r"model must be a torch\.nn\.Module, got list"):
        ws.reuse_gradient_memory([build()])  # type: ignore[arg-type]
    with pytest.raises(ws.WeightshareError, match="reuse must be True or False, got 1"):
        ws.reuse_gradient_memory(build(), 1)  # type: ignore[arg-type]
