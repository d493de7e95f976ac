"""What a checkpoint holds: the sharing as a short vector of integers; and how a plain convolution fits in.

A layer that is not `Full` stores `sharing_digest`, which can be read back: an error can name both sharings.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, tensor

from .._args import per_axis, times
from ..backends import layout_of
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled
from . import init

_VERSION = 1
_KINDS = (Full, Tiled, Regional, SharedAlong, Mapped, LowRank, Local)


def digest(
    sharing: Sharing,
    bias_sharing: Sharing | None,
    size: Sequence[int],
    kernel_size: Sequence[int],
    bias_size: Sequence[int] | None = None,
) -> list[int]:
    """The sharing, size, kernel and labels of a layer as integers; equal exactly where these are.

    Args:
        size: Of the grid of positions that own kernels.
        bias_size: Of a transposed layer alone: the output size where the bias depends on it, else empty.

    >>> digest(Tiled(2), Tiled(2), (4, 6), (3, 3))
    [1, 2, 4, 6, 3, 3, 1, 2, 2, 2, 1, 2, 2, 2]
    """
    ndim = len(size)
    head = [_VERSION, ndim, *size, *kernel_size]
    bias = [-1] if bias_sharing is None else _encode(bias_sharing, ndim)
    transposed = [] if bias_size is None else [len(bias_size), *bias_size]
    return [*head, *_encode(sharing, ndim), *bias, *transposed]


def describe(stored: Any) -> str:
    """A digest, as integers or as a tensor, in words; says so where it is none.

    >>> describe(digest(Tiled(2), None, (4, 6), (3, 3)))
    'Tiled((2, 2)) on an output of 4 x 6 with kernel 3 x 3, without bias'
    """
    numbers = stored.tolist() if isinstance(stored, Tensor) else stored
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
        return "an unreadable sharing_digest that is no vector of integers"
    try:
        version, ndim, *rest = numbers
        size, kernel, rest = rest[:ndim], rest[ndim : 2 * ndim], rest[2 * ndim :]
        if version != _VERSION:
            return f"a sharing written in format {version} (this version reads {_VERSION})"
        name, rest = _decode(rest)
        bias, rest = ("", rest[1:]) if rest[:1] == [-1] else _decode(rest)
        written = rest[1:]
        if rest[:1] not in ([], [len(written)]) or len(written) not in (0, ndim) or len(kernel) != ndim:
            raise ValueError
    except (ValueError, IndexError):
        return f"an unreadable sharing_digest of {len(numbers)} integers"
    grid = f"the input of a transposed layer, {times(size)}," if rest else f"an output of {times(size)}"
    suffix = "" if bias == name and not written else f", bias {bias}" if bias else ", without bias"
    suffix += f" on an output of {times(written)}" if written else ""
    return f"{name} on {grid} with kernel {times(kernel)}{suffix}"


def mismatch(layer: Any, own: list[int] | None, state_dict: dict[str, Tensor], prefix: str) -> str | None:
    """What is wrong where the weights are those of another sharing, size or kernel than the layer's."""
    stored = state_dict.get(f"{prefix}sharing_digest")
    if stored is None or (isinstance(stored, Tensor) and (stored.is_meta or stored.tolist() == own)):
        return None
    mine = describe(own) if own else f"{Full()!r} with kernel {times(layer.kernel_size)}, for any input size"
    return (
        f"{prefix}{type(layer).__name__}: the checkpoint's weights are {describe(stored)}, "
        f"this layer is {mine}; build the layer as the checkpoint has it, or load a plain "
        "convolution's weights."
    )


def expand_plain(
    layer: Any, shape: tuple[int, ...], own: list[int], state_dict: dict[str, Tensor], prefix: str
) -> None:
    """Replace a plain convolution's entries by the layer's, of the same function; leave all others alone.

    Args:
        shape: Of one bank of the layer, which is that of torch's weight.
        own: The layer's digest.
        state_dict: Changed in place; its tensors are not.
    """
    weight, bias = (state_dict.get(f"{prefix}{name}") for name in ("weight", "bias"))
    if (
        f"{prefix}sharing_digest" in state_dict
        or not isinstance(weight, Tensor)
        or tuple(weight.shape) != shape
    ):
        return  # for a plain weight of another shape torch's own error names both shapes
    if isinstance(layer.sharing, LowRank):
        weight = cat([weight.unsqueeze(0), weight.new_zeros(layer.sharing.rank, *shape)])
        shapes = layer.sharing.coefficient_shapes(layer.position_size)
        fresh = {f"{prefix}{name}": weight.new_empty(size) for name, size in shapes.items()}
        init.reset_coefficients(list(fresh.values()))  # the layer's own may be zero, or not be there yet
        state_dict.update(fresh)
    elif layer.sharing != Full():
        banks = weight.expand(len(layer.weight), *shape)
        weight = layout_of(layer.sharing).from_banks(banks).contiguous()
    state_dict[f"{prefix}weight"] = weight
    if bias is not None and layer.bias is not None and bias.dim() < layer.bias.dim():
        state_dict[f"{prefix}bias"] = bias.repeat(len(layer.bias), 1)
    state_dict[f"{prefix}sharing_digest"] = tensor(own)


def _encode(sharing: Sharing, ndim: int) -> list[int]:
    """Kind, number of parameters, parameters."""
    kind = _KINDS.index(type(sharing))
    if isinstance(sharing, Tiled):
        parameters = per_axis("Tiled", "period", sharing.period, ndim, least=1)
    elif isinstance(sharing, Regional):
        parameters = per_axis("Regional", "grid", sharing.grid, ndim, least=1)
    elif isinstance(sharing, SharedAlong):
        parameters = sharing.resolve(ndim)
    elif isinstance(sharing, Mapped):
        parameters = (max(sharing.flat) + 1, sharing.digest)
    elif isinstance(sharing, LowRank):
        parameters = (sharing.rank, int(sharing.coefficients == "free"))
    else:
        parameters = ()
    return [kind, len(parameters), *parameters]


def _decode(numbers: Sequence[int]) -> tuple[str, list[int]]:
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
