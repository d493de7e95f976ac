"""`Pattern.probe` is robust to rounding and coincidence, and refuses maps that are not linear."""

import pytest
import torch

from weightshare import Pattern
from weightshare.errors import ArgumentError, PatternError


def test_weights_of_a_large_layer_are_distinguished():
    """Of 90,000 random values, some differ by less than a billionth, but not in both copies."""
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
