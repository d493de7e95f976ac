"""Relax a layer or model: less weight sharing, same function."""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from .._args import Size
from ..errors import ArgumentError
from ..nn.base import SharedLayer
from ..sharing import Full, Sharing
from ..tying.separate import separate
from .convolutions import CONVOLUTIONS, check_module
from .models import Example, check_same, replace_modules, resolve_plan, run_model
from .relax_layer import relax_layer
from .suggestion import Suggestion
from .ties import check_reads_nothing


def relax(
    module: torch.nn.Module,
    plan: Sharing | Mapping[str, Sharing] | Suggestion,
    *example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    input_size: Size | None = None,
    bias_sharing: Sharing | None = None,
) -> Any:
    """Return a layer or model with less weight sharing that computes the same function.

        a a a a          a b a b          a b c d
        a a a a    ->    c d c d    ->    e f g h
         Full()          Tiled(2)         Local()

    The kernel at each position is the same bit for bit (up to rounding if either sharing is `LowRank`), and
    can become different at each position in training. Dtype, device, `requires_grad` and the training flag
    are kept. The original module is not changed.

    A convolution of `torch.nn` or `weightshare.nn` is converted directly. For any other module, a copy runs
    on the example inputs in evaluation mode to find the input size of each selected convolution. The
    convolutions are then replaced in another copy, which runs to check that it calls the new layers and has
    the same outputs.

    A layer that is called several times or registered under several names is converted once, if all its
    inputs have the same size. Layers with tied kernels or biases, such as a convolution and its
    `weightshare.nn.TiedConvTranspose2d`, stay tied if the plan gives them the same sharing.

    If a layer with one kernel is relaxed to `LowRank`, its corrections are zero and its coefficients are
    initialized like those of a new layer, so that every correction gets a gradient. If the plan is the result
    of `sharing_test`, the coefficients come from the gradients that it measured, and ties with the verdict
    "relax" are untied.

    Args:
        module: A convolution, a transposed convolution or a model.
        plan: New sharing, which must refine the current one. For a model, either one sharing for all
            convolutions whose sharing it refines, a mapping from names in `model.named_modules()` to
            sharings, or the result of `sharing_test`.
        example_inputs: Positional inputs of the model's forward pass; only for models. A tuple or dict
            counts as one input. They can be omitted for the result of `sharing_test`.
        example_kwargs: Keyword inputs of the model's forward pass; only for models.
        input_size: Spatial size of the input; only for layers, and required unless the layer stores it.
        bias_sharing: New sharing of the bias. By default, it is the default of a new layer with this sharing
            if that refines the current bias sharing, and otherwise the current bias sharing.

    Raises:
        ConversionError: If the new sharing does not refine the current one, or a convolution has hooks, a
            parametrization or a custom forward. For a layer, also if it reads a parameter of another module.
            For a model, also if it fails on the example inputs or is wrapped by `torch.compile`, if a
            convolution is not called, or is called on inputs of several sizes, or if something else in the
            model uses its parameters and cannot be converted with it.
        ArgumentError: If an argument is missing, or does not apply to the module.
        SharingError: If the sharing does not fit the number of positions.

    Example:
        >>> from weightshare import Local
        >>> layer = relax(torch.nn.Conv2d(3, 8, 3), Local(), input_size=6)
        >>> layer.weight.shape
        torch.Size([16, 3, 3, 3, 8])
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
        >>> relax(model, {"2": Local()}, torch.zeros(1, 1, 8, 8))[2].sharing
        Local()

    Source: d'Ascoli, Sagun, Biroli and Bruna, "Finding the needle in the haystack with convolutions: on the
    benefits of architectural bias", NeurIPS 2019, which relaxes a convolution to a dense layer.
    """
    check_module("relax", module)
    kwargs = example_kwargs or {}
    if not isinstance(kwargs, Mapping):
        raise ArgumentError("relax", "example_kwargs must map argument names to inputs", repr(kwargs))
    if not isinstance(module, CONVOLUTIONS):
        if input_size is not None:
            hint = "pass example inputs instead"
            raise ArgumentError("relax", "input_size must be None for a model", repr(input_size), hint)
        if isinstance(plan, Suggestion):
            return _relax_as_suggested(module, plan, Example(example_inputs, kwargs), bias_sharing)
        return _relax_model(module, plan, Example(example_inputs, kwargs), bias_sharing)
    if example_inputs or kwargs:
        hint, count = "pass input_size= instead", len(example_inputs) + len(kwargs)
        raise ArgumentError("relax", "a single layer takes no example inputs", str(count), hint)
    check_reads_nothing("relax", module)
    if isinstance(plan, Suggestion):
        raise ArgumentError("relax", "the plan for a layer must be a sharing", type(plan).__name__)
    return relax_layer(module, plan, input_size, bias_sharing)


def _relax_model(
    model: torch.nn.Module,
    plan: Sharing | Mapping[str, Sharing],
    example: Example,
    bias_sharing: Sharing | None,
) -> torch.nn.Module:
    resolved = resolve_plan("relax", model, plan, is_skipped=_cannot_relax)
    sharings = resolved.sharings
    run = run_model("relax", model, sharings, example)

    def make(name: str, layer: torch.nn.Module) -> torch.nn.Module:
        return relax_layer(layer, sharings[name], run.sizes[name][0], bias_sharing)

    result = replace_modules("relax", model, resolved, make)
    check_same("relax", model, result, run, example)
    return result


@torch.no_grad()
def _relax_as_suggested(
    model: torch.nn.Module, suggestion: Suggestion, example: Example, bias_sharing: Sharing | None
) -> torch.nn.Module:
    if not example.args and not example.kwargs:
        first = next(model.parameters(), suggestion.example)
        example = Example((suggestion.example.to(first.device),), {})
    plan = {name: sharing for name, sharing in suggestion.plan.items() if sharing != Full()}
    if plan or not suggestion.untie:
        result = _relax_model(model, plan, example, bias_sharing)
    else:
        result = copy.deepcopy(model)
    separate(result, suggestion.untie)
    for name, values in suggestion.coefficients.items():
        layer = result.get_submodule(name)
        for parameter_name, value in values.items():
            layer.get_parameter(parameter_name).copy_(value)
    return result


def _cannot_relax(sharing: Sharing, layer: torch.nn.Module) -> bool:
    """Return whether the sharing does not refine that of the layer."""
    if not isinstance(layer, SharedLayer) or layer.position_size is None:
        return False  # fully shared
    return not sharing.refines(layer.sharing, layer.position_size)
