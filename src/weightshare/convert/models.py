"""Replace convolutions in a model: resolve a plan, find input sizes, and check the result."""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from .._args import did_you_mean, format_size
from .._running import evaluating, find_raising_module
from ..errors import ArgumentError, ConversionError, WeightshareError
from ..parameters.storage import get_storage_key
from ..sharing import Sharing
from .convolutions import CONVOLUTIONS, as_shared

Sizes = dict[str, tuple[int, ...]]
_LEAVE_OUT = "use a plan {name: sharing} without this layer"


def resolve_plan(
    where: str,
    model: nn.Module,
    plan: Sharing | Mapping[str, Sharing],
    is_skipped: Callable[[Sharing, nn.Module], bool],
) -> dict[str, Sharing]:
    """Return the new sharing of each selected convolution by name; raise an error if one is not replaceable.

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
    for name in sharings:
        with _prefix_errors(where, name):
            _check_replaceable(model, name)
    return sharings


def _select_all(
    where: str, model: nn.Module, sharing: Sharing, is_skipped: Callable[[Sharing, nn.Module], bool]
) -> Iterator[tuple[str, Sharing]]:
    for name, module in model.named_modules():
        with _prefix_errors(where, name):
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


def _check_replaceable(model: nn.Module, name: str) -> None:
    """Raise `ConversionError` if the module is modified, has several names or shares its parameters."""
    module = model.get_submodule(name)
    where = type(module).__name__
    names = [other for other, m in model.named_modules(remove_duplicate=False) if m is module]
    if len(names) > 1:
        expected, got = "the layer must be registered under one name only", ", ".join(map(repr, names))
        raise ConversionError(where, expected, got, _LEAVE_OUT)
    as_shared(module)
    own = {f"{name}.{parameter}": p for parameter, p in module.named_parameters()}
    storages = {get_storage_key(p) or id(p) for p in own.values()}
    others = [
        other
        for other, p in model.named_parameters(remove_duplicate=False)
        if other not in own and (get_storage_key(p) or id(p)) in storages
    ]
    if others:
        expected = "the layer must not share parameters with other modules"
        raise ConversionError(where, expected, f"one shared with {', '.join(map(repr, others))}", _LEAVE_OUT)


def find_input_sizes(
    where: str, model: nn.Module, names: Iterable[str], example_inputs: Sequence[Any]
) -> Sizes:
    """Return the spatial input size of each named convolution; raise an error unless each is called once.

    A copy of the model runs in evaluation mode, and the random state is restored.
    """
    if not example_inputs:
        raise ArgumentError(where, "example inputs must be given for a model, to find input sizes", "none")
    expected = "the forward pass on the example inputs must succeed in evaluation mode"
    hint = "pass inputs with the size, channels, dtype and device that the model expects"
    sizes_by_name = _record_sizes(where, copy.deepcopy(model), names, example_inputs, expected, hint)
    for name, sizes in sizes_by_name.items():
        with _prefix_errors(where, name):
            _check_called_once(model.get_submodule(name), sizes)
    return {name: sizes[0] for name, sizes in sizes_by_name.items()}


def check_called(where: str, result: nn.Module, names: Iterable[str], example_inputs: Sequence[Any]) -> None:
    """Raise `ConversionError` unless the result calls each new layer once.

    A new layer is not called if, for example, a plain list still refers to the replaced layer. A copy of the
    model runs in evaluation mode. It shares the weights of the new layers, because they can be large.
    """
    names = list(names)
    shared = {id(p): p for name in names for p in result.get_submodule(name).parameters()}
    expected = "the forward pass with the new layers must succeed"
    hint = "use a plan without the convolutions whose weights or attributes the model reads directly"
    sizes_by_name = _record_sizes(where, copy.deepcopy(result, shared), names, example_inputs, expected, hint)
    for name, sizes in sizes_by_name.items():
        if len(sizes) != 1:
            raise ConversionError(
                f"{where}: {name!r}: {type(result.get_submodule(name)).__name__}",
                "the new layer must be called once in a forward pass",
                f"{len(sizes)} calls" if sizes else "no call",
                "call it only through this attribute, not through a plain list, a dict or a closure "
                "(use torch.nn.ModuleList), or leave it out of the plan",
            )


def _record_sizes(
    where: str,
    model: nn.Module,
    names: Iterable[str],
    example_inputs: Sequence[Any],
    expected: str,
    hint: str,
) -> dict[str, list[tuple[int, ...]]]:
    """Return the spatial input size of each call of the named convolutions in a forward pass.

    Hooks are added to the model, so it must be a copy.
    """
    sizes_by_name: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for name, sizes in sizes_by_name.items():
        _add_hook(model.get_submodule(name), sizes)
    with evaluating(model, warn=False):
        try:
            model(*example_inputs)
        except Exception as error:
            name, module = find_raising_module(model, error)
            place = f"{name!r}: {type(module).__name__}" if name else type(module).__name__
            got = f"{type(error).__name__}: {str(error).rstrip('.')}"
            raise ConversionError(f"{where}: {place}", expected, got, hint) from error
    return sizes_by_name


def _add_hook(layer: Any, sizes: list[tuple[int, ...]]) -> None:
    """Append the spatial size of the layer's input to `sizes` at each call."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        input = args[0] if args else kwargs["input"]
        sizes.append(tuple(input.shape[-len(layer.kernel_size) :]))

    layer.register_forward_pre_hook(hook, with_kwargs=True)


def _check_called_once(layer: nn.Module, sizes: list[tuple[int, ...]]) -> None:
    if len(sizes) == 1:
        return
    different = ", ".join(format_size(size) for size in dict.fromkeys(sizes))
    raise ConversionError(
        type(layer).__name__,
        "the layer must be called once in a forward pass in evaluation mode",
        f"{len(sizes)} calls, on inputs of size {different}" if sizes else "no call",
        _LEAVE_OUT,
    )


def replace_modules(
    where: str, model: nn.Module, names: Iterable[str], make: Callable[[str, nn.Module], nn.Module]
) -> nn.Module:
    """Return a copy of the model in which each named module is replaced by `make(name, module)`."""
    result = copy.deepcopy(model)
    for name in names:
        with _prefix_errors(where, name):
            new = make(name, model.get_submodule(name))
        result.set_submodule(name, new)
    return result


@contextmanager
def _prefix_errors(where: str, name: str) -> Generator[None]:
    """Add the public function and the name of the module to the front of errors that are raised inside."""
    try:
        yield
    except WeightshareError as error:
        place = f"{where}: {name!r}: {error.where}"
        raise type(error)(place, error.expected, error.got, error.hint) from None
