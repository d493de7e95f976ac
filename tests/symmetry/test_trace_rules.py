"""Operations are looked up in one table by their full names, and window sizes come from their arguments."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import X
from weightshare.symmetry.trace.rules import Kind, find_operation

#: Layers of torch.nn that are not in the table: they are followed by measurement.
NOT_LISTED = {
    *("CosineSimilarity", "PairwiseDistance"),
    *("RNNBase", "RNNCellBase", "RNNCell", "LSTMCell", "GRUCell"),
}
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
TRANSFORMERS = ("Transformer", "DataParallel", "Module", "Container")


def list_layers():
    names = (name for name in dir(nn) if isinstance(getattr(nn, name), type))
    return sorted(
        name
        for name in names
        if issubclass(getattr(nn, name), nn.Module)
        and not issubclass(getattr(nn, name), CONTAINERS)
        and not name.startswith(("Lazy", *TRANSFORMERS))
        and not name.endswith(("Loss", "Loss2d"))
    )


def test_the_table_lists_the_layers_of_torch():
    unknown = {name for name in list_layers() if find_operation(name).kind is Kind.UNKNOWN}
    assert unknown == NOT_LISTED


def test_the_table_lists_the_layers_of_weightshare():
    assert not [name for name in ws.nn.__all__ if find_operation(name).kind is Kind.UNKNOWN]


@pytest.mark.parametrize("name", ["MyConv2d", "pool_tokens", "ConvBlock", "padded", "my_linear", "fft_like"])
def test_a_part_of_a_name_is_not_enough(name):
    assert find_operation(name).kind is Kind.UNKNOWN


def test_modules_and_functions_have_the_same_kind():
    pairs = [("Conv2d", "conv2d"), ("ConvTranspose1d", "conv_transpose1d"), ("MaxPool3d", "max_pool3d")]
    pairs += [("AvgPool2d", "avg_pool2d"), ("LPPool2d", "lp_pool2d"), ("Upsample", "interpolate")]
    pairs += [("Linear", "linear"), ("BatchNorm2d", "batch_norm"), ("ReLU", "relu_"), ("Flatten", "flatten")]
    for module, function in pairs:
        assert find_operation(module).kind is find_operation(function).kind


FUNCTIONS = {
    "power-average pooling": lambda x: F.lp_pool2d(x, 2, 2, stride=1),
    "average pooling": lambda x: F.avg_pool2d(x, 2, stride=1),
    "max pooling with indices": lambda x: F.max_pool2d(x, 2, stride=1, return_indices=True)[0],
}


@pytest.mark.parametrize("model", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_stride_of_a_pooling_function_is_read(model):
    (row,) = ws.trace_equivariance(model, X).rows
    assert (row.causes, row.border) == (("valid border",), 0)


def test_a_locally_connected_layer_with_a_stride_is_followed():
    layer = ws.nn.LocallyConnected2d(3, 4, 2, stride=2, input_size=16).double().eval()
    trace = ws.trace_equivariance(layer, X, 2)
    assert (trace.followed, trace.rows[0].causes) == (True, ("unshared weights", "stride"))


def test_cropping_is_not_padding():
    (row,) = ws.trace_equivariance(lambda x: x.narrow(2, 4, 8), X).rows
    assert row.causes == ("valid border",)


def test_a_position_map_that_is_concatenated_is_a_position_embedding():
    for concatenate in (torch.cat, torch.concat, torch.concatenate):
        ramp = torch.arange(16.0).double().expand(2, 1, 16, 16)
        (row,) = ws.trace_equivariance(lambda x: concatenate([x, ramp], 1), X).rows  # noqa: B023
        assert row.causes == ("position embedding",)
