"""Convert a convolution to the equivalent linear layer or sparse matrix."""

from math import prod
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear, Parameter

from .._args import Size, check_integer
from .._memory import check_fits
from ..errors import ArgumentError, ConversionError
from ..nn.base import SharedLayer
from ..pattern.taps import list_connections
from .convolutions import as_shared, choose_input_size, make_like
from .kernels import find_inputs, gather_biases, gather_kernels


@overload
def to_dense(
    layer: torch.nn.Module,
    input_size: Size | None = None,
    *,
    sparse: Literal[False] = False,
    max_bytes: int | None = None,
) -> Linear: ...


@overload
def to_dense(
    layer: torch.nn.Module,
    input_size: Size | None = None,
    *,
    sparse: Literal[True],
    max_bytes: int | None = None,
) -> Tensor: ...


@torch.no_grad()
def to_dense(
    layer: torch.nn.Module,
    input_size: Size | None = None,
    *,
    sparse: bool = False,
    max_bytes: int | None = None,
) -> Linear | Tensor:
    """Return the linear layer that is equivalent to a convolution of any sharing.

    `to_dense(layer)(x.flatten(1))` equals `layer(x).flatten(1)`: channels outermost, then positions in
    row-major order.

    Args:
        layer: A convolution or transposed convolution of `torch.nn` or `weightshare.nn`; it is not changed.
        input_size: Spatial size of the input; required unless the layer stores it.
        sparse: Whether to return only the matrix, as a coalesced sparse tensor. It has one entry for each
            connection that touches the input, even if its weight is zero.
        max_bytes: Maximum size of the dense matrix; by default the free memory.

    Shape:
        weight [out x prod(output_size), in x prod(input_size)], bias [out x prod(output_size)].

    Raises:
        ConversionError: If the matrix is larger than `max_bytes`, or the layer has hooks, a parametrization
            or a custom forward.
        ArgumentError: If `input_size` is missing, or `max_bytes` is not an integer.

    Example:
        >>> linear = to_dense(torch.nn.Conv2d(3, 8, 3), input_size=6)
        >>> linear.weight.shape, linear.bias.shape
        (torch.Size([128, 108]), torch.Size([128]))
        >>> to_dense(torch.nn.Conv2d(3, 8, 3), 6, sparse=True).values().shape
        torch.Size([3456])

    Source: d'Ascoli, Sagun, Biroli and Bruna, "Finding the needle in the haystack with convolutions: on the
    benefits of architectural bias", NeurIPS 2019, section 2.
    """
    name = type(layer).__name__
    if max_bytes is not None:
        max_bytes = check_integer(name, "max_bytes", max_bytes, least=0)
    source = as_shared(layer)
    sized = make_like(source, source.sharing, choose_input_size(source, input_size), source.bias_sharing)
    if sized.input_size is None or sized.output_size is None:
        raise ArgumentError(name, "input_size, the spatial size of the input, must be given", "None")
    shape = (
        sized.out_channels * prod(sized.output_size),
        sized.in_channels * prod(sized.input_size),
    )
    if not sparse:
        _check_memory(source, name, shape, max_bytes)
    kernels = gather_kernels(source, sized.position_size).to(source.weight.dtype).flatten(3)
    inputs = find_inputs(sized)
    if sparse:
        return _make_sparse(sized, shape, kernels, inputs)
    linear = Linear(1, 1, bias=source.bias is not None, device="meta")
    linear.out_features, linear.in_features = shape
    matrix = _make_dense(sized, shape, kernels, inputs.to(kernels.device))
    linear.weight = Parameter(matrix, requires_grad=source.weight.requires_grad)
    if source.bias is not None:
        biases = gather_biases(source, sized.output_size).T.flatten()
        linear.bias = Parameter(biases, requires_grad=source.bias.requires_grad)
    return linear.train(source.training)


def _make_dense(layer: SharedLayer, shape: tuple[int, int], kernels: Tensor, inputs: Tensor) -> Tensor:
    """Return the dense matrix; if several taps of a position are on one input, their weights are added."""
    matrix = kernels.new_zeros(shape)
    groups, positions = layer.groups, len(inputs)
    by_position = matrix.T if layer.transposed else matrix  # rows are on the position side
    # the block of each group: channels of the position side x channels of the window side
    blocks = by_position.unflatten(1, (groups, kernels.shape[2], -1)).unflatten(0, (groups, -1, positions))
    blocks = blocks.diagonal(dim1=0, dim2=3).movedim(-1, 0)
    values = kernels.unflatten(1, (groups, -1)).permute(1, 2, 0, 3, 4)
    values = torch.where((inputs >= 0)[:, None], values, 0)
    blocks.scatter_add_(-1, inputs.clamp(min=0)[:, None].expand(values.shape), values)
    return matrix


def _make_sparse(layer: SharedLayer, shape: tuple[int, int], kernels: Tensor, inputs: Tensor) -> Tensor:
    position_channels, window_channels = kernels.shape[1], kernels.shape[2] * layer.groups
    window_side = layer.output_size if layer.transposed else layer.input_size
    position_neurons, window_neurons, ids = list_connections(
        inputs.numpy(),
        np.arange(len(inputs)),
        position_channels,
        window_channels,
        layer.groups,
        prod(window_side or ()),
    )
    pairs = (position_neurons, window_neurons)
    indices = torch.from_numpy(np.stack(pairs[::-1] if layer.transposed else pairs)).to(kernels.device)
    values = kernels.flatten()[torch.from_numpy(ids).to(kernels.device)]
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False).coalesce()


def _check_memory(layer: SharedLayer, name: str, shape: tuple[int, int], max_bytes: int | None) -> None:
    weight = layer.weight
    if max_bytes is None and weight.is_cuda:
        max_bytes = torch.cuda.mem_get_info(weight.device)[0]
    check_fits(
        ConversionError,
        name,
        "the dense layer",
        prod(shape) * weight.element_size(),
        f"a matrix of {shape[0]:,} x {shape[1]:,}",
        "use sparse=True, a smaller input_size or a larger max_bytes",
        max_bytes,
    )
