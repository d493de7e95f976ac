"""Carry the state of an optimizer over from a model to its conversion."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import LBFGS, Optimizer

from .._args import did_you_mean
from ..errors import ArgumentError, ConversionError
from ..nn.base import SharedLayer
from ..parameters.modules import join_names
from ..sharing import Full, LowRank
from .convolutions import CONVOLUTIONS, as_shared
from .kernels import (
    average_by_bank,
    find_inputs,
    gather_biases,
    gather_kernels,
    list_first_positions,
    to_bias,
    to_weight,
)

_Optimizer = TypeVar("_Optimizer", bound=Optimizer)
_WHERE = "convert_optimizer"


@torch.no_grad()
def convert_optimizer(optimizer: _Optimizer, old_model: nn.Module, new_model: nn.Module) -> _Optimizer:
    """Return an optimizer for a relaxed or restricted model that continues where the given one stopped.

    Options and parameter groups are kept. Parameters are matched by name, and the coefficients of a new
    `LowRank` layer join the group of its weight. Momentum and other averages per element, such as `exp_avg`
    and `exp_avg_sq` of Adam, follow the weights: they describe how each kernel moves. After `relax`, each
    position has those of the bank that it used, so that kernels keep moving together until their
    gradients differ. After `restrict`, each tap of a bank has the mean over those positions of the bank at
    which it touches the input.
    Scalars such as `step` are copied.

    New corrections and coefficients of `LowRank` start from zero or without state. If the corrections
    themselves are converted, for example to `Local`, the kernel of the layer starts without state, because
    these averages are not linear in the kernels.

    Create learning rate schedulers again, because they refer to the given optimizer. The gradient of a
    parameter is the sum over the positions that share it: consider a larger learning rate for unshared
    kernels, and a smaller one for shared kernels.

    Args:
        optimizer: Optimizer of parameters of `old_model`; it is not changed.
        old_model: Model or layer passed to `relax` or `restrict`.
        new_model: Its result, or a copy of it on another device.

    Raises:
        ArgumentError: If the optimizer has a parameter that is not in `old_model`.
        ConversionError: If a layer or parameter of one model does not match the other, or if the optimizer
            has a state that is not per element, such as that of `LBFGS`.

    Warns:
        UserWarning: If a kernel starts without state because its sharing is `LowRank`.

    Example:
        >>> from weightshare import Local, relax
        >>> conv = nn.Conv2d(1, 2, 3)
        >>> optimizer = torch.optim.SGD(conv.parameters(), lr=0.1, momentum=0.9)
        >>> conv(torch.ones(1, 1, 6, 6)).sum().backward()
        >>> optimizer.step()
        >>> local = relax(conv, Local(), input_size=6)
        >>> optimizer = convert_optimizer(optimizer, conv, local)
        >>> optimizer.state[local.weight]["momentum_buffer"].shape == local.weight.shape
        True
    """
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(_WHERE, "optimizer must be a torch.optim.Optimizer", type(optimizer).__name__)
    if isinstance(optimizer, LBFGS):
        expected = "the state of the optimizer must be per element"
        raise ConversionError(_WHERE, expected, "LBFGS", "create a new optimizer")
    names = {id(p): name for name, p in reversed([*old_model.named_parameters(remove_duplicate=False)])}
    new_parameters = dict(new_model.named_parameters(remove_duplicate=False))
    state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        moved: dict[int, tuple[Tensor, str]] = {}
        for i, parameter in enumerate(group["params"]):
            if id(parameter) not in names:
                got = f"one of shape {list(parameter.shape)} that is not"
                expected = "each parameter of the optimizer must be a parameter of old_model"
                raise ArgumentError(_WHERE, expected, got, "pass the model before its conversion")
            name = names[id(parameter)]
            values = optimizer.state.get(parameter, {})
            shown = group["param_names"][i] if "param_names" in group else name
            for new_name, new_state in _convert(old_model, new_model, name, parameter, values):
                if new_name in new_parameters:
                    new = new_parameters[new_name]
                    moved[id(new)] = (new, shown.removesuffix(name) + new_name)
                    if new_state:
                        state[new] = _move(new_state, new.device)
        more = {"param_names": [name for _, name in moved.values()]} if "param_names" in group else {}
        groups.append({**group, "params": [new for new, _ in moved.values()], **more})
    result = copy.copy(optimizer)  # without calling the constructor, whose arguments are not known
    own = {name: value for name, value in vars(optimizer).items() if name not in ("step", *vars(result))}
    vars(result).update(own, param_groups=groups, state=state)
    return result


class _Pair(NamedTuple):
    """A layer and its conversion, with the size of their grid of positions, or None if neither has one."""

    old: SharedLayer
    new: SharedLayer
    size: Any


def _convert(
    old_model: nn.Module, new_model: nn.Module, name: str, parameter: Tensor, values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names of the parameters that replace an old one, each with its state."""
    path, _, attribute = name.rpartition(".")
    old_layer = old_model.get_submodule(path)
    try:
        new_layer: Any = new_model.get_submodule(path)
    except AttributeError:
        known = [other for other, _ in new_model.named_modules()]
        expected = "new_model must have the modules of old_model"
        raise ConversionError(_WHERE, expected, f"no {path!r}", did_you_mean(path, known)) from None
    if not isinstance(old_layer, CONVOLUTIONS) or not isinstance(new_layer, CONVOLUTIONS):
        new = new_layer._parameters.get(attribute)
        if new is None or new.shape != parameter.shape:
            got = "none" if new is None else str(list(new.shape))
            expected = f"{name!r} must have the shape {list(parameter.shape)} in new_model"
            raise ConversionError(_WHERE, expected, got, "pass the result of relax or restrict")
        yield name, copy.deepcopy(dict(values))
        return
    pair = _make_pair(path, old_layer, new_layer)
    yield name, _convert_values(pair, name, attribute, parameter, values)
    if attribute == "weight" and not isinstance(pair.old.sharing, LowRank):
        for other in pair.new._coefficient_names:
            yield join_names(path, other), {}


