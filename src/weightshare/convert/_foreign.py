"""What weights from every other library need: reading arrays, checking shapes, filling a layer."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ..nn import LocallyConnected1d, LocallyConnected2d, LocallyConnected3d

Layer = LocallyConnected1d | LocallyConnected2d | LocallyConnected3d


def floats(where: str, name: str, array: Any) -> Tensor:
    """A copy of any array of floating-point numbers, also of JAX's bfloat16, which numpy does not know."""
    expected = f"{name} must be an array of floating-point numbers"
    if isinstance(array, Tensor):
        if not array.is_floating_point():
            raise ArgumentError(where, expected, f"dtype {array.dtype}", "convert it first")
        if array.is_meta or array.layout != torch.strided:
            got = "a tensor on the meta device" if array.is_meta else f"layout {array.layout}"
            raise ArgumentError(where, expected, got, "give a dense tensor that holds numbers")
        return array.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    try:
        values = np.asarray(array)
    except (TypeError, ValueError) as error:
        got = f"a {type(array).__name__}, which numpy cannot read: {error}"
        raise ArgumentError(where, expected, got, "give a numpy array") from None
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(_owned(values, np.dtype(np.float32))).bfloat16()
    if values.dtype.kind != "f":
        raise ArgumentError(where, expected, f"dtype {values.dtype}", "convert it first")
    if values.dtype.itemsize > 8:
        expected = f"{name} must be an array of floating-point numbers of at most 64 bits"
        raise ArgumentError(where, expected, f"dtype {values.dtype}", "convert it by .astype('float64')")
    return torch.from_numpy(_owned(values, values.dtype.newbyteorder("=")))


def _owned(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy that torch can take as it is: contiguous, and in this machine's byte order."""
    return values.astype(dtype, order="C", copy=True)


def check_shape(
    where: str, what: str, layout: str, expected: Sequence[int | tuple[int, str]], array: Tensor, hint: str
) -> None:
    """Refuse an array of another shape than `expected`, where (6, "in") stands for any multiple of 6."""
    fits = len(expected) == array.dim() and all(
        got == want if isinstance(want, int) else got > 0 and got % want[0] == 0
        for got, want in zip(array.shape, expected)
    )
    if not fits:
        texts = [str(w) if isinstance(w, int) else f"{w[0]} * {w[1]}" if w[0] > 1 else w[1] for w in expected]
        shape = f"{layout} = [{', '.join(texts)}]"
        raise ShapeError(where, f"{what} must be {shape}", str(list(array.shape)), hint)


def layer_padding(where: str, window: Window, hint: str) -> tuple[int, ...] | str:
    """The window's padding as the layers take it: one int an axis, or "same"."""
    if all(before == after for before, after in window.padding):
        return tuple(before for before, _ in window.padding)
    same = Window(window.kernel_size, padding="same", dilation=window.dilation)
    if window.padding == same.padding and set(window.stride) == {1}:
        return "same"
    raise ArgumentError(
        where,
        "padding must be equal before and after each axis, or that of torch's 'same' at stride 1",
        f"(before, after) = {window.padding}",
        hint,
    )


def locally_connected(
    kernel: Tensor,
    bias: Tensor | None,
    window: Window,
    padding: tuple[int, ...] | str,
    padding_mode: str,
    input_size: tuple[int, ...],
) -> Layer:
    """The layer of kernels [*out, *kernel_size, in, out_channels] and biases [P, out_channels]."""
    *_, in_channels, out_channels = kernel.shape
    make = (LocallyConnected1d, LocallyConnected2d, LocallyConnected3d)[window.ndim - 1]
    layer = make(
        in_channels,
        out_channels,
        window.kernel_size,
        window.stride,
        padding,
        window.dilation,
        bias=bias is not None,
        padding_mode=padding_mode,
        dtype=kernel.dtype,
        input_size=input_size,
    )
    with torch.no_grad():
        layer.weight.copy_(kernel.reshape(prod(kernel.shape[: window.ndim]), *kernel.shape[window.ndim :]))
        if bias is not None:
            layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer
