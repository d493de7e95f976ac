"""What a layer refuses: arguments at construction, inputs at the call."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._args import integer, is_sequence, per_axis, times
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ..sharing import Full, Sharing

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_groups(where: str, groups: object, in_channels: int, out_channels: int) -> int:
    """`groups` as an int that divides both channel numbers."""
    number = integer(where, "groups", groups, least=1)
    if in_channels % number or out_channels % number:
        raise ArgumentError(
            where,
            "groups must divide in_channels and out_channels",
            f"groups={number}, in_channels={in_channels}, out_channels={out_channels}",
            "use a common divisor",
        )
    return number


def check_sharing(where: str, argument: str, value: object, default: Sharing) -> Sharing:
    """A sharing, or `default` for None."""
    if value is None:
        return default
    if not isinstance(value, Sharing):
        raise ArgumentError(
            where,
            f"{argument} must be a sharing such as Tiled(2)",
            repr(value),
            "use parse_sharing() for one written as text",
        )
    if argument == "bias_sharing" and not value.one_hot:
        raise ArgumentError(
            where,
            "bias_sharing must give every position one bias",
            repr(value),
            "use Full(), Local() or another sharing that is not LowRank",
        )
    return value


def check_size_given(where: str, ndim: int, sharing: Sharing, bias_sharing: Sharing) -> None:
    """Refuse a layer without `input_size` that needs one."""
    for argument, value in (("sharing", sharing), ("bias_sharing", bias_sharing)):
        if value != Full():
            raise ArgumentError(
                where,
                f"{argument}={value!r} needs input_size, the spatial size of the input",
                "none",
                f"give input_size= with {ndim} numbers (only Full() takes any size)",
            )


def check_dtype(where: str, dtype: torch.dtype, sharing: Sharing) -> None:
    """Refuse a dtype that the kernels of this sharing do not compute in."""
    if sharing != Full() and dtype not in DTYPES:
        raise ArgumentError(
            where,
            f"dtype must be float16, bfloat16, float32 or float64 for sharing={sharing!r}",
            str(dtype),
            "use one of these, or sharing=Full(), which takes what torch's convolution takes",
        )


def check_transposed(
    where: str, padding: object, padding_mode: object, output_padding: object, window: Window
) -> None:
    """Refuse what a transposed layer cannot have, as torch does.

    Args:
        window: Of the stride and dilation given.
    """
    if padding_mode != "zeros":
        raise ArgumentError(
            where, "padding_mode must be 'zeros' for a transposed layer", repr(padding_mode), "leave it out"
        )
    if isinstance(padding, str):
        raise ArgumentError(
            where,
            "padding must be integers for a transposed layer",
            repr(padding),
            "give the padding in numbers",
        )
    extra = per_axis(where, "output_padding", output_padding, window.ndim, least=0)
    if any(n >= max(s, d) for n, s, d in zip(extra, window.stride, window.dilation)):
        raise ArgumentError(
            where,
            "output_padding must be smaller than stride or dilation",
            f"{extra} with stride={window.stride}, dilation={window.dilation}",
            "use a smaller one",
        )


def transposed_size(
    where: str, window: Window, input_size: Sequence[int], output_padding: Sequence[int]
) -> tuple[int, ...]:
    """Spatial size of a transposed layer's output, which has to have a position on every axis."""
    least = least_size(window, input_size)
    size = tuple(n + extra for n, extra in zip(least, output_padding))
    if min(size) < 1:
        raise ShapeError(
            where,
            "the output must have at least one position an axis",
            f"{times(size)} from input_size={tuple(input_size)}, padding={window.padding}",
            "use a larger input or less padding",
        )
    return size


def least_size(window: Window, input_size: Sequence[int]) -> tuple[int, ...]:
    """Spatial size of a transposed layer's output without output padding."""
    return tuple(
        (n - 1) * s + extent - sum(pair)
        for n, s, extent, pair in zip(input_size, window.stride, window.extent, window.padding)
    )


def requested_padding(where: str, window: Window, shape: Sequence[int], output_size: Any) -> tuple[int, ...]:
    """The output padding that gives a transposed layer the output size asked for, as torch's `output_size`.

    Args:
        shape: Of the input, with or without a batch axis.
        output_size: Spatial, or with all that stands in front of it.
    """
    ndim = window.ndim
    least = least_size(window, shape[-ndim:])
    most = tuple(n + s - 1 for n, s in zip(least, window.stride))
    given = tuple(output_size) if is_sequence(output_size) else ()
    if len(given) not in (ndim, len(shape)) or not all(isinstance(n, int | torch.SymInt) for n in given):
        raise ShapeError(
            where,
            f"output_size must be {ndim} or {len(shape)} integers for an input of {len(shape)} axes",
            repr(output_size),
            "give the spatial size of the output",
        )
    size = given[-ndim:]
    if not all(low <= n <= high for n, low, high in zip(size, least, most)):
        raise ShapeError(
            where,
            f"output_size must lie between {least} and {most} for an input of {tuple(shape[-ndim:])}",
            f"{size}",
            "choose another, or leave it out",
        )
    return tuple(n - low for n, low in zip(size, least))


def wrong_bias_size(
    where: str, own: Sequence[int] | None, output_size: Sequence[int], sharing: Sharing
) -> ShapeError:
    """The error of an output size for which a layer has no biases."""
    return ShapeError(
        where,
        f"output_size must be {own}, the only one its bias_sharing={sharing!r} has biases for",
        f"{tuple(output_size)}",
        "leave it out, or build the layer with another output_padding or bias_sharing=Full()",
    )


def no_tensor(where: str, input: object) -> ArgumentError:
    """The error of an input that is no tensor."""
    return ArgumentError(where, "input must be a torch.Tensor", type(input).__name__, "convert it first")


def wrong_shape(
    where: str, shape: Sequence[int], channels: int, size: Sequence[int] | None, sharing: Sharing
) -> ShapeError:
    """The error of an input of another rank, channel number or size.

    Args:
        size: The spatial size expected, None for a layer that takes any.
    """
    spatial = "*size" if size is None else ", ".join(map(str, size))
    hint = (
        "give it that many channels and spatial axes"
        if size is None
        else f"resize the input, or build the layer with another input_size (its {sharing!r} "
        "has weights for this size alone)"
    )
    want = f"[N, {channels}, {spatial}] or [{channels}, {spatial}]"
    return ShapeError(where, f"input must be {want}", f"{list(shape)}", hint)


def check_mixed(where: str, input: Tensor, weight: Tensor) -> None:
    """Refuse an input in another dtype than the weights, but for those that autocast casts both from."""
    mixes = (torch.float16, torch.bfloat16, torch.float32)
    both = input.dtype in mixes and weight.dtype in mixes
    if not (both and torch.is_autocast_enabled(input.device.type)):
        raise ShapeError(
            where,
            f"input must have the dtype of the weights, {weight.dtype}",
            str(input.dtype),
            "convert one of them with .to()",
        )


def wrong_layout(where: str, input: Tensor) -> ShapeError:
    """The error of a sparse input."""
    return ShapeError(where, "input must be a dense tensor", str(input.layout), "use input.to_dense()")


def wrong_device(where: str, input: Tensor, weight: Tensor) -> ShapeError:
    """The error of an input on another device than the weights."""
    return ShapeError(
        where,
        f"input must be on the device of the weights, {weight.device}",
        str(input.device),
        "move one of them with .to()",
    )
