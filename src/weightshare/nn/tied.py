"""Decoders that use the weight of their encoder and do not register it a second time."""

from math import prod
from typing import TypeAlias

import torch
from torch.nn import Embedding, Linear, Module

from .._args import Size
from ..errors import ArgumentError, ShapeError
from ..parameters.references import get_reference
from ..tying.derived import read_from
from . import init
from .base import SharedLayer
from .conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, _ConvTransposeNd

Convolution: TypeAlias = SharedLayer | torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d


class TiedLinear(Linear):
    """A linear layer that uses the weight of another layer: the decoder of a tied autoencoder.

    `weight` is read from the source at each use, so it follows every change of the source. Only the bias is a
    parameter of this layer and is in its state dict.

    Args:
        source: A `Linear`, whose weight [out, in] is used transposed, or an `Embedding`, whose weight
            [num_embeddings, embedding_dim] is used unchanged, as in the head of a language model.
        bias: Whether to add a learned bias.

    Shape:
        Input [*, out], output [*, in] for a `Linear` source with weight [out, in]; input [*, embedding_dim],
        output [*, num_embeddings] for an `Embedding` source.

    Parameters:
        bias: [in] or [num_embeddings].

    Raises:
        ArgumentError: If the source is of another type.

    Example:
        >>> import torch
        >>> encoder = Linear(20, 8)
        >>> decoder = TiedLinear(encoder)
        >>> decoder(encoder(torch.zeros(3, 20))).shape, [name for name, _ in decoder.named_parameters()]
        (torch.Size([3, 20]), ['bias'])
    """

    def __init__(self, source: Module, bias: bool = True):
        if not isinstance(source, Linear | Embedding):
            got = type(source).__name__
            raise ArgumentError("TiedLinear", "source must be a Linear or an Embedding", got)
        weight = source.weight
        transposed = isinstance(source, Linear)
        features = weight.shape if transposed else weight.shape[::-1]
        super().__init__(*features, bias=bias, device="meta", dtype=weight.dtype)
        read_from(self, "weight", source, "weight", "t" if transposed else None)
        self.to_empty(device=weight.device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialize the bias, and the weight if it has been untied from its source."""
        if get_reference(self, "weight") is None:
            super().reset_parameters()
        elif self.bias is not None:
            init.reset_bias(self.bias, self.in_features)


class _TiedConvTransposeNd(_ConvTransposeNd):
    """A tied decoder with one to three spatial axes; subclasses also derive from the untied class."""

    def __init__(self, source: Convolution, output_padding: Size | None = None, bias: bool = True):
        name, ndim = type(self).__name__, self._ndim
        size = getattr(source, "kernel_size", None)
        if not isinstance(size, tuple) or len(size) != ndim or getattr(source, "transposed", True):
            expected = f"source must be a Conv{ndim}d of torch.nn or weightshare.nn"
            raise ArgumentError(name, expected, type(source).__name__)
        if source.padding_mode != "zeros":
            raise ArgumentError(
                name,
                "source must use padding_mode='zeros'",
                repr(source.padding_mode),
                f"use an untied ConvTranspose{ndim}d instead",
            )
        super().__init__(
            source.out_channels,
            source.in_channels,
            source.kernel_size,
            source.stride,
            _find_padding(name, source),
            _find_output_padding(name, source) if output_padding is None else output_padding,
            source.groups,
            bias,
            source.dilation,
            device="meta",
            dtype=source.weight.dtype,
            sharing=getattr(source, "sharing", None),
            input_size=getattr(source, "output_size", None),
        )
        for parameter in ("weight", *self._coefficient_names):
            read_from(self, parameter, source, parameter, None)
        self.to_empty(device=source.weight.device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialize the bias, and the other parameters if they have been untied from their source."""
        fan_in = prod(self._kernel_shape[1:])
        self._write_digest()
        if self.bias is not None:
            init.reset_bias(self.bias, fan_in)
        if get_reference(self, "weight") is None:
            init.reset_weight(self.weight, self.sharing, fan_in)
        if not any(get_reference(self, name) for name in self._coefficient_names):
            init.reset_coefficients(self._coefficient_terms())


class TiedConvTranspose1d(_TiedConvTransposeNd, ConvTranspose1d):
    """The 1-D form of `TiedConvTranspose2d`."""


class TiedConvTranspose2d(_TiedConvTransposeNd, ConvTranspose2d):
    """A transposed convolution that uses the weight of a convolution: the decoder of a tied autoencoder.

    Without a bias it is the exact adjoint of the source, for every sharing. `weight` and the coefficients of
    `LowRank` are read from the source at each use. Only the bias is a parameter of this layer.

    Args:
        source: A convolution of `weightshare.nn` or `torch.nn` with `padding_mode="zeros"`.
        output_padding: Number of outputs added at the end of each axis. The default is the number that
            restores the input size of the source, or 0 if the source was built without `input_size`.
        bias: Whether to add a learned bias.

    Shape:
        Input [N, out, H_out, W_out] and output [N, in, H, W] for a source that maps [N, in, H, W] to
        [N, out, H_out, W_out].

    Parameters:
        bias: [in].

    Raises:
        ArgumentError: If the source is not a convolution, or has another padding mode.
        ShapeError: If the source has `padding="same"` and an even kernel, because the two ends of an axis are
            then padded differently.

    Example:
        >>> import torch
        >>> from weightshare.nn import Conv2d
        >>> encoder = Conv2d(3, 8, 3, stride=2, padding=1)
        >>> decoder = TiedConvTranspose2d(encoder, output_padding=1)
        >>> decoder(encoder(torch.zeros(2, 3, 8, 8))).shape, [name for name, _ in decoder.named_parameters()]
        (torch.Size([2, 3, 8, 8]), ['bias'])
    """


class TiedConvTranspose3d(_TiedConvTransposeNd, ConvTranspose3d):
    """The 3-D form of `TiedConvTranspose2d`."""


def _find_padding(where: str, source: Convolution) -> tuple[int, ...]:
    """Return the padding of a source as one integer per axis."""
    if not isinstance(source.padding, str):
        if not all(isinstance(p, int) for p in source.padding):
            raise ShapeError(
                where,
                "the padding of source must be equal at both ends of each axis",
                f"padding={source.padding}",
                f"use an untied {where.removeprefix('Tied')} instead",
            )
        return tuple(source.padding)  # pyright: ignore[reportReturnType]
    totals = [
        d * (k - 1) if source.padding == "same" else 0 for k, d in zip(source.kernel_size, source.dilation)
    ]
    if any(total % 2 for total in totals):
        raise ShapeError(
            where,
            "the padding of source must be equal at both ends of each axis",
            f"padding={source.padding!r} with kernel_size={source.kernel_size}",
            "use an odd kernel_size",
        )
    return tuple(total // 2 for total in totals)


def _find_output_padding(where: str, source: Convolution) -> tuple[int, ...]:
    """Return the number of inputs of a source after the window of its last position, per axis."""
    if not isinstance(source, SharedLayer) or source.input_size is None or source.output_size is None:
        return (0,) * len(source.kernel_size)
    padding = _find_padding(where, source)
    sizes = zip(source.input_size, source.window.span(source.output_size), padding)
    return tuple(n + 2 * p - span for n, span, p in sizes)
