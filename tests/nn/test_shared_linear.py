"""`SharedLinear`: initial values, checkpoints, devices and errors; tests/contract checks its values."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import weightshare as ws
from weightshare import Pattern, nn
from weightshare.errors import ArgumentError, ShapeError
from weightshare.nn import digest, sparse_product
from weightshare.pattern import generators
from weightshare.testing import check_layer


def points(n):
    return Pattern.from_symmetry(generators.permutations(n), generators.permutations(n))


@pytest.mark.parametrize(
    "pattern",
    [points(64), Pattern.of(torch.nn.Linear(64, 64)), Pattern.of(torch.nn.Conv1d(1, 1, 3), 66)],
    ids=repr,
)
def test_the_initial_output_variance_equals_that_of_torch(pattern):
    torch.manual_seed(0)
    x = torch.randn(200, pattern.n_in)
    variance = torch.stack([nn.SharedLinear(pattern, bias=False)(x).var() for _ in range(400)]).mean()
    assert variance.item() == pytest.approx(1 / 3, rel=0.15)


def test_the_bound_of_a_weight_depends_on_the_connections_of_its_outputs():
    pattern = Pattern([(0, 0, 0), *[(1, i, 1) for i in range(100)]], 2, 100, bias=[0, 1])
    assert pattern.fan_in.tolist() == [1, 100]
    layers = [nn.SharedLinear(pattern) for _ in range(300)]
    largest = torch.stack([layer.weight for layer in layers]).abs().amax(0)
    assert largest.tolist() == pytest.approx([1, 0.1], rel=0.05)
    assert torch.stack([layer.bias for layer in layers]).abs().amax(0).tolist() == pytest.approx(
        [1, 0.1], rel=0.05
    )


def test_one_weight_per_connection_is_torch_linear():
    linear = torch.nn.Linear(4, 3)
    layer = nn.SharedLinear(Pattern.of(linear))
    layer.load_state_dict({"weight": linear.weight.flatten(), "bias": linear.bias}, strict=False)
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(layer(x), linear(x))


def test_pattern_of_the_layer_is_its_pattern():
    pattern = points(4)
    assert Pattern.of(nn.SharedLinear(pattern)) == pattern


def test_a_checkpoint_of_another_pattern_is_an_error():
    layer, other = nn.SharedLinear(points(4)), nn.SharedLinear(points(5))
    assert list(layer.state_dict()) == ["weight", "bias", "pattern_digest"]
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(
        RuntimeError, match="SharedLinear: the checkpoint has weights for another pattern than"
    ):
        layer.load_state_dict(other.state_dict())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    fresh = nn.SharedLinear(points(4))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.weight, layer.weight)


def test_summary_counts_its_weights():
    totals = ws.summary(torch.nn.Sequential(nn.SharedLinear(points(4))))
    assert totals.to_dict()["totals"]["unique"] == 3
    assert "2 classes of connections that share" in str(totals.to_dict()["modules"])


def test_invalid_patterns_and_inputs():
    with pytest.raises(
        ArgumentError,
        match=r"SharedLinear: pattern must be a Pattern with at least one connection, got list; use Pattern",
    ):
        nn.SharedLinear([[0, 0, 0]])
    with pytest.raises(ArgumentError, match="must be a Pattern with at least one connection, got Pattern"):
        nn.SharedLinear(Pattern([], 2, 2))
    with pytest.raises(ShapeError, match=r"input must be \[\*, 4\], got \[2, 2, 2\]; flatten channels"):
        nn.SharedLinear(points(4))(torch.zeros(2, 2, 2))


def test_moves_and_meta():
    layer = nn.SharedLinear(points(4), device="meta").to_empty(device="cpu")
    assert repr(layer) == "SharedLinear(Pattern(4 inputs, 4 outputs: 16 connections with 2 weights, 1 bias))"
    assert "bias=False" in repr(nn.SharedLinear(points(4), bias=False))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("n", [120, 12_000])
def test_gradients_of_weights_that_many_connections_use(n, dtype):
    """With a dense matrix (120) and connection by connection (12,000); float32 runs under autocast."""
    size = (n, n) if n == 120 else (n // 4, n)
    edges = (
        [(o, i, 0) for o in range(n) for i in range(n)] if n == 120 else [(i // 4, i, 0) for i in range(n)]
    )
    pattern = Pattern(edges, *size, bias=[0] * size[0])
    layer = nn.SharedLinear(pattern, dtype=dtype)
    exact = copy.deepcopy(layer).double()
    x = (torch.rand(3, n) / n).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        (layer(x) / 8).sum().backward()
    (exact(x.double()) / 8).sum().backward()
    for name, parameter in layer.named_parameters():
        expected = exact.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad.double(), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("size", [8, 200])
def test_layers_built_on_the_meta_device(size):
    pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), size)
    known = nn.SharedLinear(pattern)
    x = torch.randn(2, size)
    for assign in (False, True):
        layer = nn.SharedLinear(pattern, device="meta")
        if not assign:
            layer.to_empty(device="cpu")
            for name, buffer in layer.named_buffers():
                if name != "pattern_digest":
                    assert torch.equal(buffer, known.get_buffer(name))
        layer.load_state_dict(known.state_dict(), assign=assign)
        assert torch.equal(layer(x), known(x))
    layer = nn.SharedLinear(pattern, device="meta").to_empty(device="cpu")
    assert layer.state_dict()["pattern_digest"].tolist() == known.pattern_digest.tolist()
    again = copy.deepcopy(known).to_empty(device="cpu")
    again.load_state_dict(known.state_dict())
    assert torch.equal(again(x), known(x))
    assert known.to("meta")(x.to("meta")).is_meta


def test_sparse_products_in_blocks(monkeypatch):
    """Blocks do not change values or gradients, and limit the size of temporaries."""
    pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 120)
    layer, x = nn.SharedLinear(pattern, dtype=torch.float64), torch.randn(4, 120, dtype=torch.float64)

    def results():
        sources = [leaf := x.clone().requires_grad_(), *layer.parameters()]
        output = layer(leaf)
        return [output, *torch.autograd.grad(output.square().sum(), sources)]

    expected = results()
    monkeypatch.setattr(sparse_product, "BLOCK_BYTES", 7 * 4 * 8)
    for got, value in zip(results(), expected, strict=True):
        torch.testing.assert_close(got, value)
    assert max(t.numel() for t in _record_tensors(lambda: layer(x).sum().backward())) <= 4 * 120
    check_layer(layer)
    tangent = torch.randn_like(x)
    _, derivative = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(derivative, layer(tangent) - layer(torch.zeros_like(x)))


def _record_tensors(act):
    """Return all tensors that torch operations return."""
    found = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            found.extend(t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
            return result

    with Mode():
        act()
    return found


def test_inputs_of_other_types_and_dtypes():
    for pattern in (points(4), Pattern([(0, 0, 0)], 40, 4)):
        layer = nn.SharedLinear(pattern)
        with pytest.raises(ArgumentError, match=r"SharedLinear: input must be a torch.Tensor, got list"):
            layer([1.0, 2, 3, 4])
        text = r"SharedLinear: input must have the dtype of the weights, torch.float32, got torch.float64"
        with pytest.raises(ShapeError, match=text):
            layer(torch.zeros(1, 4, dtype=torch.float64))


def test_checkpoints_of_other_patterns_are_errors():
    other = nn.SharedLinear(Pattern([(0, 0, 1), (0, 1, 0)], 1, 2))
    with pytest.raises(RuntimeError, match="or for this pattern with its weight ids in another order"):
        other.load_state_dict(nn.SharedLinear(Pattern([(0, 0, 0), (0, 1, 1)], 1, 2)).state_dict())
    layer = nn.SharedLinear(points(4))
    text = r"pattern_digest in the checkpoint must be a vector .*got torch.float32 of shape \(2, 2\)"
    with pytest.raises(RuntimeError, match=text):
        layer.load_state_dict(layer.state_dict() | {"pattern_digest": torch.rand(2, 2)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_checkpoints_that_were_cast_load_and_those_of_other_patterns_do_not(dtype):
    layer, other = nn.SharedLinear(points(4)), nn.SharedLinear(Pattern.of(torch.nn.Linear(2, 1)))
    layer.load_state_dict({name: value.to(dtype) for name, value in layer.state_dict().items()})
    with pytest.raises(RuntimeError, match="another pattern"):
        layer.load_state_dict({name: value.to(dtype) for name, value in other.state_dict().items()})


def test_checkpoints_of_the_first_format_load():
    """The first format stored the first 16 bytes of the hash as two integers."""
    layer = nn.SharedLinear(points(4))
    numbers = digest.unpack(layer.state_dict()["pattern_digest"])
    halves = [int.from_bytes(bytes(half), "little", signed=True) for half in (numbers[:8], numbers[8:])]
    layer.load_state_dict(layer.state_dict() | {"pattern_digest": torch.tensor(halves)})
    with pytest.raises(RuntimeError, match="another pattern"):
        layer.load_state_dict(layer.state_dict() | {"pattern_digest": torch.tensor(halves[::-1])})


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parameters_of_another_pattern_are_errors(name):
    layer, bad = nn.SharedLinear(points(4)), torch.zeros(7)
    text = rf"SharedLinear: {name} must be \[\d\] for .*, got \[7\]; use parameters of a layer"
    with pytest.raises(ShapeError, match=text):
        torch.func.functional_call(layer, {name: bad}, (torch.zeros(1, 4),))
