"""Fuse a batch norm into the layer that it follows."""

import copy
import sys
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import fusion

from .._torch import BatchNorm
from ..backends import ONE_KERNEL
from ..errors import ArgumentError, ConversionError
from ..sharing import Full

#: Number of stack frames in which to look for torch's function; subclasses may override `__setattr__`.
_OVERRIDES = 4

_Layer = TypeVar("_Layer", bound=torch.nn.Module)


@torch.no_grad()
def fuse_batch_norm(layer: _Layer, norm: torch.nn.Module) -> _Layer:
    """Return a layer that computes `norm(layer(x))` without the norm, for inference.

    This is the counterpart of `torch.nn.utils.fuse_conv_bn_eval` for layers whose `weight` holds banks. A
    layer without bias gets one, shared according to its `bias_sharing`. If a layer takes inputs of any size,
    so does the result.

    Args:
        layer: A convolution or transposed convolution of `weightshare.nn` in evaluation mode, with any
            sharing. It is not changed.
        norm: The batch norm that follows it, in evaluation mode and with running statistics.

    Returns:
        A new layer of the same class and sharing, with scaled kernels and new biases.

    Raises:
        ArgumentError: If the layer or the norm is of another kind, the number of channels differs, or the
            norm has no running statistics.
        ConversionError: If the layer or the norm is in training mode, or if the weights of the layer are tied
            to another layer or computed by a parametrization.

    Example:
        >>> import torch
        >>> from weightshare import Regional, fuse_batch_norm, nn
        >>> layer = nn.Conv2d(3, 16, 3, bias=False, sharing=Regional(4), input_size=10).eval()
        >>> norm = torch.nn.BatchNorm2d(16).eval()
        >>> x = torch.randn(2, 3, 10, 10)
        >>> torch.allclose(fuse_batch_norm(layer, norm)(x), norm(layer(x)), atol=1e-5)
        True

    Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", CVPR 2018, section 3.2.
    """
    where, source, bn = "fuse_batch_norm", _as_any(layer), _as_any(norm)
    if not hasattr(source, "bias_sharing"):
        expected = "layer must be a convolution or transposed convolution of weightshare.nn"
        hint = "use torch.nn.utils.fuse_conv_bn_eval for torch.nn layers"
        raise ArgumentError(where, expected, type(layer).__name__, hint)
    if not isinstance(norm, BatchNorm):
        raise ArgumentError(where, "norm must be a BatchNorm of torch.nn", type(norm).__name__)
    if bn.running_mean is None or bn.running_var is None:
        expected = "norm must have running statistics"
        raise ArgumentError(where, expected, "track_running_stats=False")
    if bn.num_features != source.out_channels:
        expected = f"norm must have the {source.out_channels} output channels of the layer"
        raise ArgumentError(where, expected, f"num_features={bn.num_features}")
    for name, module in (("layer", source), ("norm", bn)):
        if module.training:
            expected, hint = f"{name} must be in evaluation mode", f"call {name}.eval()"
            raise ConversionError(where, expected, "training mode", hint)
    if "weight" not in source._parameters or "bias" not in source._parameters:
        expected = "weight and bias must be parameters of the layer"
        raise ConversionError(where, expected, "one that is tied or computed", "make them parameters first")
    factor = torch.rsqrt(bn.running_var.double() + bn.eps)
    if bn.weight is not None:
        factor = factor * bn.weight.double()
    shift = -bn.running_mean.double() * factor
    if bn.bias is not None:
        shift = shift + bn.bias.double()
    fused = copy.deepcopy(source)
    kernels = fused.kernels()
    kernels.copy_(kernels * _expand_factor(fused, factor))
    if fused.bias is None:
        if fused._takes_any_size:  # without a bias, its sharing had no effect
            fused.bias_sharing, fused._bias_values = Full(), None
            fused._bias_shape = factor.shape
        zeros = fused.weight.new_zeros(fused._bias_shape)
        fused.bias = Parameter(zeros, requires_grad=fused.weight.requires_grad)
    fused.bias.copy_(fused.bias * factor + shift)
    fused._write_digest()
    return fused


def is_called_by_torch() -> bool:
    """Return whether the batch norm fusion of `torch.nn.utils` is setting the weight of a layer.

    The fusion scales axis 0 of the weight, which holds banks unless the layer has one kernel. If there are as
    many banks as channels, nothing else distinguishes the wrong result from a new weight.
    """
    if torch.compiler.is_compiling():
        return False
    frame = sys._getframe(2)  # that of the caller of `__setattr__`, or of an override
    for _ in range(_OVERRIDES):
        if frame is None or frame.f_code is fusion.fuse_conv_bn_eval.__code__:
            return frame is not None
        frame = frame.f_back
    return False


def check_supported(layer: Any) -> None:
    """Raise `ConversionError` if torch cannot fuse a batch norm into this layer."""
    if layer._layout == ONE_KERNEL:
        return
    raise ConversionError(
        type(layer).__name__,
        "torch.nn.utils.fuse_conv_bn_eval needs output channels on axis 0 of weight",
        f"{list(layer.weight.shape)} for sharing={layer.sharing!r}",
        "use weightshare.fuse_batch_norm(layer, norm)",
    )


def _expand_factor(layer: Any, factor: Tensor) -> Tensor:
    """Return one factor per output channel in a shape that broadcasts to `kernels()`."""
    ones = (1,) * layer.window.ndim
    if not layer.transposed:
        return factor.view(-1, 1, *ones)
    by_group = factor.view(layer.groups, 1, -1).expand(-1, layer.in_channels // layer.groups, -1)
    return by_group.flatten(0, 1).unflatten(1, (-1, *ones))


def _as_any(value: Any) -> Any:
    return value