def _make_pair(path: str, old_layer: nn.Module, new_layer: nn.Module) -> _Pair:
    old, new = as_shared(old_layer), as_shared(new_layer)
    same = old.transposed == new.transposed and old._kernel_shape == new._kernel_shape
    sizes = [layer.position_size for layer in (new, old) if layer.position_size is not None]
    if not same or len(set(sizes)) > 1 or (old.bias is None) != (new.bias is None):
        expected = f"{path!r} must be a conversion of the layer in old_model"
        raise ConversionError(_WHERE, expected, repr(new_layer), "pass the result of relax or restrict")
    return _Pair(old, new, sizes[0] if sizes else None)


def _convert_values(
    pair: _Pair, name: str, attribute: str, parameter: Tensor, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state of a parameter of a layer in the layout of the new layer."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, Tensor) or value.dim() == 0:
            result[key] = copy.deepcopy(value)
        elif value.shape != parameter.shape:
            raise ConversionError(
                f"{_WHERE}: {name!r}",
                f"its state {key!r} must be a number or have the shape {list(parameter.shape)}",
                str(list(value.shape)),
                "create a new optimizer",
            )
        elif attribute == "bias":
            result[key] = _convert_bias(pair, value)
        else:
            converted = _convert_kernels(pair, attribute, value)
            if converted is None:
                text = f"{_WHERE}: {name!r} starts without state, because its sharing is LowRank"
                warnings.warn(text, UserWarning, stacklevel=5)
                return {}
            result[key] = converted
    return result


def _convert_kernels(pair: _Pair, attribute: str, value: Tensor) -> Tensor | None:
    """Convert one average of the kernels or coefficients; return None if the conversion is not linear."""
    old, new, size = pair
    if old.sharing == new.sharing:
        return value.clone()
    if isinstance(old.sharing, LowRank):
        extends = isinstance(new.sharing, LowRank) and new.sharing.rank >= old.sharing.rank
        extends = extends and set(old._coefficient_names) == set(new._coefficient_names)
        return _pad(value, getattr(new, attribute)) if extends else None
    if isinstance(new.sharing, LowRank):
        one = old.sharing == Full() or old.sharing.banks(size) == 1
        return _pad(_replace(old, attribute, value).kernels(), new.weight) if one else None
    kernels = gather_kernels(_replace(old, attribute, value), size)
    if size is None or new.sharing.refines(old.sharing, size):
        banks = kernels[list_first_positions(new.sharing, size)]
    else:
        sized = new if new.position_size is not None else old
        touches = (find_inputs(sized) >= 0).to(kernels.device)
        labels, count = new.sharing.labels(size), new.sharing.banks(size)
        banks = average_by_bank(kernels.flatten(3), touches, labels, count).view(count, *kernels.shape[1:])
    return to_weight(banks, new.sharing).contiguous()


def _convert_bias(pair: _Pair, value: Tensor) -> Tensor:
    old, new, _ = pair
    if old.bias_sharing == new.bias_sharing:
        return value.clone()
    size: Any = new.output_size if new.output_size is not None else old.output_size
    biases = gather_biases(_replace(old, "bias", value), size)
    if new.bias_sharing.refines(old.bias_sharing, size):
        return to_bias(biases[list_first_positions(new.bias_sharing, size)], new.bias_sharing)
    touches = torch.ones(len(biases), 1, dtype=torch.bool, device=biases.device)
    labels, count = new.bias_sharing.labels(size), new.bias_sharing.banks(size)
    return to_bias(
        average_by_bank(biases[:, None, :, None], touches, labels, count)[:, 0, :, 0], new.bias_sharing
    )


def _replace(layer: SharedLayer, attribute: str, value: Tensor) -> SharedLayer:
    """Return the layer with an average in place of its parameter."""
    carrier = copy.copy(layer)
    parameter = Parameter(value, requires_grad=False)
    carrier._parameters = {**layer._parameters, attribute: parameter}
    return carrier


def _pad(value: Tensor, like: Tensor) -> Tensor:
    """Return banks or coefficients with zeros appended along the first axis, up to the shape of `like`."""
    return torch.cat([value, value.new_zeros(len(like) - len(value), *value.shape[1:])])


def _move(state: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the state on a device; torch keeps scalars, such as `step`, where they are."""
    return {
        key: value.to(device) if isinstance(value, Tensor) and value.dim() else value
        for key, value in state.items()
    }
