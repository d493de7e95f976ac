"""What a layer refuses: arguments at construction, inputs at the call."""

from collections.abc import Sequence
from typing import Any

import torch

from .._args import is_sequence
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ..sharing import Full, Sharing


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


def requested_padding(where: str, window: Window, shape: Sequence[int], output_size: Any) -> tuple[int, ...]:
    """The output padding that gives a transposed layer the output size asked for, as torch's `output_size`.

    Args:
        shape: Of the input, with or without a batch axis.
        output_size: Spatial, or with all that stands in front of it.
    """
    ndim = window.ndim
    least = tuple(n - sum(p) for n, p in zip(window.span(shape[-ndim:]), window.padding))
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
