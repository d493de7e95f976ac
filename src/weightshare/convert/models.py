"""Replace convolutions in a model: resolve a plan, find input sizes, and check the result."""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from .._args import did_you_mean, format_size
from .._nests import iter_tensors, map_tensors
from .._running import evaluating, find_raising_module
from ..errors import ArgumentError, ConversionError, WeightshareError
from ..sharing import Sharing
from .convolutions import CONVOLUTIONS, as_shared
from .ties import LEAVE_OUT, LayerTie, find_layer_ties, link_layers, update_declared

_EXPECTED_RUN = "the forward pass on the example inputs must succeed in evaluation mode"
_RUN_HINT = "pass inputs with the size, channels, dtype and device that the model expects"
_READS = "use a plan without the convolutions whose weights or attributes the model reads directly"


class Plan(NamedTuple):
    """The new sharing of each selected layer by name, and the ties between these layers."""

    sharings: dict[str, Sharing]
    ties: list[LayerTie]


class Example(NamedTuple):
    """The inputs of a forward pass."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class Run(NamedTuple):
    """The result of a forward pass: the input size of each call of the named layers, and the output."""

    sizes: dict[str, list[tuple[int, ...]]]
    output: Any


def resolve_plan(
    where: str,
    model: nn.Module,
    plan: Sharing | Mapping[str, Sharing],
    is_skipped: Callable[[Sharing, nn.Module], bool],
) -> Plan:
    """Return the new sharing of each selected convolution; raise an error if one cannot be replaced.

    Args:
        where: Name of the public function, with which errors start.
        model: Model that contains the convolutions.
        plan: One sharing for all convolutions, or a mapping from names to sharings.
        is_skipped: Whether a plan with one sharing skips this convolution.
    """
    if isinstance(plan, Sharing):
        sharings = dict(_select_all(where, model, plan, is_skipped))
    elif isinstance(plan, Mapping):
        sharings = {name: _select(where, model, name, sharing) for name, sharing in plan.items()}
    else:
        expected = "plan must be a sharing or a mapping from module names to sharings"
        raise ArgumentError(where, expected, repr(plan), "use Local() or {'conv1': Local()}")
    if not sharings:
        raise ConversionError(
            where,
            "the plan must select at least one convolution",
            f"{plan!r}, which selects none in {type(model).__name__}",
            "list the names with model.named_modules()",
        )
    _check_selected_once(where, model, sharings)
    for name in sharings:
        with _prefix_errors(f"{where}: {name!r}"):
            as_shared(model.get_submodule(name))
            _check_not_in_parametrization(model, name)
    with _prefix_errors(where):
        return Plan(sharings, find_layer_ties(model, sharings))


def _select_all(
    where: str, model: nn.Module, sharing: Sharing, is_skipped: Callable[[Sharing, nn.Module], bool]
) -> Iterator[tuple[str, Sharing]]:
    for name, module in model.named_modules():
        with _prefix_errors(f"{where}: {name!r}"):
            if isinstance(module, CONVOLUTIONS) and not is_skipped(sharing, module):
                yield name, sharing


def _select(where: str, model: nn.Module, name: str, sharing: Sharing) -> Sharing:
    """Return the sharing of one entry of the plan after checking both."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        hint = did_you_mean(name, modules, "list the names with model.named_modules()")
        raise ArgumentError(where, "each name in the plan must be that of a module", repr(name), hint)
    if not isinstance(modules[name], CONVOLUTIONS):
        got = f"a {type(modules[name]).__name__}"
        raise ArgumentError(f"{where}: {name!r}", "the module must be a convolution", got)
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError(
            f"{where}: {name!r}", "its entry in the plan must be a sharing", repr(sharing), hint
        )
    return sharing


def _check_selected_once(where: str, model: nn.Module, names: Iterable[str]) -> None:
    """Raise `ArgumentError` if a plan selects one module under two names."""
    first: dict[int, str] = {}
    for name in names:
        if (other := first.setdefault(id(model.get_submodule(name)), name)) != name:
            got = f"{other!r} and {name!r}, two names of one module"
            raise ArgumentError(where, "the plan must contain each layer once", got, f"leave out {name!r}")


