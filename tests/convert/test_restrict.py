"""Restricting returns the nearest layer and its error, ignores taps on padding, and refuses bad layers."""

import pytest
import torch

from weightshare import Full, Local, LowRank, Regional, Tiled, nn, reference, relax, restrict
from weightshare.errors import ArgumentError, ConversionError, SharingError


def make_local(**arguments):
    torch.manual_seed(0)
    given = {"padding": 1, "input_size": 6, "dtype": torch.float64, **arguments}
    return nn.Conv2d(2, 3, 3, sharing=Local(), **given)


def find_touching(layer):
    table = reference.input_table(layer.window, layer.input_size, layer.padding_mode)
    return (table < torch.Size(layer.input_size).numel()).unflatten(1, layer.kernel_size)


@torch.no_grad()
def test_weights_on_padding_do_not_affect_the_mean():
    plain = torch.nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)
    layer = relax(plain, Local(), input_size=6)
    layer.kernels().permute(0, 3, 4, 1, 2)[~find_touching(layer)] = 1e6
    for sharing in (Full(), Regional(2), Tiled(3)):
        result = restrict(layer, sharing)
        assert result.error < 1e-12
        torch.testing.assert_close(reference.kernels_by_position(result.module)[7], plain.weight.flatten(2))


@torch.no_grad()
@pytest.mark.parametrize("coefficients", ["factorized", "free"])
def test_a_low_rank_layer_is_recovered_despite_large_weights_on_padding(coefficients):
    torch.manual_seed(0)
    exact = nn.Conv2d(4, 6, 3, padding=1, sharing=LowRank(1, coefficients), input_size=9, dtype=torch.float64)
    exact.weight.normal_()
    layer = relax(exact, Local())
    assert restrict(layer, exact.sharing).error < 1e-13
    layer.kernels().permute(0, 3, 4, 1, 2)[~find_touching(layer)] += 1e6
    assert restrict(layer, exact.sharing).error < 1e-7


@torch.no_grad()
def test_a_low_rank_layer_is_recovered_in_single_precision():
    torch.manual_seed(0)
    exact = nn.Conv2d(4, 6, 3, padding=1, sharing=LowRank(3), input_size=4)
    exact.weight.normal_()
    result = restrict(relax(exact, Local()), exact.sharing)
    assert result.error < 1e-6
    torch.testing.assert_close(
        *map(reference.kernels_by_position, (result.module, exact)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_copies_of_inputs_counts_as_input(mode):
    layer = make_local(padding_mode=mode)
    result = restrict(layer, Full())
    torch.testing.assert_close(
        result.module.weight, reference.kernels_by_position(layer).mean(0).view(3, 2, 3, 3)
    )


def test_restricting_to_full_keeps_the_input_size():
    result = restrict(make_local(), Full())
    assert type(result.module) is nn.Conv2d
    assert result.module.input_size == (6, 6)
    assert result.module.bias.shape == (3,)
    assert 0 < result.error < 1
    assert 0 < result.bias_error < 1
    assert result.errors == {}


def test_locally_connected_layers_restrict_to_plain_classes():
    result = restrict(nn.LocallyConnected1d(2, 3, 3, input_size=8), Tiled(2))
    assert type(result.module) is nn.Conv1d


def test_biases_become_means_over_their_banks():
    layer = make_local()
    expected = layer.bias_map().unflatten(1, (3, 2)).unflatten(3, (3, 2)).mean((1, 3))
    got = restrict(layer, Tiled(2)).module.bias
    torch.testing.assert_close(got.T.unflatten(1, (2, 2)), expected)
    result = restrict(layer, Full(), bias_sharing=Local())
    assert torch.equal(result.module.bias, layer.bias)
    assert result.bias_error == 0
    assert restrict(make_local(bias=False), Full()).bias_error == 0


def test_unneeded_corrections_are_zero_and_trainable():
    plain = nn.Conv2d(2, 3, 3, input_size=6, dtype=torch.float64)
    result = restrict(relax(plain, Local()), LowRank(2))
    assert result.error < 1e-14
    assert not result.module.weight[1:].any()
    assert result.module.coefficients_0.all()


def test_dtype_gradients_and_training_flag_are_kept():
    layer = make_local(dtype=torch.float32).eval()
    layer.weight.requires_grad_(False)
    for sharing in (Full(), LowRank(2, "free")):
        result = restrict(layer, sharing).module
        assert {p.dtype for p in result.parameters()} == {torch.float32}
        assert not result.training
        assert not result.weight.requires_grad
        assert result.bias.requires_grad


def test_a_layer_without_a_size_restricts_to_itself():
    layer = nn.Conv2d(2, 3, 3)
    result = restrict(layer, Full())
    assert result.error == result.bias_error == 0
    assert torch.equal(result.module.weight, layer.weight)
    with pytest.raises(ArgumentError, match="sharing=Tiled\\(2\\) needs input_size"):
        restrict(layer, Tiled(2))


@torch.no_grad()
def test_a_layer_of_zeros_has_no_error():
    layer = make_local(bias=False)
    layer.weight.zero_()
    for sharing in (Full(), LowRank(2)):
        assert restrict(layer, sharing).error == 0


def make_not_finite(name, value):
    layer = make_local()
    getattr(layer, name).data.view(-1)[5] = value
    return layer


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("sharing", [Full(), Tiled(2), LowRank(2), LowRank(2, "free")], ids=str)
def test_parameters_that_are_not_finite_are_refused(sharing, value):
    for name, count in (("weight", "1,944"), ("bias", "108")):
        with pytest.raises(ConversionError) as error:
            restrict(make_not_finite(name, value), sharing)
        assert str(error.value) == (
            f"Conv2d: {name} must be finite, got NaN or infinity in 1 of {count} elements; "
            "replace them first, for example with torch.nan_to_num."
        )


ERRORS = [
    (
        lambda: restrict(make_local(device="meta"), Full()),
        ConversionError,
        "Conv2d: weight must have values, got a tensor on the meta device; load the weights on another "
        "device "
        "first.",
    ),
    (
        lambda: restrict(torch.nn.Conv2d(2, 3, 3), Full()),
        ConversionError,
        "Conv2d: the layer must be one of weightshare.nn, got a torch.nn layer, which is already fully "
        "shared; "
        "use relax(layer, sharing, input_size=...) to share less.",
    ),
    (
        lambda: restrict(make_local(), {"weight": Full()}),
        ArgumentError,
        "restrict: the plan for a layer must be a sharing, got {'weight': Full()}; convert "
        "text with parse_sharing().",
    ),
    (
        lambda: restrict(make_local(), Regional(7)),
        SharingError,
        "Conv2d: sharing=Regional(7) needs an output of at least 7 x 7, got (6, 6) from input_size=(6, 6), "
        "kernel_size=3; use a smaller grid or Local().",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act()
    assert type(error.value) is kind
    assert str(error.value) == text
