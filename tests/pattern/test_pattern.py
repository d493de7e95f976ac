"""`Pattern.of` and `Pattern.probe` agree with the matrices of the oracle, and refuse invalid arguments."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn.utils import prune

import weightshare as ws
from weightshare import Full, LowRank, Pattern, nn, reference
from weightshare.errors import ArgumentError, PatternError, ShapeError
from weightshare.testing.strategies import layers, transposed_layers


def make_matrix(pattern, weights):
    matrix = np.zeros((pattern.n_out, pattern.n_in))
    np.add.at(matrix, (pattern.edges[:, 0], pattern.edges[:, 1]), weights[pattern.edges[:, 2]])
    return matrix


def check(layer):
    pattern = Pattern.of(layer)
    kernels = layer.kernels()
    if isinstance(layer.sharing, LowRank):  # the pattern describes the kernel that all positions share
        kernels = kernels[:1]
        for name in layer._coefficient_names:
            getattr(layer, name).data.zero_()
    weights = kernels.detach().double().numpy().ravel()
    assert pattern.n_weights == weights.size
    expected = reference.dense_matrix(layer, layer.input_size).detach().numpy()
    np.testing.assert_allclose(make_matrix(pattern, weights), expected, atol=1e-12)
    if layer.bias is None:
        assert pattern.bias is None
    else:
        biases = layer.bias.detach().flatten()[torch.tensor(pattern.bias)]
        assert torch.equal(biases, layer.bias_map().flatten())


@settings(max_examples=60, deadline=None)
@given(layers(any_padding=True))
def test_layers(layer):
    check(layer)


@settings(max_examples=40, deadline=None)
@given(transposed_layers())
def test_transposed_layers(layer):
    check(layer)


CONVOLUTIONS = [
    (torch.nn.Conv1d(2, 4, 3, padding="same", dilation=2), (7,)),
    (torch.nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=1, groups=2), (5, 6)),
    (torch.nn.Conv3d(1, 2, 2, padding=1, padding_mode="replicate", bias=False), (3, 2, 4)),
    (torch.nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (4,)),
    (torch.nn.ConvTranspose2d(4, 2, 3, stride=2, groups=2), (3, 2)),
    (torch.nn.Linear(4, 3), (4,)),
]


@pytest.mark.parametrize(("layer", "size"), CONVOLUTIONS, ids=lambda value: str(value)[:40])
def test_torch_layers(layer, size):
    linear = isinstance(layer, torch.nn.Linear)
    layer = layer.double()
    shape = size if linear else (layer.in_channels, *size)
    pattern = Pattern.of(layer, None if linear else size)
    zero = layer(torch.zeros(1, *shape, dtype=torch.float64))
    unit = torch.eye(int(np.prod(shape)), dtype=torch.float64).view(-1, *shape)
    expected = (layer(unit) - zero).flatten(1).T.detach().numpy()
    weights = layer.weight.detach().numpy().ravel()
    np.testing.assert_allclose(make_matrix(pattern, weights), expected, atol=1e-12)
    assert pattern.out_shape == (tuple(zero.shape[1:]) if not linear else (1, 3))
    if layer.bias is not None:
        np.testing.assert_allclose(layer.bias.detach().numpy()[pattern.bias], zero.detach().flatten())
    probed = Pattern.probe(layer, shape if not linear else 4)
    if len(np.unique(pattern.edges[:, :2], axis=0)) == len(
        pattern.edges
    ):  # else several weights are on one pair
        assert probed == pattern


def test_probe_finds_the_connections_of_a_convolution():
    layer = torch.nn.Conv2d(1, 1, 3, padding=1)
    found = Pattern.probe(layer, (1, 6, 6))
    assert (found.n_weights, len(found.edges)) == (9, 256)
    assert found == Pattern.of(layer, 6)
    layer.padding_mode, layer._reversed_padding_repeated_twice = "circular", [1, 1, 1, 1]
    assert len(Pattern.probe(layer, (1, 6, 6)).edges) == 324


def test_probe_uses_the_layers_own_weights_without_redraw():
    layer = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.ones_(layer.weight)
    assert Pattern.probe(layer, 3, redraw=False).n_weights == 1
    assert Pattern.probe(layer, 3).n_weights == 9
    assert torch.equal(layer.weight, torch.ones(3, 3))
    assert Pattern.probe(lambda x: x.cumsum(1), 3).n_weights == 1
    assert "equal values" in Pattern.probe(torch.nn.AvgPool1d(2), (1, 4)).note


def test_the_pattern_of_low_rank_is_its_shared_kernel():
    layer = nn.Conv1d(1, 1, 3, sharing=LowRank(2), input_size=6)
    pattern = Pattern.of(layer)
    assert pattern == Pattern.of(nn.Conv1d(1, 1, 3, sharing=Full(), input_size=6))
    assert (
        pattern.note
        == "the kernel that all positions share; the corrections of LowRank(2) differ by position"
    )
    assert "corrections of LowRank(2)" in str(pattern)
    shift = [1, 2, 3, 4, 5, 0]
    assert "LowRank" in str(pattern.is_equivariant(shift, [1, 2, 3, 0]))
    proof = pattern.is_equivariant(range(6), range(4))
    assert (proof.holds, bool(proof)) == (True, False)


def test_a_matrix_is_made_only_if_it_fits_in_memory():
    pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1, bias=False), 4)
    assert pattern.matrix().tolist() == [[1, 2, -1, -1], [0, 1, 2, -1], [-1, 0, 1, 2], [-1, -1, 0, 1]]
    text = r"must fit in 127 bytes of memory, got 4 x 4 entries \(128 bytes\); use \.edges"
    with pytest.raises(PatternError, match=text):
        pattern.matrix(max_bytes=127)
    huge = Pattern.of(torch.nn.Conv1d(1, 1, 1), 10**6)
    with pytest.raises(PatternError, match=r"1,000,000 x 1,000,000 entries \(8,000,000,000,000 bytes\)"):
        huge.matrix()
    twice = Pattern.of(torch.nn.Conv1d(1, 1, 5, padding=2, padding_mode="circular"), 3)
    with pytest.raises(
        PatternError, match="must have at most one weight, got several for output 0 and input 1"
    ):
        twice.matrix()


def test_connections_that_do_not_fit_in_memory_are_refused():
    with pytest.raises(
        PatternError, match=r"its connections must fit in [\d,]+ bytes of memory, got 1,000,000,000,000 "
    ):
        Pattern.of(torch.nn.Linear(10**6, 10**6, device="meta"))
    for layer, size in ((torch.nn.Conv2d(1, 1, 3), 10**6), (torch.nn.Conv1d(1, 1, 3), 10**12)):
        with pytest.raises(
            PatternError, match=r"its connections must fit in [\d,]+ bytes of memory, got [\d,]+ "
        ):
            Pattern.of(layer, size)
    with pytest.raises(PatternError, match="the Jacobian and its clusters must fit in"):
        Pattern.probe(lambda x: x, 10**6)
    moves = [np.arange(10**6)]
    with pytest.raises(PatternError, match=r"all 1,000,000 x 1,000,000 connections.*pass support="):
        Pattern.from_symmetry(moves, moves)


class Twice(torch.nn.Conv1d):
    def forward(self, x):
        return super().forward(2 * x)


class Squared(torch.nn.Conv1d):
    def _conv_forward(self, *arguments):
        return super()._conv_forward(*arguments) ** 2


def test_plain_subclasses_and_attributes_do_not_matter():
    class Named(torch.nn.Conv1d):
        pattern = "stripes"

    assert Pattern.of(Named(1, 1, 3), 5) == Pattern.of(torch.nn.Conv1d(1, 1, 3), 5)
    tied = nn.TiedLinear(torch.nn.Linear(3, 2))
    assert Pattern.of(tied) == Pattern.of(torch.nn.Linear(2, 3))
    layer = nn.SharedLinear(Pattern.of(torch.nn.Linear(3, 2)), bias=False)
    assert Pattern.of(layer) == Pattern.of(torch.nn.Linear(3, 2, bias=False))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Pattern.of(torch.nn.ReLU()), ArgumentError, "got ReLU; use Pattern.probe"),
        (lambda: Pattern.of("conv"), ArgumentError, "got str; use Pattern.probe"),
        (
            lambda: Pattern.of(torch.nn.Conv1d(1, 1, 3)),
            ArgumentError,
            "Conv1d: input_size, the spatial size of the input, must",
        ),
        (
            lambda: Pattern.of(ws.nn.LocallyConnected1d(1, 1, 3, input_size=6), 7),
            ArgumentError,
            r"input_size must be \(6,\), for which the layer was built, got \(7,\)",
        ),
        (
            lambda: Pattern.of(torch.nn.ConvTranspose1d(1, 1, 3), 5, padding_mode="circular"),
            ArgumentError,
            "a transposed layer has no padding_mode, got 'circular'",
        ),
        (
            lambda: Pattern.of(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))),
            ArgumentError,
            "weight and bias must be parameters, got one that is computed by a parametrization, a norm or",
        ),
        (
            lambda: Pattern.of(prune.random_unstructured(torch.nn.Linear(2, 2), "weight", 1)),
            ArgumentError,
            "Linear: weight and bias must be parameters, got one that .*pruning; use Pattern.probe",
        ),
        (
            lambda: Pattern.of(Twice(1, 1, 3), 5),
            ArgumentError,
            "Twice: forward must be that of torch.nn or weightshare.nn, got a custom one; use Pattern.probe",
        ),
        (
            lambda: Pattern.of(Squared(1, 1, 3), 5),
            ArgumentError,
            "Squared: forward must be that of torch.nn or",
        ),
        (
            lambda: Pattern.of(torch.nn.LazyConv1d(2, 3), 5),
            ArgumentError,
            "must be known, got a lazy layer; call it",
        ),
        (
            lambda: Pattern.of(torch.nn.LazyLinear(2)),
            ArgumentError,
            "LazyLinear: the sizes of the layer must be known",
        ),
        (
            lambda: Pattern.of(torch.nn.Linear(2, 2), "abc"),
            ArgumentError,
            "Linear: a linear layer has no input_size or padding_mode, got 'abc'",
        ),
        (
            lambda: Pattern.of(torch.nn.ConvTranspose1d(1, 1, 2, padding=2), 2),
            ShapeError,
            "ConvTranspose1d: the output must have at least one position on each axis, got -1 from "
            "input_size=",
        ),
        (lambda: Pattern.probe(torch.relu, 4), PatternError, "f must be linear up to a constant"),
        (
            lambda: Pattern.probe(lambda x: x.sum(), 4),
            PatternError,
            r"f must return a non-empty tensor \[1, ...\], got \(\)",
        ),
        (
            lambda: Pattern([(0, 0)], 1, 1),
            PatternError,
            r"edges must be integers of shape \[connections, 3\]",
        ),
        (
            lambda: Pattern([(0, 3, 0)], 2, 3),
            PatternError,
            r"an input below 3 and an id of at least 0, got \(0, 3, 0\)",
        ),
        (
            lambda: Pattern([(0, 0, 4)], 2, 3, n_weights=4),
            PatternError,
            "n_weights must be at least 5, one more than the largest id, got 4",
        ),
        (
            lambda: Pattern([(0, 0, 0)], 2, 3, bias=[0]),
            PatternError,
            "bias must have an id of at least 0 for each of 2 outputs",
        ),
        (lambda: Pattern([(0, 0, 0)], 0, 3), ArgumentError, "out_shape must be at least 1"),
    ],
)
def test_invalid_arguments_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_edges_are_sorted_and_read_only():
    pattern = Pattern([(1, 0, 7), (0, 1, 7)], 2, 2)
    assert pattern.edges.tolist() == [[0, 1, 7], [1, 0, 7]]
    assert pattern == Pattern([(0, 1, 0), (1, 0, 0)], 2, 2)
    assert pattern != Pattern([(0, 1, 0), (1, 0, 1)], 2, 2)
    assert pattern != "pattern"
    assert len({pattern, Pattern([(0, 1, 0), (1, 0, 0)], 2, 2)}) == 1
    biased = Pattern(pattern.edges, 2, 2, bias=[0, 1])
    for other in (biased, copy.deepcopy(biased), copy.copy(biased), pickle.loads(pickle.dumps(biased))):
        for table in (other.edges, other.bias):
            with pytest.raises(ValueError, match="read-only"):
                table[0] = 1
        assert other == biased


def test_two_weights_on_one_pair_are_compared_whatever_their_ids():
    taps = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)]
    pattern = Pattern(taps, 2, 2)
    swapped = Pattern([(o, i, 1 - w) for o, i, w in taps], 2, 2)
    assert pattern == swapped
    assert pattern.refines(swapped)
    only_together = Pattern([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2), (1, 0, 2), (1, 0, 0)], 2, 2)
    named = Pattern([(0, 0, 5), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 5)], 2, 2)
    other = Pattern([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2), (1, 0, 2), (1, 0, 3)], 2, 2)
    assert only_together == named
    assert only_together != other
    assert other.refines(only_together)
    assert not only_together.refines(other)
    twice = Pattern([(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 1)], 2, 2)
    assert twice != Pattern([(0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)], 2, 2)
    layer = torch.nn.Conv1d(2, 3, 5, padding=2, padding_mode="circular")
    pattern = Pattern.of(layer, 3)
    ids = np.random.default_rng(0).permutation(pattern.n_weights)
    edges = np.concatenate([pattern.edges[:, :2], ids[pattern.edges[:, 2:]]], 1)
    assert Pattern(edges, (3, 3), (2, 3), bias=pattern.bias) == pattern
    assert pattern.refines(Pattern(edges % [9, 9, 1], (3, 3), (2, 3)))
