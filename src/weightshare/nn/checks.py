"""Checks of a layer's arguments and inputs, and the errors that they raise."""

from collections.abc import Sequence
from typing import Any

import torch

from .._args import format_size, is_sequence
from .._memory import check_fits
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ..sharing import Full, Sharing

#: Bytes from which a weight is compared with the free memory.
_LARGE = 2**30


def check_size_given(where: str, ndim: int, sharing: Sharing, bias_sharing: Sharing) -> None:
    """Raise `ArgumentError` for a layer without `input_size` if one of its sharings needs it."""
    for argument, value in (("sharing", sharing), ("bias_sharing", bias_sharing)):
        if value != Full():
            raise ArgumentError(
                where,
                f"{argument}={value!r} needs input_size, the spatial size of the input",
                "None",
                f"pass an integer or a tuple of length {ndim}; only Full() works without input_size",
            )


def check_memory(where: str, sharing: Sharing, elements: int, example: torch.Tensor) -> None:
    """Raise `ArgumentError` if a weight with this many elements does not fit in memory.

    Args:
        where: Name of the layer, for errors.
        sharing: Sharing of the layer.
        elements: Number of elements of the weight.
        example: Tensor with the dtype and device of the weight.
    """
    needed = elements * example.element_size()
    if needed >= 2**62 or (
        needed >= _LARGE and example.device.type == "cpu" and type(example) is torch.Tensor
    ):
        check_fits(
            ArgumentError,
            where,
            f"the weight for sharing={sharing!r}",
            needed,
            f"{elements:,} elements",
            "use smaller sizes, fewer channels or more sharing",
            2**62 if needed >= 2**62 else None,
        )


def find_output_padding(
    where: str, window: Window, shape: Sequence[int], output_size: object
) -> tuple[int, ...]:
    """Return the output padding with which a transposed layer has the requested output size.

    Args:
        where: Name of the layer, for errors.
        window: Window of the layer.
        shape: Shape of the input, with or without a batch axis.
        output_size: Spatial size of the output, or its whole shape, as for `torch.nn.ConvTranspose2d`.

    Raises:
        ShapeError: If `output_size` is not a size, or if no output padding results in it.
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
            "pass the spatial size of the output",
        )
    size = given[-ndim:]
    if not all(low <= n <= high for n, low, high in zip(size, least, most)):
        raise ShapeError(
            where,
            f"output_size must be between {least} and {most} for an input of {tuple(shape[-ndim:])}",
            f"{size}",
        )
    return tuple(n - low for n, low in zip(size, least))


def wrong_bias_size(
    where: str, expected: Sequence[int] | None, output_size: Sequence[int], sharing: Sharing
) -> ShapeError:
    """Return the error for an output size for which a layer has no biases."""
    return ShapeError(
        where,
        f"output_size must be {expected}, the only size for which bias_sharing={sharing!r} has biases",
        f"{tuple(output_size)}",
        "build the layer with another output_padding or with bias_sharing=Full()",
    )


def wrong_parameter(layer: Any, name: str, shape: Sequence[int], expected: Sequence[int]) -> ShapeError:
    """Return the error for a parameter of a convolution that was replaced by one of another shape."""
    argument, sharing, size = "sharing", layer.sharing, layer.position_size
    if name == "bias":
        argument, sharing, size = "bias_sharing", layer.bias_sharing, layer.output_size
    positions = "" if size is None or sharing == Full() else f" on {format_size(size)} positions"
    return wrong_shape(type(layer).__name__, name, shape, expected, f"for {argument}={sharing!r}{positions}")


def wrong_shape(
    where: str, name: str, shape: Sequence[int], expected: Sequence[int], reason: str
) -> ShapeError:
    """Return the error for a parameter that was replaced by one of another shape."""
    return ShapeError(
        where,
        f"{name} must be {list(expected)} {reason}",
        str(list(shape)),
        "use parameters of a layer with the same arguments",
    )
