"""Weights in integers: how many logical elements a quantized layer packs into each."""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Size, Tensor
from torch.nn import Module
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from .storage import get_storage_key, is_integer, is_plain, iter_wrapped
from .stored import Layout, Stored, describe_bits, store

#: Names of the attributes that hold the output and input size of a layer with one weight per pair.
_SIZES = (("out_features", "in_features"), ("outfeatures", "infeatures"), ("num_embeddings", "embedding_dim"))
#: Names of the attributes that hold the bits per weight.
_BITS = ("bits", "w_bit", "wbits", "nbits")
#: Bits per weight of the known layouts.
_KNOWN_BITS = range(1, 9)
#: Names of the variables of Keras layers that int4 quantization packs.
_KERAS_WEIGHTS = ("embeddings", "kernel")
_UNKNOWN = Layout("UNKNOWN_LAYOUT", "integers that may hold several weights each, counted as stored")


def read_parameter(module: Module, name: str, parameter: Tensor) -> Stored:
    """Return a registered parameter, with its logical shape if its module or class reports one."""
    state = getattr(parameter, "quant_state", None)
    if name == find_packed_weight(module) or state is not None:
        shape = _read_shape(module, name, parameter)
        if shape is not None:
            return _make(name, parameter, shape)
    if _may_hold_weights(name, parameter):
        is_beside_weight = find_packed_weight(module) is not None
        return store(name, parameter, id(parameter), None if is_beside_weight else _UNKNOWN)
    wrapped = [part for part in iter_wrapped(parameter) if is_integer(part)]
    values = max(wrapped, key=Tensor.numel, default=None)
    layout = None if values is None else describe_bits(parameter.numel(), values)
    return store(name, parameter, id(parameter), layout)


def read_keras(layer: Any, variable: Any) -> Stored:
    """Return a variable of a Keras layer. Its int4 quantization packs two columns into each byte."""
    name, value = variable.name, variable.value
    is_weight = value.dtype == torch.int8 and name in _KERAS_WEIGHTS
    if not is_weight or getattr(layer, "quantization_mode", None) != "int4":
        return store(name, value, id(value))
    columns = getattr(layer, "_orig_output_dim", 2 * value.shape[-1])
    shape = getattr(layer, "original_kernel_shape", (*value.shape[:-1], columns))
    layout = Layout("PACKED", "logical weights of 4 bits, 2 per byte")
    return Stored(name, value, id(value), tuple(shape), get_storage_key(value), layout)


def iter_packed_buffers(module: Module) -> Iterator[Stored]:
    """Yield the weight and bias that a module registers as buffers, packed or in the layout of oneDNN."""
    buffers = {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
    packed = find_packed_weight(module)
    for name, buffer in buffers.items():
        is_bias = name == "bias" and packed in buffers and buffer.is_floating_point()
        if name == packed and (shape := _read_shape(module, name, buffer)) is not None:
            yield _make(name, buffer, shape)
        elif is_bias or (name in ("weight", "bias") and buffer.is_mkldnn):
            yield store(name, buffer, id(buffer))


def iter_unknown_buffers(module: Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of each integer buffer that may hold weights in an unknown layout."""
    if find_packed_weight(module) is not None:
        return
    for name, buffer in _iter_stored_buffers(module):
        if buffer is not None and _may_hold_weights(name, buffer) and not _has_floats(module, buffer.numel()):
            yield name, buffer


def _iter_stored_buffers(module: Module) -> Iterator[tuple[str, Tensor | None]]:
    """Yield the buffers that a checkpoint contains; all others can be computed again."""
    for name, buffer in module._buffers.items():
        if name not in module._non_persistent_buffers_set:
            yield name, buffer


def find_packed_weight(module: Module) -> str | None:
    """Return the name of the integer parameter or buffer that holds a module's weight in a known layout.

    None if a floating-point parameter of the module may be its weight. Of several candidates, it is the one
    with "weight" in its name, then the largest.
    """
    found: dict[str, int] = {}
    for name, tensor in [*module._parameters.items(), *_iter_stored_buffers(module)]:
        if tensor is not None and _may_hold_weights(name, tensor):
            shape = _read_shape(module, name, tensor)
            if shape is not None and not _has_floats(module, prod(shape)):
                found[name] = tensor.nbytes
    return max(found, key=lambda name: ("weight" in name, found[name]), default=None)


def _has_floats(module: Module, numel: int) -> bool:
    """Return whether a module has a floating-point parameter of `numel` elements."""
    known = (p for p in module._parameters.values() if p is not None and not is_lazy(p))
    return any(p.is_floating_point() and p.numel() == numel for p in known)


def _may_hold_weights(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor is a matrix of integers, or has any shape and "weight" in its name.

    Matrices of 64-bit integers are usually indices.
    """
    if not is_plain(tensor) or not is_integer(tensor):
        return False
    return "weight" in name or (tensor.dim() > 1 and tensor.dtype != torch.int64)


def _read_shape(module: Module, name: str, tensor: Tensor) -> tuple[int, ...] | None:
    """Return the logical shape of a packed weight; None if its layout is unknown."""
    declared = _find_declared_shape(module, name, tensor)
    if declared is not None:
        return declared
    bits = next((n for word in _BITS if isinstance(n := getattr(module, word, None), int)), 0)
    stored_bits = 8 * tensor.numel() * tensor.element_size()
    shapes = _list_shapes(module)
    for shape in shapes:
        per_weight, rest = divmod(stored_bits, max(1, prod(shape)))
        is_packed = rest == 0 and per_weight in ([bits] if bits else _KNOWN_BITS)
        if is_packed or tensor.numel() == prod(shape):
            return shape
    return (stored_bits // bits,) if bits in _KNOWN_BITS and not shapes else None


def _find_declared_shape(module: Any, name: str, tensor: Any) -> tuple[int, ...] | None:
    """Return the shape that a library records beside a packed weight.

    bitsandbytes records it in `quant_state`, HQQ in `meta` and compressed-tensors in a tensor.
    """
    state, meta = getattr(tensor, "quant_state", None), getattr(module, "meta", None)
    recorded = getattr(module, f"{name.removesuffix('_packed')}_shape", None)
    if isinstance(recorded, Tensor) and not recorded.is_meta:
        recorded = recorded.tolist()
    options = (getattr(state, "shape", None), recorded, meta.get("shape") if isinstance(meta, dict) else None)
    return next((tuple(map(int, shape)) for shape in options if isinstance(shape, Size | tuple | list)), None)


def _list_shapes(module: Any) -> list[tuple[int, ...]]:
    """Return the shapes that a module's weight may have according to its attributes."""
    if isinstance(module, _ConvNd):
        return [(module.out_channels, module.in_channels // module.groups, *module.kernel_size)]
    found: list[tuple[Any, ...]] = [tuple(getattr(module, word, None) for word in words) for words in _SIZES]
    return [shape for shape in found if all(isinstance(n, int) for n in shape)]


def _make(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Stored:
    layout = describe_bits(prod(shape), tensor)
    return Stored(name, tensor, id(tensor), shape, get_storage_key(tensor), layout)
