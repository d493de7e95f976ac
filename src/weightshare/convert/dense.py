"""The outer limit: a layer as the linear map of all inputs to all outputs."""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear, Parameter

from .._args import Size, integer
from .._memory import check_fits
from ..errors import ArgumentError, ConversionError
from ..pattern.taps import connections
from .layers import as_ours, biases_at, kernels_at, like, size_for, taps_of


@torch.no_grad()
def to_dense(
    layer: torch.nn.Module,
    input_size: Size | None = None,
    *,
    sparse: bool = False,
    max_bytes: int | None = None,
) -> Any:
    """A convolution of any sharing, torch's or ours, plain or transposed, as a linear layer.

    `to_dense(layer)(x.flatten(1))` is `layer(x).flatten(1)`: channels outermost, then positions row-major.

    Args:
        layer: Left as it is.
        input_size: Spatial size of the input; needed where the layer itself does not know it.
        sparse: Give the matrix alone, as a coalesced sparse tensor with an entry for every connection that
            touches the input (also for a weight of zero).
        max_bytes: Refuse a larger matrix; default the memory that is free.

    Shape:
        weight [out x prod(output_size), in x prod(input_size)], bias [out x prod(output_size)].

    Raises:
        ConversionError: a matrix larger than `max_bytes`, a layer with hooks, a parametrization or a forward
            of its own.
        ArgumentError: no `input_size` where one is needed, a `max_bytes` that is no integer.

    Example:
        >>> linear = to_dense(torch.nn.Conv2d(3, 8, 3), input_size=6)
        >>> linear.weight.shape, linear.bias.shape
        (torch.Size([128, 108]), torch.Size([128]))
        >>> to_dense(torch.nn.Conv2d(3, 8, 3), 6, sparse=True).values().shape
        torch.Size([3456])

    Source: d'Ascoli, Sagun, Biroli and Bruna, "Finding the needle in the haystack with convolutions: on the
    benefits of architectural bias", NeurIPS 2019, section 2.
    """
    if max_bytes is not None:
        max_bytes = integer(type(layer).__name__, "max_bytes", max_bytes, least=0)
    source = as_ours(layer)
    sized = like(source, source.sharing, size_for(source, input_size), source.bias_sharing)
    if sized.output_size is None:
        expected = "as a dense layer it needs input_size, the spatial size of the input"
        raise ArgumentError(type(layer).__name__, expected, "none", "give input_size=")
    if not sparse:
        _check_memory(layer, _shape(sized), max_bytes)
    kernels = kernels_at(source, sized.position_size).to(source.weight.dtype).flatten(3)
    table = taps_of(sized)
    if sparse:
        return _sparse(sized, kernels, table)
    linear = Linear(1, 1, bias=source.bias is not None, device="meta")
    linear.out_features, linear.in_features = _shape(sized)
    matrix = _dense(sized, kernels, table.to(kernels.device))
    linear.weight = Parameter(matrix, requires_grad=source.weight.requires_grad)
    if source.bias is not None:
        biases = biases_at(source, sized.output_size).T.flatten()
        linear.bias = Parameter(biases, requires_grad=source.bias.requires_grad)
    return linear.train(source.training)


def _shape(sized: Any) -> tuple[int, int]:
    """Rows and columns of the matrix."""
    return sized.out_channels * prod(sized.output_size), sized.in_channels * prod(sized.input_size)


def _dense(sized: Any, kernels: Tensor, table: Tensor) -> Tensor:
    """The matrix, every weight added where its tap looks; several taps may look at one input."""
    matrix = kernels.new_zeros(_shape(sized))
    groups, positions = sized.groups, len(table)
    owners = matrix.T if sized.transposed else matrix
    # the block of one group's owners and the other side's channels of the same group, for every group
    blocks = owners.unflatten(1, (groups, kernels.shape[2], -1)).unflatten(0, (groups, -1, positions))
    blocks = blocks.diagonal(dim1=0, dim2=3).movedim(-1, 0)
    values = kernels.unflatten(1, (groups, -1)).permute(1, 2, 0, 3, 4)
    values = torch.where((table >= 0)[:, None], values, 0)
    blocks.scatter_add_(-1, table.clamp(min=0)[:, None].expand(values.shape), values)
    return matrix


def _sparse(sized: Any, kernels: Tensor, table: Tensor) -> Tensor:
    channels = kernels.shape[1], kernels.shape[2] * sized.groups
    inputs = prod(sized.output_size if sized.transposed else sized.input_size)
    rows, columns, ids = connections(table.numpy(), np.arange(len(table)), *channels, sized.groups, inputs)
    pair = (columns, rows) if sized.transposed else (rows, columns)
    indices = torch.from_numpy(np.stack(pair)).to(kernels.device)
    values = kernels.flatten()[torch.from_numpy(ids).to(kernels.device)]
    matrix = torch.sparse_coo_tensor(indices, values, _shape(sized), check_invariants=False)
    return matrix.coalesce()


def _check_memory(layer: Any, shape: tuple[int, int], max_bytes: int | None) -> None:
    weight = layer.weight
    if max_bytes is None and weight.is_cuda:
        max_bytes = torch.cuda.mem_get_info(weight.device)[0]
    check_fits(
        ConversionError,
        type(layer).__name__,
        "the dense layer",
        prod(shape) * weight.element_size(),
        f"a matrix of {shape[0]:,} x {shape[1]:,}",
        "use sparse=True, a smaller input_size or a larger max_bytes",
        max_bytes,
    )
