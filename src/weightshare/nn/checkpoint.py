"""The `sharing_digest` in a layer's checkpoint, and loading the weights of a plain convolution.

The digest encodes a sharing as a vector of integers that can be decoded, so that an error can name both
sharings.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, tensor

from .._args import check_per_axis, format_size
from ..backends import layout_of
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled
from . import init

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


def describe(stored: Any) -> str:
    """Describe a digest in words, even if it is invalid. It may be a list of integers or a tensor.

    >>> describe(encode(Tiled(2), None, (4, 6), (3, 3)))
    'Tiled((2, 2)) on an output of 4 x 6 with kernel 3 x 3, without bias'
    """
    numbers = stored.tolist() if isinstance(stored, Tensor) else stored
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
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
    if stored is None or (isinstance(stored, Tensor) and (stored.is_meta or stored.tolist() == digest)):
        return None
    full = f"{Full()!r} with kernel {format_size(layer.kernel_size)}, for any input size"
    expected = full if digest is None else describe(digest)
    return (
        f"{prefix}{type(layer).__name__}: the checkpoint has {describe(stored)}, but this layer has "
        f"{expected}; build the layer with the sharing and sizes of the checkpoint, or load the weights of a "
        "plain convolution."
    )


def expand_plain(layer: Any, digest: list[int], state_dict: dict[str, Tensor], prefix: str) -> None:
    """Replace the entries of a plain convolution by entries of the layer that compute the same function.

    Any other entries are left unchanged.

    Args:
        layer: The layer that loads the weights.
        digest: Digest of the layer.
        state_dict: State dict of the model. It is changed in place; its tensors are not.
        prefix: Prefix of the layer's entries in the state dict.
    """
    weight, bias = (state_dict.get(f"{prefix}{name}") for name in ("weight", "bias"))
    shape = layer._kernel_shape
    if f"{prefix}sharing_digest" in state_dict or not isinstance(weight, Tensor):
        return
    if tuple(weight.shape) != shape:
        return  # torch reports an error with both shapes
    if isinstance(layer.sharing, LowRank):
        weight = cat([weight.unsqueeze(0), weight.new_zeros(layer.sharing.rank, *shape)])
        shapes = layer.sharing.coefficient_shapes(layer.position_size)
        fresh = {f"{prefix}{name}": weight.new_empty(size) for name, size in shapes.items()}
        # the coefficients of `layer` may be zero or on the meta device
        init.reset_coefficients(list(fresh.values()))
        state_dict.update(fresh)
    elif layer.sharing != Full():
        banks = weight.expand(len(layer.weight), *shape)
        weight = layout_of(layer.sharing).from_banks(banks).contiguous()
    state_dict[f"{prefix}weight"] = weight
    if bias is not None and layer.bias is not None and bias.dim() < layer.bias.dim():
        state_dict[f"{prefix}bias"] = bias.repeat(len(layer.bias), 1)
    state_dict[f"{prefix}sharing_digest"] = tensor(digest)


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
