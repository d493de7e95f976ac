"""Error messages for invalid patterns and permutations, and the arguments that are accepted."""

import numpy as np
import pytest
import torch

from weightshare import Pattern
from weightshare.errors import ArgumentError, PatternError
from weightshare.pattern import generators

EDGE = [(0, 0, 0)]
FITS = r"must fit in [\d,]+ bytes of memory"
STRIDE = "stride must be a positive number for each of 1 spatial axes, got "


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Pattern(EDGE, 2, 2, stride=2), ArgumentError, STRIDE + "2; pass a tuple"),
        (lambda: Pattern(EDGE, 2, 2, stride="2"), ArgumentError, STRIDE + "'2'"),
        (lambda: Pattern(EDGE, 2, 2, stride=[None]), ArgumentError, STRIDE + r"\[None\]"),
        (lambda: Pattern(EDGE, 2, 2, stride=(0,)), ArgumentError, STRIDE + r"\(0,\)"),
        (lambda: Pattern(EDGE, 2, 2, stride=(-1,)), ArgumentError, STRIDE + r"\(-1,\)"),
        (lambda: Pattern(EDGE, 2, 2, stride=(1, 1)), ArgumentError, STRIDE + r"\(1, 1\)"),
        (
            lambda: Pattern([(0, 0, 0), (0, 1)], 2, 2),
            PatternError,
            r"edges must be integers of shape \[connections, 3\], got object",
        ),
        (lambda: Pattern(EDGE, 2, 2, bias=[0, [1]]), PatternError, "for each of 2 outputs, got object"),
        (lambda: Pattern(EDGE, 10**12, 2), PatternError, f"n_out {FITS}, got 1,000,000,000,000 "),
        (lambda: Pattern(EDGE, 2, 10**12), PatternError, f"n_in {FITS}"),
        (lambda: Pattern([(0, 0, 2**60)], 2, 2), PatternError, f"n_weights {FITS}"),
        (lambda: Pattern(EDGE, 2, 2, n_weights=2**60), PatternError, f"n_weights {FITS}"),
        (lambda: Pattern(EDGE, 2, 2, bias=[0, 2**60]), PatternError, f"n_biases {FITS}"),
        (
            lambda: Pattern(EDGE, 5000, 5000).draw(),
            PatternError,
            "the matrix must have at most 1,000,000 entries, got 5,000 x 5,000; print the pattern",
        ),
        (
            lambda: Pattern.from_symmetry([[1, 0]], [[1, 0]], support=[(0, 0), (1,)]),
            PatternError,
            r"support must list pairs \(output below 2, input below 2\), got .*; omit it for all",
        ),
        (
            lambda: Pattern.from_symmetry([[1, [0]]], [[1, 0]]),
            ArgumentError,
            r"in_generators\[0\] must be a permutation.*got \[1, \[0\]\]; g\[i\] is where",
        ),
        (
            lambda: Pattern(EDGE, 4, 4).is_equivariant(generators.permutations(4), [0, 1, 2, 3]),
            ArgumentError,
            r"g_in must be a permutation.*; pass one permutation of the list",
        ),
        (
            lambda: generators.quarter_turns((2, 2), axes=(0, 0)),
            ArgumentError,
            r"axes must be two different axes of the grid, got \(0, 0",
        ),
        (
            lambda: generators.quarter_turns((2, 2, 2), axes=(0, 1, 2)),
            ArgumentError,
            "two different axes of the grid",
        ),
        (
            lambda: generators.quarter_turns((2, 2), axes=0),
            ArgumentError,
            "two different axes of the grid, got 0",
        ),
        (
            lambda: generators.circular_shifts(()),
            ArgumentError,
            r"shape must have at least one axis, got \(\)",
        ),
        (lambda: generators.identity(10**12), ArgumentError, f"a permutation {FITS}, got 1,000,000,"),
        (lambda: generators.permutations(10**12), ArgumentError, f"permutations: a permutation {FITS}"),
        (lambda: generators.flips((10**6, 10**6)), ArgumentError, f"flips: a permutation {FITS}"),
        (
            lambda: generators.on_pairs(generators.identity(10**6)),
            ArgumentError,
            f"on_pairs: a permu.*{FITS}",
        ),
        (
            lambda: generators.product(generators.identity(10**6), generators.identity(10**6)),
            ArgumentError,
            f"product: a permutation {FITS}",
        ),
        (
            lambda: generators.with_channels(generators.identity(10), 10**12),
            ArgumentError,
            f"with_channels: a permutation {FITS}",
        ),
    ],
)
def test_invalid_arguments_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_pairs_that_exceed_an_int64_are_refused(monkeypatch):
    monkeypatch.setattr("weightshare._memory.get_free_bytes", lambda: None)
    text = r"n_out x n_in must be below 2\*\*62, got 4,294,967,296 x 4,294,967,296"
    with pytest.raises(PatternError, match=text):
        Pattern(EDGE, 2**32, 2**32)


def test_strides_may_be_any_positive_numbers():
    assert [float(s) for s in Pattern(EDGE, (1, 2, 2), (1, 2, 2), stride=(0.5, np.int64(2))).stride] == [
        0.5,
        2,
    ]
    assert Pattern.of(torch.nn.ConvTranspose1d(1, 1, 2, stride=2), 4).stride[0] * 2 == 1
