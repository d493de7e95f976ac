"""Call the library with tensors."""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from ...errors import ArgumentError, ShapeError
from ...geometry import Window
from ..gradient_memory import allocate
from ..layout import is_channels_last
from .library import Layer, Library, load

#: The maps in the order of layer.h.
OUTPUT, INPUT_GRAD, WEIGHT_GRAD = range(3)
_TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_PLAIN = (Tensor, torch.nn.Parameter)
#: Working memory in bytes that the C code can address.
_MOST = 2**62


class Table:
    """The bank of each position, in the form that the C code reads.

    Args:
        labels: Bank of each position, in row-major order.
    """

    def __init__(self, labels: Sequence[int]):
        self.labels = np.array(labels, np.int64)
        self.order = np.argsort(self.labels, kind="stable").astype(np.int64)
        self.starts = np.searchsorted(self.labels[self.order], np.arange(self.labels.max() + 2)).astype(
            np.int64
        )


def is_supported(*tensors: Tensor) -> bool:
    """Return whether the library is there and can compute with these tensors."""
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.dtype not in _TYPES or type(tensor) not in _PLAIN:
            return False
    return tensors[0].dtype == tensors[1].dtype and load() is not None


def compute(
    map: int,
    first: Tensor,
    second: Tensor,
    window: Window,
    padding: Sequence[Sequence[int]],
    output_size: Sequence[int],
    groups: int,
    shape: Sequence[int],
    table: Table | None,
    weight: Tensor | None = None,
) -> Tensor:
    """Compute a map of a layer with one bank per position.

    Args:
        map: `OUTPUT`, `INPUT_GRAD` or `WEIGHT_GRAD`.
        first: Input [N, in, *size], or for `INPUT_GRAD` the gradient of the output [N, out, *output_size].
        second: Weight [K, *kernel_size, in/groups, out], or for `WEIGHT_GRAD` the gradient of the output.
        window: Window of the layer; its padding is ignored.
        padding: Zeros around the input, one pair per axis.
        output_size: Number of positions per axis.
        groups: Number of channel groups.
        shape: Shape of the result.
        table: Bank of each position; None if each has its own.
        weight: The weight whose gradient the result is, if it is known.
    """
    first, first_last = _arrange(first)
    second, second_last = _arrange(second) if map == WEIGHT_GRAD else (_resolve(second).contiguous(), False)
    input_shape = shape if map == INPUT_GRAD else first.shape
    weight_shape = shape if map == WEIGHT_GRAD else second.shape
    grad_shape = (first, second, second)[(2, 0, 1)[map]].shape if map else shape
    geometry = (window.kernel_size, window.stride, window.dilation, tuple(p for p, _ in padding))
    shapes = (tuple(input_shape), tuple(weight_shape), tuple(grad_shape))
    lasts = (first_last, second_last, first_last and map != WEIGHT_GRAD)
    library, threads = load(), torch.get_num_threads()
    if library is None:
        raise RuntimeError("the native backend is not available")
    layer, size = _describe(
        library, map, geometry, tuple(output_size), groups, shapes, lasts, _TYPES[first.dtype], threads, table
    )
    if lasts[2]:
        batch, channels, *pixels = shape
        result = first.new_empty((batch, *pixels, channels)).movedim(-1, 1)
    else:
        result = allocate(shape, first, weight)
    if 0 in (*first.shape, *second.shape, *shape):
        return result.zero_()
    memory = torch.empty(size, dtype=torch.uint8, device="cpu")
    error = library.functions.weightshare_compute(
        map,
        layer,
        first.data_ptr(),
        second.data_ptr(),
        result.data_ptr(),
        memory.data_ptr(),
        library.parallel_for,
    )
    if error:
        raise RuntimeError(f"the threads of torch failed with error {error}")
    return result


def _resolve(tensor: Tensor) -> Tensor:
    return tensor.resolve_neg() if tensor.is_neg() else tensor


def _arrange(images: Tensor) -> tuple[Tensor, bool]:
    """Return images [N, C, *size] that are contiguous or channels last, and whether they are the latter."""
    images = _resolve(images)
    if images.is_contiguous():
        return images, False
    if is_channels_last(images):
        return images, True
    return images.contiguous(), False


@lru_cache(maxsize=256)
def _describe(
    library: Library,
    map: int,
    geometry: tuple[tuple[int, ...], ...],
    output_size: tuple[int, ...],
    groups: int,
    shapes: tuple[tuple[int, ...], ...],
    lasts: tuple[bool, ...],
    type_number: int,
    threads: int,
    table: Table | None,
) -> tuple[Layer, int]:
    """Return the checked C structure of a layer without addresses, and the bytes of its working memory."""
    input_shape, weight_shape, grad_shape = shapes
    kernel_size = geometry[0]
    banks = prod(output_size) if table is None else len(table.starts) - 1
    expected = (banks, *kernel_size, input_shape[1] // groups, grad_shape[1])
    if weight_shape != expected or grad_shape != (input_shape[0], expected[-1], *output_size):
        got = f"weight {list(weight_shape)}, input {list(input_shape)} and output {list(grad_shape)}"
        raise ShapeError("unshared layer", f"weight must be {list(expected)} for its input and output", got)
    if input_shape[1] % groups or grad_shape[1] % groups:
        raise ShapeError("unshared layer", f"channels must be divisible by {groups} groups", str(shapes))
    check_sizes(shapes, geometry, threads)
    layer = Layer(
        batch=input_shape[0], channels=input_shape[1], outputs=grad_shape[1], groups=groups, banks=banks
    )
    if table is not None:
        layer.labels, layer.order = table.labels.ctypes.data, table.order.ctypes.data
        layer.starts = table.starts.ctypes.data
    sizes = (input_shape[2:], output_size, *geometry)
    names = ("input_size", "output_size", "kernel_size", "stride", "dilation", "padding")
    for name, values in zip(names, sizes):
        fill = 0 if name == "padding" else 1
        setattr(layer, name, (ctypes.c_int64 * 3)(*(fill,) * (3 - len(values)), *values))
    layer.type, layer.threads = type_number, threads
    layer.first_last, layer.second_last, layer.result_last = lasts
    if 0 in (*input_shape, *grad_shape):
        return layer, 0
    return layer, library.functions.weightshare_count_memory(map, layer)


def check_sizes(shapes: Sequence[Sequence[int]], geometry: Sequence[Sequence[int]], threads: int) -> None:
    """Raise `ArgumentError` if the C code could not address the tensors or its working memory."""
    elements = max(prod(max(1, n) for n in shape) for shape in shapes)
    if elements * 64 * max(1, threads) > _MOST or any(n > 2**31 for row in geometry for n in row):
        expected = "sizes must fit 62-bit addresses, and kernel sizes, strides and dilations 31 bits"
        raise ArgumentError("unshared layer", expected, f"{elements:,} elements")
