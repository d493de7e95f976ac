"""Check, copy and fill the convolutions of `torch.nn` and `weightshare.nn` as one kind of layer."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import is_pruned

from .. import nn
from .._args import Size, check_per_axis
from ..errors import ArgumentError, ConversionError
from ..nn.base import SharedLayer
from ..parameters.references import get_chain, get_references
from ..sharing import Full, Sharing

_NAMES = [f"{kind}{ndim}d" for kind in ("Conv", "ConvTranspose") for ndim in (1, 2, 3)]
#: Convolutions and transposed convolutions of `weightshare.nn`.
SHARED_LAYERS: tuple[type[SharedLayer], ...] = tuple(getattr(nn, name) for name in _NAMES)
#: Convolutions and transposed convolutions of `weightshare.nn` and `torch.nn`.
CONVOLUTIONS: tuple[type[torch.nn.Module], ...] = (
    *SHARED_LAYERS,
    *(getattr(torch.nn, name) for name in _NAMES),
)
_ARGUMENTS = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_Module = TypeVar("_Module", bound=torch.nn.Module)


def check_module(where: str, module: torch.nn.Module) -> None:
    """Raise an error unless the argument is a module that is not wrapped by `torch.compile`."""
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(where, "module must be a torch.nn.Module", repr(module))
    original = getattr(module, "_orig_mod", None)
    if isinstance(original, torch.nn.Module):
        raise ConversionError(
            where,
            "module must not be wrapped by torch.compile",
            f"{type(module).__name__} around {type(original).__name__}",
            f"{where} the original module, and compile the result",
        )


def as_shared(layer: torch.nn.Module) -> SharedLayer:
    """Return a `torch.nn` convolution as a `weightshare` layer with `Full` sharing and the same parameters.

    A `weightshare` layer is returned as it is, unless it reads parameters of other modules. Then the result
    has its own Parameters with their values.

    Raises:
        ConversionError: If the layer is not a convolution, or has a hook, a parametrization or a custom
            forward.
    """
    where = type(layer).__name__
    if not isinstance(layer, CONVOLUTIONS):
        known = ", ".join(sorted(_NAMES))
        expected = f"the layer must be one of {known}, of torch.nn or weightshare.nn"
        raise ConversionError(where, expected, "another module")
    if (obstacle := _find_obstacle(layer)) is not None:
        raise ConversionError(where, "the layer must be an unmodified convolution", *obstacle)
    read = get_references(layer)
    if isinstance(layer, SharedLayer) and not read:
        return layer
    plain: Any = layer
    shared = make_like(
        plain,
        getattr(layer, "sharing", Full()),
        getattr(layer, "input_size", None),
        getattr(layer, "bias_sharing", None),
    )
    for name in shared._parameters:
        value = getattr(plain, name)
        if name in read:
            needs_grad = get_chain(read[name])[-1]
            value = Parameter(value.detach(), getattr(needs_grad.module, needs_grad.name).requires_grad)
        shared._parameters[name] = value
    shared.training = plain.training
    return shared


def _find_obstacle(layer: torch.nn.Module) -> tuple[str, str] | None:
    """Return a modification of the layer that a new layer would lose, with a hint; None if there is none."""
    if any(map(is_lazy, layer.parameters())):
        return "uninitialized (lazy) parameters", "call the module once to initialize them"
    if is_parametrized(layer):
        return "a parametrized weight or bias", "use torch.nn.utils.parametrize.remove_parametrizations first"
    if is_pruned(layer):
        return "a pruned weight or bias", "use torch.nn.utils.prune.remove first"
    if any(getattr(layer, hooks) for hooks in _HOOKS):
        hint = "remove them, and add them to the new layer"
        return "hooks (weight_norm and spectral_norm add one)", hint
    base = next(base for base in type(layer).__mro__ if base in CONVOLUTIONS)
    for name in ("forward", "_conv_forward"):
        if name in vars(layer) or getattr(type(layer), name, None) is not getattr(base, name, None):
            return f"a custom {name}", f"use a plain {base.__name__}"
    return None


def get_class_name(layer: SharedLayer) -> str:
    """Return the name of the layer's class in `torch.nn`, such as "Conv2d" for a `LocallyConnected2d`."""
    return f"{'ConvTranspose' if layer.transposed else 'Conv'}{len(layer.kernel_size)}d"


def get_arguments(layer: SharedLayer) -> dict[str, Any]:
    """Return the constructor arguments that `torch.nn` and `weightshare.nn` convolutions have in common."""
    names = (*_ARGUMENTS, "output_padding") if layer.transposed else _ARGUMENTS
    return {name: getattr(layer, name) for name in names}


def make_like(
    layer: SharedLayer, sharing: Sharing, input_size: Size | None, bias_sharing: Sharing | None
) -> SharedLayer:
    """Return a layer of the same geometry with another sharing, on the meta device.

    Args:
        layer: A `weightshare` or `torch.nn` convolution.
        sharing: Sharing of the new layer.
        input_size: Spatial size of the input of the new layer.
        bias_sharing: Bias sharing of the new layer; None for the default.
    """
    return getattr(nn, get_class_name(layer))(
        **get_arguments(layer),
        bias=layer.bias is not None,
        device="meta",
        dtype=layer.weight.dtype,
        sharing=sharing,
        input_size=input_size,
        bias_sharing=bias_sharing,
    )


def fill(target: _Module, source: SharedLayer, values: dict[str, Tensor]) -> _Module:
    """Allocate a layer on the device of `source`, and set its values, `requires_grad` and training flag.

    Args:
        target: Layer on the meta device; it is changed and returned.
        source: Layer whose device, training flag and `requires_grad` are copied.
        values: Values of the parameters by name.
    """
    target.to_empty(device=source.weight.device)
    target.load_state_dict({**target.state_dict(), **values})
    parameters = dict(source.named_parameters(recurse=False))
    for name, parameter in target.named_parameters(recurse=False):
        parameter.requires_grad_(parameters.get(name, source.weight).requires_grad)
    return target.train(source.training)


def choose_input_size(layer: SharedLayer, input_size: Size | None) -> Size | None:
    """Return the input size passed or, if it is None, that of the layer.

    Raises:
        ArgumentError: If the layer has weights for another input size only.
    """
    if input_size is None or layer._takes_any_size:
        return layer.input_size if input_size is None else input_size
    name = type(layer).__name__
    size = check_per_axis(name, "input_size", input_size, len(layer.kernel_size), least=1)
    if size != layer.input_size:
        expected = f"input_size must be {layer.input_size}, the size for which {layer.sharing!r} has weights"
        raise ArgumentError(name, expected, str(size))
    return size
