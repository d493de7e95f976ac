"""Check the model and the loss on one batch, before anything is trained."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._args import did_you_mean, is_sequence
from .._nests import iter_tensors, map_tensors
from ..convert import convolutions, relax
from ..errors import ArgumentError, ConversionError, SharingError, WeightshareError, describe_exception
from ..pattern.modules import check_module
from ..sharing import LowRank
from ..symmetry.outputs import is_close
from .gradients import Geometry
from .restricting import Restriction, examine_restriction, has_several_kernels
from .ties import list_tied_names
from .training import Loss, Reduction, compute_example_losses

_WHERE = "sharing_test"
_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    *(layer for layer in convolutions.SHARED_LAYERS if not layer.transposed),
)
_TOLERANCE = 1e-3  # relative difference between a loss and the mean of the losses of the examples


def copy_model(model: Any) -> nn.Module:
    """Return a copy of the model, on which everything else works."""
    if not isinstance(model, nn.Module):
        raise ArgumentError(_WHERE, "model must be a torch.nn.Module", type(model).__name__)
    convolutions.check_module(_WHERE, model)
    check_module(_WHERE, model)
    if isinstance(model, _CONVOLUTIONS) or has_several_kernels(model):
        hint = "wrap it in torch.nn.Sequential"
        raise ArgumentError(_WHERE, "model must not be a single convolution", type(model).__name__, hint)
    try:
        return copy.deepcopy(model)
    except Exception as error:  # a model can raise any exception
        expected = "copy.deepcopy(model) must succeed"
        raise ArgumentError(_WHERE, expected, _quote(error)) from error


def check_outputs(model: nn.Module, inputs: Tensor) -> Any:
    """Return the output for a batch, which must be finite, repeatable and the same for each example alone.

    Args:
        model: A model in evaluation mode, without gradients.
        inputs: Batch of at least two examples [N, ...].
    """
    name = type(model).__name__
    try:
        output, again, alone = model(inputs.clone()), model(inputs.clone()), model(inputs[:1].clone())
    except Exception as error:  # a model can raise any exception
        expected = f"the model must run on inputs of shape {list(inputs.shape)}"
        raise ArgumentError(f"{_WHERE}: {name}", expected, _quote(error)) from error
    tensors = list(iter_tensors(output))
    for tensor in tensors:
        if tensor.shape[:1] != (len(inputs),):
            expected = "each output must have one entry per example along its first axis"
            got = f"shape {list(tensor.shape)} for {len(inputs)} examples"
            hint = "wrap the model so that it returns only such outputs"
            raise ArgumentError(f"{_WHERE}: {name}", expected, got, hint)
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ArgumentError(f"{_WHERE}: {name}", "the outputs must be finite", "NaN or infinite values")
    if not all(map(is_close, tensors, iter_tensors(again))):
        hint = "disable dropout and other randomness in evaluation mode"
        got = "different outputs in two runs on the same inputs"
        raise ArgumentError(f"{_WHERE}: {name}", "the model must be deterministic", got, hint)
    if not all(map(_is_near, (t[:1] for t in tensors), iter_tensors(alone))):
        expected = "the output for an example must not depend on the other examples in its batch"
        got = "another output for the first example alone"
        raise ArgumentError(f"{_WHERE}: {name}", expected, got, "use batch norm with running statistics")
    return output


def find_reduction(loss: Loss, output: Any, targets: Any, count: int) -> Reduction:
    """Return whether a loss is the mean or the sum over the examples of a batch.

    It must be so for the whole batch and for its first half.
    """
    if not callable(loss):
        raise ArgumentError(_WHERE, "loss must be a function of outputs and targets", type(loss).__name__)
    found: set[Reduction] = {"mean", "sum"}
    output, targets = map_tensors(_widen, (output, targets))
    got = ""
    for size in (count, max(2, count // 2)):
        part = map_tensors(lambda tensor, size=size: tensor[:size], (output, targets))
        total = _call(loss, *part)
        losses = _compute(loss, part, size)
        mean, tolerance = float(losses.mean()), _TOLERANCE * float(losses.abs().mean())
        if not abs(total - mean) <= tolerance:
            found.discard("mean")
        if not abs(total - mean * size) <= tolerance * size:
            found.discard("sum")
        got = got or f"{total:.4g} for {size} examples, whose individual losses have a mean of {mean:.4g}"
    if not found:
        raise ArgumentError(
            _WHERE,
            "loss must be the mean or the sum of the losses of the examples in a batch",
            got,
            "leave out class weights and terms that compare examples",
        )
    return "mean" if "mean" in found else "sum"


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def _compute(loss: Loss, part: Any, size: int) -> Tensor:
    try:
        return torch.stack(compute_example_losses(loss, *part, count=size))
    except Exception as error:  # a loss can raise any exception
        expected = "loss must accept a batch of one example"
        raise ArgumentError(_WHERE, expected, _quote(error)) from error


def _call(loss: Loss, output: Any, targets: Any) -> float:
    try:
        value: Any = loss(output, targets)
    except Exception as error:  # a loss can raise any exception
        expected = "loss must accept the outputs of the model and the targets"
        raise ArgumentError(_WHERE, expected, _quote(error)) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        hint = "use reduction='mean' or 'sum'"
        raise ArgumentError(_WHERE, "loss must return a tensor with one value", got, hint)
    if not value.is_floating_point():
        expected = "loss must return a floating-point tensor"
        raise ArgumentError(_WHERE, expected, str(value.dtype), "use a loss with a gradient")
    return float(value)


def list_convolutions(model: nn.Module, names: Sequence[str] | None) -> list[str]:
    """Return the given names of convolutions, or those of all convolutions.

    Raises:
        ArgumentError: If the model has neither a convolution nor a tie, or a name is not that of a
            convolution.
    """
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _CONVOLUTIONS) or has_several_kernels(module)
    ]
    if not found and not list_tied_names(model):
        expected = "the model must contain a convolution of torch.nn or weightshare.nn, or tied parameters"
        raise ArgumentError(_WHERE, expected, type(model).__name__)
    if names is None:
        return found
    if not is_sequence(names):
        hint = f"write [{names!r}]" if isinstance(names, str) else None
        raise ArgumentError(_WHERE, "layers must be a list of names", repr(names), hint)
    for name in names:
        if name not in found:
            known = f"choose from {', '.join(map(repr, found))}" if found else "pass layers=None"
            hint = did_you_mean(name, found, known)
            raise ArgumentError(_WHERE, "layers must contain names of convolutions", repr(name), hint)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Layers:
    """The layers to try, by name.

    Args:
        relaxed: Geometry and new sharing of each layer with one kernel.
        restricted: What sharing one kernel would change in each layer with several.
        skipped: Reasons why other layers are not tried.
    """

    relaxed: dict[str, tuple[Geometry, LowRank]]
    restricted: dict[str, Restriction]
    skipped: dict[str, str]


def find_layers(model: nn.Module, names: Sequence[str], rank: int, example: Tensor, *, skip: bool) -> Layers:
    """Return the layers to try, and the reason why others are not tried.

    Args:
        model: Copy of the model in evaluation mode.
        names: Names of convolutions.
        rank: Largest rank.
        example: Input of the model.
        skip: Whether layers that cannot be tried are skipped.

    Raises:
        ConversionError: If a layer cannot be tried and is not skipped.
    """
    layers = Layers({}, {}, {})
    for name in names:
        where = f"{_WHERE}: {name!r}"
        try:
            if has_several_kernels(model.get_submodule(name)):
                layers.restricted[name] = examine_restriction(where, model, name)
            else:
                layers.relaxed[name] = _examine(where, model, name, rank, example)
        except (ConversionError, SharingError) as error:
            if not skip:
                raise
            layers.skipped[name] = f"{error.expected}, got {error.got}"
    return layers


def _examine(where: str, model: nn.Module, name: str, rank: int, example: Tensor) -> tuple[Geometry, LowRank]:
    """Return the geometry of a layer and its new sharing, or raise an error with the reason."""
    layer: Any = model.get_submodule(name)
    try:
        relaxed: Any = relax(model, {name: LowRank(1)}, example).get_submodule(name)
    except WeightshareError as error:
        raise ConversionError(where, error.expected, error.got) from error
    if not layer.weight.requires_grad:
        raise ConversionError(where, "the weight of the layer must require gradients", "a frozen weight")
    geometry = Geometry.from_layer(layer, relaxed.input_size)
    most = min(sum(n - 1 for n in geometry.size), layer.weight.numel())
    if most < 1:
        raise ConversionError(where, "the layer must have several positions", "one")
    return geometry, LowRank(min(rank, most))


def _is_near(first: Tensor, second: Tensor) -> bool:
    """Return whether outputs are equal up to the rounding of another batch size."""
    if first.shape != second.shape:
        return False
    difference = (first.double() - second.double()).norm()
    eps = torch.finfo(first.dtype).eps if first.is_floating_point() else 0.0
    return bool(difference <= 10 * eps**0.5 * first.double().norm())


def _quote(error: Exception) -> str:
    return describe_exception(error).rstrip(".")
