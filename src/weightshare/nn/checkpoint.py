"""The `sharing_digest` in a layer's checkpoint, and loading the weights of a plain convolution.

The digest encodes a sharing as a vector of integers that can be decoded, so that an error can name both
sharings. `digest` stores the integers.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, cat, tensor

from .._args import check_per_axis, format_size
from ..backends import layout_of
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled
from . import init
from .digest import matches, pack, unpack

_VERSION = 1
_KINDS = (Full, Tiled, Regional, SharedAlong, Mapped, LowRank, Local)


def encode(
    sharing: Sharing,
    bias_sharing: Sharing | None,
    size: Sequence[int],
    kernel_size: Sequence[int],
    bias_size: Sequence[int] | None = None,
) -> list[int]:
    """Return the digest of a layer. Two digests are equal if and only if all their arguments are.

    Args:
        sharing: Sharing of the weight.
        bias_sharing: Sharing of the bias; None for a layer without bias.
        size: Size of the grid of positions.
        kernel_size: Number of taps per axis.
        bias_size: None for a convolution. For a transposed layer, the size of the output if the bias depends
            on it, else empty.

    >>> encode(Tiled(2), Tiled(2), (4, 6), (3, 3))
    [1, 2, 4, 6, 3, 3, 1, 2, 2, 2, 1, 2, 2, 2]
    """
    ndim = len(size)
    head = [_VERSION, ndim, *size, *kernel_size]
    bias = [-1] if bias_sharing is None else _encode_sharing(bias_sharing, ndim)
    transposed = [] if bias_size is None else [len(bias_size), *bias_size]
    return [*head, *_encode_sharing(sharing, ndim), *bias, *transposed]


def describe(numbers: list[int] | None) -> str:
    """Describe a digest in words, even if it is invalid. `numbers` is None if no integers could be read.

    >>> describe(encode(Tiled(2), None, (4, 6), (3, 3)))
    'Tiled((2, 2)) on an output of 4 x 6 with kernel 3 x 3, without bias'
    """
    if numbers is None:
        return "an unreadable sharing_digest, which is not a vector of integers"
    try:
        version, ndim, *rest = numbers
        size, kernel, rest = rest[:ndim], rest[ndim : 2 * ndim], rest[2 * ndim :]
        if version != _VERSION:
            return f"a sharing_digest in format {version} (this version of weightshare reads {_VERSION})"
        name, rest = _decode_sharing(rest)
        bias, rest = ("", rest[1:]) if rest[:1] == [-1] else _decode_sharing(rest)
        is_transposed, bias_size = bool(rest), rest[1:]
        if is_transposed and rest[0] != len(bias_size):
            raise ValueError
        if len(bias_size) not in (0, ndim) or len(kernel) != ndim:
            raise ValueError
    except (ValueError, IndexError):
        return f"an unreadable sharing_digest of {len(numbers)} integers"
    grid = f"the {format_size(size)} input of a transposed layer"
    text = f"{name} on {grid if is_transposed else f'an output of {format_size(size)}'}"
    text += f" with kernel {format_size(kernel)}"
    if not bias:
        return f"{text}, without bias"
    if bias_size:
        return f"{text}, bias {bias} on an output of {format_size(bias_size)}"
    return text if bias == name else f"{text}, bias {bias}"


def find_mismatch(
    layer: Any, digest: list[int] | None, state_dict: dict[str, Tensor], prefix: str
) -> str | None:
    """Return an error message if the weights are for another sharing, size or kernel, else None.

    Args:
        layer: The layer that loads the weights.
        digest: Digest of the layer; None if it takes any input size.
        state_dict: State dict of the model.
        prefix: Prefix of the layer's entries in the state dict.
    """
    stored = state_dict.get(f"{prefix}sharing_digest")
    if stored is None or (isinstance(stored, Tensor) and stored.is_meta):
        return None
    if digest is not None and matches(stored, digest):
        return None
    full = f"{Full()!r} with kernel {format_size(layer.kernel_size)}, for any input size"
    expected = full if digest is None else describe(digest)
    return (
        f"{prefix}{type(layer).__name__}: the checkpoint has {describe(unpack(stored))}, but this layer has "
        f"{expected}; build the layer with the sharing and sizes of the checkpoint, or load the weights of a "
        "plain convolution."
    )


def convert_entries(layer: Any, digest: list[int], state_dict: dict[str, Tensor], prefix: str) -> None:
    """Replace entries in an older or plainer form by entries in the form of the layer.

    These are digests that were cast or averaged or have the first format, the weights of a plain convolution,
    and biases [out, *output_size] of a layer in which each output has its own bias. The new entries compute
    the same function. All other entries are left unchanged.

    Args:
        layer: The layer that loads the weights.
        digest: Digest of the layer.
        state_dict: State dict of the model. It is changed in place; its tensors are not.
        prefix: Prefix of the layer's entries in the state dict.
    """
    weight, bias = (state_dict.get(f"{prefix}{name}") for name in ("weight", "bias"))
    shape, stored = layer._kernel_shape, state_dict.get(f"{prefix}sharing_digest")
    if isinstance(stored, Tensor) and not stored.is_meta:
        state_dict[f"{prefix}sharing_digest"] = tensor(pack(digest), device=stored.device)
    if stored is not None or not isinstance(weight, Tensor):
        return
    if tuple(weight.shape) != shape:
        return  # torch reports an error with both shapes
    if isinstance(layer.sharing, LowRank):
        corrections = weight.new_empty(layer.sharing.rank, *shape)
        init.reset_corrections(corrections)
        weight = cat([weight.unsqueeze(0), corrections])
        shapes = layer.sharing.coefficient_shapes(layer.position_size)
        fresh = {f"{prefix}{name}": weight.new_empty(size) for name, size in shapes.items()}
        # the coefficients of `layer` may be zero or on the meta device
        init.reset_coefficients(list(fresh.values()))
        state_dict.update(fresh)
    elif layer.sharing != Full():
        banks = weight.expand(len(layer.weight), *shape)
        weight = layout_of(layer.sharing).from_banks(banks).contiguous()
    state_dict[f"{prefix}weight"] = weight
    if isinstance(bias, Tensor) and layer.bias is not None:
        state_dict[f"{prefix}bias"] = _expand_bias(layer, bias)
    state_dict[f"{prefix}sharing_digest"] = tensor(pack(digest))


def _expand_bias(layer: Any, bias: Tensor) -> Tensor:
    """Return the bias [out] or [out, *output_size] of a plain layer as [K_bias, out], if it fits."""
    if layer.bias.dim() < 2:
        return bias
    if bias.dim() == 1:
        return bias.repeat(len(layer.bias), 1)
    untied = (layer.out_channels, *layer.output_size)
    if tuple(bias.shape) != untied or layer.bias.shape[0] != prod(layer.output_size):
        return bias  # torch reports an error with both shapes
    per_position = bias.flatten(1).T
    if layer.bias_sharing == Local():
        return per_position.contiguous()
    labels = tensor(layer.bias_sharing.labels(layer.output_size), device=bias.device)
    return per_position[labels.argsort()]


def _encode_sharing(sharing: Sharing, ndim: int) -> list[int]:
    """Return the kind of a sharing, its number of parameters, and its parameters."""
    kind = _KINDS.index(type(sharing))
    if isinstance(sharing, Tiled):
        parameters = check_per_axis("Tiled", "period", sharing.period, ndim, least=1)
    elif isinstance(sharing, Regional):
        parameters = check_per_axis("Regional", "grid", sharing.grid, ndim, least=1)
    elif isinstance(sharing, SharedAlong):
        parameters = sharing.resolve(ndim)
    elif isinstance(sharing, Mapped):
        parameters = (max(sharing.flat) + 1, sharing.digest)
    elif isinstance(sharing, LowRank):
        parameters = (sharing.rank, int(sharing.coefficients == "free"))
    else:
        parameters = ()
    return [kind, len(parameters), *parameters]


def _decode_sharing(numbers: Sequence[int]) -> tuple[str, list[int]]:
    """Return the sharing at the start of the numbers as text, and the remaining numbers."""
    kind, count, *rest = numbers
    if not 0 <= kind < len(_KINDS) or not 0 <= count <= len(rest):
        raise ValueError
    parameters = tuple(rest[:count])
    name = _KINDS[kind].__name__
    if kind == _KINDS.index(Mapped):
        text = f"{name}({parameters[0]} banks, digest {parameters[1]:016x})"
    elif kind == _KINDS.index(LowRank):
        text = repr(LowRank(parameters[0], "free" if parameters[1] else "factorized"))
    else:
        text = f"{name}({parameters if count else ''})"
    return text, list(rest[count:])
