"""Code that `from_keras` and `from_flax` have in common: read arrays, check shapes, fill a layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backends import PaddingMode
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ..nn import LocallyConnected1d, LocallyConnected2d, LocallyConnected3d

Layer = LocallyConnected1d | LocallyConnected2d | LocallyConnected3d


def read_array(where: str, name: str, array: Any) -> Tensor:
    """Return a copy of a floating-point array as a tensor, including JAX's bfloat16, which numpy lacks."""
    expected = f"{name} must be a dense array of floating-point numbers"
    if isinstance(array, Tensor):
        if not array.is_floating_point():
            raise ArgumentError(where, expected, f"dtype {array.dtype}")
        if array.is_meta or array.layout != torch.strided:
            got = "a tensor on the meta device" if array.is_meta else f"layout {array.layout}"
            raise ArgumentError(where, expected, got)
        return array.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    try:
        values = np.asarray(array)
    except (TypeError, ValueError) as error:
        got = f"a {type(array).__name__} that numpy cannot convert: {error}"
        raise ArgumentError(where, expected, got) from None
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(_copy(values, np.dtype(np.float32))).bfloat16()
    if values.dtype.kind != "f":
        raise ArgumentError(where, expected, f"dtype {values.dtype}")
    if values.dtype.itemsize > 8:
        expected = f"{name} must have at most 64 bits per number"
        raise ArgumentError(where, expected, f"dtype {values.dtype}", "convert it with .astype('float64')")
    return torch.from_numpy(_copy(values, values.dtype.newbyteorder("=")))


def _copy(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return a writable, contiguous copy, as torch requires."""
    return values.astype(dtype, order="C", copy=True)


def check_array_shape(
    where: str, what: str, layout: str, expected: Sequence[int | tuple[int, str]], array: Tensor, hint: str
) -> None:
    """Raise `ShapeError` unless the array has the expected shape.

    Args:
        where: Name of the public function in the error.
        what: Name of the array in the error.
        layout: Expected axes by name, such as "[*out, filters]".
        expected: Size of each axis; (6, "in") stands for any positive multiple of 6.
        array: Array to check.
        hint: Hint in the error.
    """
    fits = len(expected) == array.dim() and all(
        got == want if isinstance(want, int) else got > 0 and got % want[0] == 0
        for got, want in zip(array.shape, expected)
    )
    if not fits:
        texts = [str(w) if isinstance(w, int) else f"{w[0]} * {w[1]}" if w[0] > 1 else w[1] for w in expected]
        shape = f"{layout} = [{', '.join(texts)}]"
        raise ShapeError(where, f"{what} must be {shape}", str(list(array.shape)), hint)


def convert_padding(where: str, window: Window, hint: str) -> tuple[int, ...] | str:
    """Return the padding of a window as `weightshare.nn` layers accept it: one int per axis, or "same"."""
    if all(before == after for before, after in window.padding):
        return tuple(before for before, _ in window.padding)
    same = Window(window.kernel_size, padding="same", dilation=window.dilation)
    if window.padding == same.padding and set(window.stride) == {1}:
        return "same"
    raise ArgumentError(
        where,
        "padding must be equal at both ends of each axis, or torch's padding='same' at stride 1",
        f"(before, after) = {window.padding}",
        hint,
    )


def make_locally_connected(
    kernels: Tensor,
    bias: Tensor | None,
    window: Window,
    padding: tuple[int, ...] | str,
    padding_mode: PaddingMode,
    input_size: tuple[int, ...],
) -> Layer:
    """Return the layer with kernels [*out, *kernel_size, in, out_channels] and bias [P, out_channels]."""
    *_, in_channels, out_channels = kernels.shape
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
        dtype=kernels.dtype,
        input_size=input_size,
    )
    with torch.no_grad():
        layer.weight.copy_(kernels.flatten(0, window.ndim - 1))
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer
