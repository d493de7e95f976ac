"""`Pattern.probe` is robust to rounding and coincidence, and refuses maps that are not linear."""

import threading

import pytest
import torch
from torch.nn.utils import parametrizations, prune

from weightshare import Pattern
from weightshare.errors import ArgumentError, PatternError


def test_weights_of_a_large_layer_are_distinguished():
    """Of 90,000 random values, some differ by less than a billionth, but not in both draws."""
    assert Pattern.probe(torch.nn.Linear(300, 300, bias=False), 300).n_weights == 90_000


def test_small_values_count():
    found = Pattern.probe(lambda x: x * torch.tensor([1, 1e-10, 2e-10, 1e-10]).double(), 4)
    assert found.edges.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 1]]
    biased = Pattern.probe(lambda x: x * torch.tensor([1, 1e-4]).double() + 100, 2)
    assert (biased.n_weights, biased.n_biases) == (2, 1)


def test_rounding_errors_are_not_connections():
    kernel = torch.fft.rfft(torch.tensor([0.3, 0.7, 0, 0, 0, 0, 0, 0, 0], dtype=torch.float64))
    found = Pattern.probe(lambda x: torch.fft.irfft(torch.fft.rfft(x) * kernel, 9), 9)
    assert (found.n_weights, len(found.edges)) == (2, 18)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: torch.relu(x) + 1e8,
        torch.nn.Hardtanh(-50, 50),
        torch.nn.Hardtanh(-1e5, 1e5),
        torch.nn.Hardshrink(0.01),
        lambda x: x / 0,
    ],
)
def test_maps_that_are_not_linear_are_refused(f):
    with pytest.raises(PatternError, match=r"f must be linear up to a constant, got f\(2x - 3y\) and"):
        Pattern.probe(f, 4)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (
            lambda: Pattern.probe(lambda x: x * 1j, 4),
            PatternError,
            "f must return float64 for float64 input, got torch.complex128",
        ),
        (lambda: Pattern.probe(lambda x: x.float(), 4), PatternError, "got torch.float32; keep the dtype"),
        (
            lambda: Pattern.probe(lambda x: x @ torch.eye(4), (4,)),
            PatternError,
            r"f must accept a float64 tensor \[1, 4\], got RuntimeError.*; check in_shape, and convert",
        ),
        (lambda: Pattern.probe(torch.nn.Linear(4, 3), 5), PatternError, r"float64 tensor \[1, 1, 5\]"),
        (lambda: Pattern.probe(3, 4), ArgumentError, "f must be a module or function, got int"),
        (lambda: Pattern.probe(torch.relu, 4, seed=-1), ArgumentError, "seed must be at least 0, got -1"),
        (lambda: Pattern.probe(torch.relu, 4, seed=1.5), ArgumentError, "seed must be an integer, got 1.5"),
        (
            lambda: Pattern.probe(lambda x: x[..., :0], 4),
            PatternError,
            r"a non-empty tensor \[1, ...\], got \(1, 1, 0\)",
        ),
    ],
)
def test_invalid_arguments_are_refused(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_any_seed_and_frozen_parameters():
    layer = torch.nn.Linear(3, 3, bias=False).requires_grad_(False)
    layer.weight.fill_(1)
    assert Pattern.probe(layer, 3, seed=2**70).n_weights == 9


class Locked(torch.nn.Module):
    """A module that cannot be copied."""

    def __init__(self):
        super().__init__()
        self.conv, self.lock = torch.nn.Conv1d(1, 2, 3, padding=1), threading.Lock()

    def forward(self, x):
        with self.lock:
            return self.conv(x)


COMPUTED = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 2),
    "pruned channels": lambda layer: prune.ln_structured(layer, "weight", 1, 2, 0),
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm of hooks": torch.nn.utils.weight_norm,
    "spectral_norm of hooks": torch.nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("kind", COMPUTED)
@pytest.mark.parametrize(
    ("make", "in_shape"),
    [
        (lambda: torch.nn.Conv1d(1, 3, 3, padding=1), (1, 6)),
        (lambda: torch.nn.ConvTranspose1d(2, 2, 3, stride=2), (2, 5)),
        (lambda: torch.nn.Linear(4, 3), 4),
    ],
)
def test_computed_weights(kind, make, in_shape):
    """The connections are those of the plain layer whose weights are not zero, and the layer is restored."""
    layer = COMPUTED[kind](make())
    layer(torch.randn(2, *((in_shape,) if isinstance(in_shape, int) else in_shape)))
    layer.eval()
    before, weight = {name: value.clone() for name, value in layer.state_dict().items()}, layer.weight.clone()
    size = None if isinstance(in_shape, int) else in_shape[1:]
    with pytest.raises(ArgumentError, match=r"use Pattern.probe\(layer, in_shape\)"):
        Pattern.of(layer, size)
    found = Pattern.probe(layer, in_shape)
    plain = Pattern.of(make(), size)
    kept = plain.edges[(weight.flatten() != 0).numpy()[plain.edges[:, 2]]]
    assert found == Pattern(kept, plain.out_shape, plain.in_shape, bias=plain.bias)
    assert torch.equal(layer.weight, weight)
    after = layer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_modules_are_not_copied_but_restored():
    model = Locked().half().train()
    weight, values = model.conv.weight, model.conv.weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    assert Pattern.probe(model, (1, 8)).n_weights == 6
    assert model.training
    assert model.conv.weight is weight
    assert weight.dtype == weight.grad.dtype == torch.float16
    assert torch.equal(weight, values)
    with pytest.raises(PatternError):
        Pattern.probe(model, (2, 8))
    assert torch.equal(weight, values)


def test_the_parameters_of_inference_mode():
    with torch.inference_mode():
        layer = torch.nn.Conv1d(1, 2, 3, padding=1)
    assert Pattern.probe(layer, (1, 8)) == Pattern.of(layer, 8)
    assert layer.weight.is_inference()


def make_sparse():
    layer = torch.nn.Linear(4, 4)
    layer.weight = torch.nn.Parameter(layer.weight.detach().to_sparse())
    return layer


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda: Pattern.probe(torch.nn.LazyLinear(4), 4),
            "the sizes of the model must be known, got 'weight' of a lazy module; run the model once",
        ),
        (
            lambda: Pattern.probe(torch.nn.Linear(4, 4, device="meta"), 4),
            "the model must have values, got 'weight' on the meta device; build the model on the CPU",
        ),
        (
            lambda: Pattern.probe(torch.nn.BatchNorm1d(4, affine=False, device="meta"), (4, 2)),
            "the model must have values, got 'running_mean' on the meta device",
        ),
        (
            lambda: Pattern.probe(make_sparse(), 4),
            r"the parameters must be dense, got 'weight' with torch.sparse_coo; .* with to_dense\(\)",
        ),
        (lambda: Pattern.of(make_sparse()), "Linear: the parameters must be dense"),
    ],
)
def test_modules_without_values_are_refused(act, text):
    with pytest.raises(ArgumentError, match=text):
        act()


def test_a_module_on_the_meta_device_has_a_pattern():
    assert Pattern.of(torch.nn.Linear(3, 2, device="meta")).n_weights == 6
