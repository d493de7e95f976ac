"""Decoders that use their encoder's weight, with no Parameter and no entry in a state dict for it."""

from math import prod
from typing import Any

from torch.nn import Embedding, Linear, Module

from ..errors import ArgumentError, ShapeError
from ..tying.reference import refer, reference_of
from . import init
from .conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d


class TiedLinear(Linear):
    """A linear layer with another's weight, transposed: the decoder of a tied autoencoder.

    `weight` is read from the source at every use, so it follows what becomes of it; parameters and state dict
    have the bias alone.

    Args:
        source: A linear layer, whose weight [out, in] becomes [in, out] here; or an embedding, whose weight
            [embeddings, features] is used as it is, as by the head of a language model.
        bias: Whether to add a learned bias.

    Shape:
        input [..., out] of the source, output [..., in].

    Raises:
        ArgumentError: a source that is neither.

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
            raise ArgumentError("TiedLinear", "source must be a Linear or an Embedding", got, "give one")
        weight = source.weight
        transposed = isinstance(source, Linear)
        features = weight.shape if transposed else weight.shape[::-1]
        super().__init__(*features, bias=bias, device="meta", dtype=weight.dtype)
        refer(self, "weight", source, "weight", "t" if transposed else None)
        self.to_empty(device=weight.device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the bias anew; the weight is the source's, or drawn too once it is untied."""
        if reference_of(self, "weight") is None:
            super().reset_parameters()
        elif self.bias is not None:
            init.reset_bias(self.bias, self.in_features)


class _TiedConvTransposeNd(Module):
    """What the decoders of one to three dimensions have in common."""

    def __init__(self, source: Any, output_padding: Any = None, bias: bool = True):
        name, ndim = type(self).__name__, self._ndim  # type: ignore[attr-defined]
        size = getattr(source, "kernel_size", None)
        if not isinstance(size, tuple) or len(size) != ndim or getattr(source, "transposed", True):
            expected = f"source must be a {ndim}-dimensional convolution, torch's or ours"
            raise ArgumentError(name, expected, type(source).__name__, "give the encoder's layer")
        if source.padding_mode != "zeros":
            raise ArgumentError(
                name, "source must pad with zeros", repr(source.padding_mode), "decode by a layer of its own"
            )
        sharing = getattr(source, "sharing", None)
        positions = getattr(source, "output_size", None)
        super().__init__(  # type: ignore[call-arg]
            source.out_channels,
            source.in_channels,
            source.kernel_size,
            source.stride,
            _symmetric(name, source),
            _output_padding(name, source) if output_padding is None else output_padding,
            source.groups,
            bias,
            source.dilation,
            device="meta",
            dtype=source.weight.dtype,
            sharing=sharing,
            input_size=positions,
        )
        for parameter in ("weight", *self._coefficient_names):  # type: ignore[attr-defined]
            refer(self, parameter, source, parameter, None)
        self.to_empty(device=source.weight.device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the bias anew; what is the source's is left as it is, and drawn too once it is untied."""
        layer: Any = self
        fan_in = prod(layer._kernel_shape[1:])
        layer._write_digest()
        if layer.bias is not None:
            init.reset_bias(layer.bias, fan_in)
        if reference_of(self, "weight") is None:
            init.reset_weight(layer.weight, layer.sharing, fan_in)
        if not any(reference_of(self, name) for name in layer._coefficient_names):
            init.reset_coefficients(layer._coefficient_terms())


class TiedConvTranspose1d(_TiedConvTransposeNd, ConvTranspose1d):
    """The 1-D form of `TiedConvTranspose2d`."""


class TiedConvTranspose2d(_TiedConvTransposeNd, ConvTranspose2d):
    """The transpose of a convolution, with its weight: the decoder of a tied convolutional autoencoder.

    Without bias it is the exact adjoint of the source, whatever its sharing. The weight needs no transform: a
    transposed layer has it in the layout of the convolution it is the transpose of.

    Args:
        source: A convolution of `weightshare.nn` or `torch.nn` that pads with zeros.
        output_padding: Outputs added at the end of every axis; None for as many as the source's input has
            more, where its size is known, else 0.
        bias: Whether to add a learned bias.

    Shape:
        input [N, out, *output_size] of the source, output [N, in, *input_size].

    Raises:
        ArgumentError: a source that is no convolution, or pads otherwise.

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


def _symmetric(where: str, source: Any) -> tuple[int, ...]:
    """The padding of a source in numbers, as a transposed layer takes it."""
    if not isinstance(source.padding, str):
        return tuple(source.padding)
    totals = [
        d * (k - 1) if source.padding == "same" else 0 for k, d in zip(source.kernel_size, source.dilation)
    ]
    if any(total % 2 for total in totals):
        raise ShapeError(
            where,
            "padding must be the same at both ends",
            f"padding={source.padding!r} with kernel_size={source.kernel_size}",
            "use an odd kernel",
        )
    return tuple(total // 2 for total in totals)


def _output_padding(where: str, source: Any) -> tuple[int, ...]:
    """What a source's input has beyond the last position that its windows reach."""
    if getattr(source, "input_size", None) is None:
        return (0,) * len(source.kernel_size)
    padding = _symmetric(where, source)
    sizes = zip(source.input_size, source.window.span(source.output_size), padding)
    return tuple(n + 2 * p - span for n, span, p in sizes)
