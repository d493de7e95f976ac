"""Torch's convolutions and ours as one kind of layer: reading one, and building one like it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import is_pruned

from .. import nn
from .._args import Size, per_axis
from ..backends import layout_of
from ..errors import ArgumentError, ConversionError
from ..pattern.taps import inputs_under_taps
from ..sharing import Full, Sharing

_NAMES = [f"Conv{kind}{ndim}d" for kind in ("", "Transpose") for ndim in (1, 2, 3)]
OURS: tuple[type, ...] = tuple(getattr(nn, name) for name in _NAMES)
CONVOLUTIONS: tuple[type, ...] = (*OURS, *(getattr(torch.nn, name) for name in _NAMES))
_ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def check_module(verb: str, module: Any) -> None:
    """Refuse what is no module, or one that only calls another."""
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            verb, "module must be a torch.nn.Module", repr(module), "give a convolution or a model"
        )
    if isinstance(getattr(module, "_orig_mod", None), torch.nn.Module):
        inside = type(module._orig_mod).__name__
        raise ConversionError(
            verb,
            "module must not be wrapped by torch.compile",
            f"{type(module).__name__} around {inside}",
            f"{verb} the module inside, and compile the result",
        )


def as_ours(layer: Any) -> Any:
    """A convolution of torch's as ours with `Full` sharing and the same parameters; ours as it is.

    Raises:
        ConversionError: anything else, or a layer that does more than its class says.
    """
    where = type(layer).__name__
    if not isinstance(layer, CONVOLUTIONS):
        known = ", ".join(sorted(_NAMES))
        raise ConversionError(
            where, f"must be one of {known}, of torch.nn or weightshare.nn", "another module", "give one"
        )
    if (obstacle := _obstacle(layer)) is not None:
        raise ConversionError(where, "must compute what its class and parameters say", *obstacle)
    if isinstance(layer, OURS):
        return layer
    ours = like(layer, Full(), None, None)
    ours.weight, ours.bias, ours.training = layer.weight, layer.bias, layer.training
    return ours


def _obstacle(layer: torch.nn.Module) -> tuple[str, str] | None:
    """What a convolution does that a new one would not do, and the way out."""
    if any(map(is_lazy, layer.parameters())):
        return "parameters without a shape", "call the module once, which gives them theirs"
    if is_parametrized(layer):
        return "a parametrized weight or bias", "use torch.nn.utils.parametrize.remove_parametrizations first"
    if is_pruned(layer):
        return "a pruned weight or bias", "use torch.nn.utils.prune.remove first"
    if any(getattr(layer, hooks) for hooks in _HOOKS):
        return "hooks (weight_norm and spectral_norm add one)", "remove them, and add them to the new layer"
    base = _base(layer)
    for name in ("forward", "_conv_forward"):
        if name in vars(layer) or getattr(type(layer), name, None) is not getattr(base, name, None):
            return f"a {name} of its own", f"use {base.__name__} itself"
    return None


def _base(layer: torch.nn.Module) -> type:
    """The class of torch's or ours that a convolution is."""
    return next(base for base in type(layer).__mro__ if base in CONVOLUTIONS)


def name_of(layer: Any) -> str:
    """The name of the plain class, torch's and ours, of this kind of layer."""
    return f"Conv{'Transpose' * layer.transposed}{len(layer.kernel_size)}d"


def like(layer: Any, sharing: Sharing, input_size: Size | None, bias_sharing: Sharing | None) -> Any:
    """A layer of the same geometry with another sharing, on the meta device, where it takes no memory."""
    return getattr(nn, name_of(layer))(
        **arguments(layer),
        bias=layer.bias is not None,
        device="meta",
        dtype=layer.weight.dtype,
        sharing=sharing,
        input_size=input_size,
        bias_sharing=bias_sharing,
    )


def arguments(layer: Any) -> dict[str, Any]:
    """The constructor's arguments for the geometry, the same for torch's convolutions and ours."""
    names = [*_ARGUMENTS, "padding_mode", *["output_padding"] * layer.transposed]
    return {name: getattr(layer, name) for name in names}


def fill(target: Any, source: Any, values: dict[str, Tensor]) -> Any:
    """`target` made real on the device of `source`, with these values and all else as `source` has it."""
    target.to_empty(device=source.weight.device)
    target.load_state_dict({**target.state_dict(), **values})
    given = dict(source.named_parameters(recurse=False))
    for name, parameter in target.named_parameters(recurse=False):
        parameter.requires_grad_(given.get(name, source.weight).requires_grad)
    return target.train(source.training)


def taps_of(layer: Any) -> Tensor:
    """Return the input under each tap of each position [P, taps], on the CPU; -1 for zero padding.

    For a transposed layer, the output that the tap of an input position adds to; -1 where it is cut off.
    """
    inputs = layer.output_size if layer.transposed else layer.input_size
    return torch.from_numpy(inputs_under_taps(layer.window, layer.position_size, inputs, layer.padding_mode))


def size_for(layer: Any, input_size: Size | None) -> Size | None:
    """The input size to use: the one given, if the layer of ours can take it, else the layer's own."""
    if input_size is None or layer._takes_any_size:
        return layer.input_size if input_size is None else input_size
    name = type(layer).__name__
    given = per_axis(name, "input_size", input_size, len(layer.kernel_size), least=1)
    if given != layer.input_size:
        raise ArgumentError(
            name,
            f"input_size must be {layer.input_size}, the only one its {layer.sharing!r} has weights for",
            str(given),
            "leave input_size out",
        )
    return given


def bank_of(sharing: Sharing, size: Sequence[int] | None) -> list[int]:
    """The bank of every position; without a size, where all share, that of one position."""
    return [0] if size is None else sharing.labels(size)


def first_of(sharing: Sharing, size: Sequence[int] | None) -> list[int]:
    """The first position of every bank."""
    first: dict[int, int] = {}
    for position, bank in enumerate(bank_of(sharing, size)):
        first.setdefault(bank, position)
    return [first[bank] for bank in range(len(first))]


def kernels_at(layer: Any, size: Sequence[int] | None, positions: Sequence[int] | None = None) -> Tensor:
    """W[p] of some or all positions [positions, out, in/groups, *kernel_size]; of `LowRank` in float64."""
    if layer.sharing.one_hot:
        banks = bank_of(layer.sharing, size)
        chosen = banks if positions is None else [banks[p] for p in positions]
        return layer.kernels()[torch.tensor(chosen, device=layer.weight.device)]
    mixed = layer.assignment() if positions is None else layer.assignment()[positions]
    return torch.tensordot(mixed.double(), layer.kernels().double(), 1)


def biases_at(layer: Any, size: Sequence[int] | None) -> Tensor:
    """The bias of every output position [positions, out]."""
    banks = torch.tensor(bank_of(layer.bias_sharing, size), device=layer.bias.device)
    return layer.bias.reshape(-1, layer.out_channels)[banks]


def as_weight(banks: Tensor, sharing: Sharing) -> Tensor:
    """Banks of kernels in the layout of a layer's `weight`."""
    return layout_of(sharing).from_banks(banks)


def as_bias(banks: Tensor, sharing: Sharing) -> Tensor:
    """Biases, one row a bank, in the layout of a layer's `bias`."""
    return banks[0] if sharing == Full() else banks