class _Memo(dict[int, Any]):
    """A memo of `copy.deepcopy` that records whether a module is part of what is copied."""

    def __init__(self, module: nn.Module):
        super().__init__({id(module): module})
        self.key, self.is_found = id(module), False

    def get(self, key: int, default: Any = None) -> Any:
        self.is_found |= key == self.key
        return super().get(key, default)


def _check_not_in_parametrization(model: nn.Module, name: str) -> None:
    """Raise `ConversionError` if a parametrization refers to the layer and so reads its weight."""
    module = model.get_submodule(name)
    for other, part in model.named_modules():
        if isinstance(part, ParametrizationList):
            memo = _Memo(module)
            copy.deepcopy(part, memo)
            if memo.is_found:
                expected = "the layer must not be part of a parametrization"
                raise ConversionError(type(module).__name__, expected, f"one in {other!r}", LEAVE_OUT)


def run_model(where: str, model: nn.Module, names: Iterable[str], example: Example) -> Run:
    """Run a copy of the model in evaluation mode; the random state is restored.

    Each named convolution has at least one input, and all its inputs have the same size.

    Raises:
        ConversionError: If the model fails, or a layer is not called or is called on inputs of several sizes.
    """
    if not example.args and not example.kwargs:
        raise ArgumentError(where, "example inputs must be given for a model, to find input sizes", "none")
    run = _run(where, copy.deepcopy(model), names, example, _EXPECTED_RUN, _RUN_HINT)
    for name, sizes in run.sizes.items():
        with _prefix_errors(f"{where}: {name!r}"):
            _check_one_size(model.get_submodule(name), sizes)
    return run


def check_same(where: str, model: nn.Module, result: nn.Module, old: Run, example: Example) -> None:
    """Raise `ConversionError` unless the result has the outputs of the model and calls each layer as often.

    A new layer is not called if, for example, the model calls only layers of a certain class. A copy of the
    result runs in evaluation mode. It shares the weights of the new layers, because they can be large.

    Args:
        where: Name of the public function, with which errors start.
        model: Original model.
        result: Model with the new layers.
        old: What `run_model` returned for the original model.
        example: Inputs of the forward pass.
    """
    names = list(old.sizes)
    shared = {id(p): p for name in names for p in result.get_submodule(name).parameters()}
    expected = "the forward pass with the new layers must succeed"
    new = _run(where, copy.deepcopy(result, shared), names, example, expected, _READS)
    for name, sizes in new.sizes.items():
        if len(sizes) != len(old.sizes[name]):
            calls = "once" if len(old.sizes[name]) == 1 else f"{len(old.sizes[name])} times"
            raise ConversionError(
                f"{where}: {name!r}: {type(result.get_submodule(name)).__name__}",
                f"the new layer must be called {calls} in a forward pass",
                _count_calls(sizes),
                "call it through its attribute, whatever its class is, or leave it out of the plan",
            )
    if _has_same_tensors(old.output, new.output):
        return
    again = _run(where, copy.deepcopy(model), names, example, _EXPECTED_RUN, _RUN_HINT)
    if _has_same_tensors(old.output, again.output):  # else the model draws numbers outside of torch
        got = "different outputs on the example inputs"
        raise ConversionError(where, "the result must compute the same function", got, _READS)


def _run(
    where: str, model: nn.Module, names: Iterable[str], example: Example, expected: str, hint: str
) -> Run:
    """Run a copy of a model, to which hooks are added, on a copy of the inputs."""
    sizes_by_name: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for name, sizes in sizes_by_name.items():
        _add_hook(model.get_submodule(name), sizes)
    args, kwargs = map_tensors(Tensor.clone, (tuple(example.args), dict(example.kwargs)))
    with evaluating(model, warn=False):
        try:
            return Run(sizes_by_name, model(*args, **kwargs))
        except Exception as error:
            name, module = find_raising_module(model, error)
            place = f"{name!r}: {type(module).__name__}" if name else type(module).__name__
            got = f"{type(error).__name__}: {str(error).rstrip('.')}"
            raise ConversionError(f"{where}: {place}", expected, got, hint) from error


def _add_hook(layer: Any, sizes: list[tuple[int, ...]]) -> None:
    """Append the spatial size of the layer's input to `sizes` at each call."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        input = args[0] if args else kwargs["input"]
        sizes.append(tuple(input.shape[-len(layer.kernel_size) :]))

    layer.register_forward_pre_hook(hook, with_kwargs=True)


def _check_one_size(layer: nn.Module, sizes: list[tuple[int, ...]]) -> None:
    if len(set(sizes)) == 1:
        return
    raise ConversionError(
        type(layer).__name__,
        "the layer must be called on inputs of one size in a forward pass in evaluation mode",
        _count_calls(sizes),
        LEAVE_OUT,
    )


def _count_calls(sizes: Sequence[tuple[int, ...]]) -> str:
    if not sizes:
        return "no call"
    different = ", ".join(format_size(size) for size in dict.fromkeys(sizes))
    calls = "1 call" if len(sizes) == 1 else f"{len(sizes)} calls"
    return f"{calls}, on inputs of size {different}"


def _has_same_tensors(old: Any, new: Any) -> bool:
    """Return whether two outputs have the same floating-point tensors, up to rounding."""
    pairs = list(zip(iter_tensors(old), iter_tensors(new)))
    return all(_is_near(first, second) for first, second in pairs)


def _is_near(first: Tensor, second: Tensor) -> bool:
    if first.is_nested or first.is_sparse or not first.is_floating_point() or first.shape != second.shape:
        return first.is_nested or first.shape == second.shape
    difference, scale = float((second - first).double().norm()), float(first.double().norm())
    return not difference > 10 * torch.finfo(first.dtype).eps ** 0.5 * scale


def replace_modules(
    where: str,
    model: nn.Module,
    plan: Plan,
    make: Callable[[str, nn.Module], nn.Module],
    *,
    same_taps: bool = False,
) -> nn.Module:
    """Return a copy of the model in which each selected module is replaced by `make(name, module)`.

    Everything in the copy that refers to a module refers to the new one, under whatever name. Tied layers
    stay tied.

    Args:
        where: Name of the public function, with which errors start.
        model: Model to copy.
        plan: Selected modules and their ties.
        make: Function that makes a new module.
        same_taps: Whether tied kernels must have the same taps on padding, because only the others
            are fitted.

    Raises:
        ConversionError: If the model refers to a parameter of a replaced module in another way.
    """
    new: dict[str, nn.Module] = {}
    for name in plan.sharings:
        with _prefix_errors(f"{where}: {name!r}"):
            new[name] = make(name, model.get_submodule(name))
    for tie in plan.ties:
        with _prefix_errors(where):
            link_layers(model, new, tie, same_taps)
    old = {id(model.get_submodule(name)): name for name in new}
    memo: dict[int, Any] = {key: new[name] for key, name in old.items()}
    result = copy.deepcopy(model, memo)
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) not in old:
            continue
        for parameter_name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in memo:
                raise ConversionError(
                    f"{where}: {name!r}: {type(module).__name__}",
                    "nothing else in the model must refer to the parameters of the layer",
                    f"a reference to its {parameter_name} outside of the registered parameters",
                    LEAVE_OUT,
                )
        result.set_submodule(name, new[old[id(module)]])
    update_declared(result, plan.ties)
    return result


@contextmanager
def _prefix_errors(where: str) -> Generator[None]:
    """Add the public function and the name of the module to the front of errors that are raised inside."""
    try:
        yield
    except WeightshareError as error:
        place = f"{where}: {error.where}"
        raise type(error)(place, error.expected, error.got, error.hint) from None
