"""Walking a model: which convolutions a plan chooses, what stands against them, and putting new ones in."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.nn import Module

from .._args import did_you_mean, times
from .._running import evaluating, find_raising_module
from ..errors import ArgumentError, ConversionError, WeightshareError
from ..parameters.storage import storage_of
from ..sharing import Sharing
from .layers import CONVOLUTIONS, as_ours

Sizes = dict[str, tuple[int, ...]]


def planned(
    verb: str, model: Module, plan: Any, leaves_alone: Callable[[Sharing, Any], bool]
) -> dict[str, Sharing]:
    """The convolutions that a plan chooses, by name, each checked to be replaceable.

    Args:
        verb: The function that errors start with.
        plan: A sharing for all convolutions, or a mapping from names to sharings.
        leaves_alone: Whether a plan for all leaves this convolution as it is.
    """
    if isinstance(plan, Sharing):
        chosen = dict(_all(verb, model, plan, leaves_alone))
    elif isinstance(plan, Mapping):
        chosen = {name: _named(verb, model, name, sharing) for name, sharing in plan.items()}
    else:
        expected = "plan must be a sharing or a mapping from module names to sharings"
        raise ArgumentError(verb, expected, repr(plan), "give Local(), or {'conv1': Local()}")
    if not chosen:
        raise ConversionError(
            verb,
            "the plan must choose a convolution",
            f"{plan!r}, which chooses none of {type(model).__name__}",
            "print model.named_modules(), and give a convolution's name",
        )
    for name in chosen:
        with _at(verb, name):
            _check_replaceable(model, name)
    return chosen


def _all(
    verb: str, model: Module, sharing: Sharing, leaves_alone: Callable[[Sharing, Any], bool]
) -> Iterator[tuple[str, Sharing]]:
    for name, module in model.named_modules():
        with _at(verb, name):
            if isinstance(module, CONVOLUTIONS) and not leaves_alone(sharing, module):
                yield name, sharing


def _named(verb: str, model: Module, name: Any, sharing: Any) -> Sharing:
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        hint = did_you_mean(name, modules, "list the names with model.named_modules()")
        raise ArgumentError(verb, "the plan's names must be names of modules", repr(name), hint)
    if not isinstance(modules[name], CONVOLUTIONS):
        got = f"a {type(modules[name]).__name__}"
        raise ArgumentError(f"{verb}: {name!r}", "must be a convolution", got, "leave it out of the plan")
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError(f"{verb}: {name!r}", "the plan must give a sharing", repr(sharing), hint)
    return sharing


def _check_replaceable(model: Module, name: str) -> None:
    """Refuse a module that is more than one part of the model, or does more than its class says."""
    module = model.get_submodule(name)
    where, hint = type(module).__name__, "name the modules to change in the plan, and leave this one out"
    names = [other for other, m in model.named_modules(remove_duplicate=False) if m is module]
    if len(names) > 1:
        raise ConversionError(where, "must be registered under one name", ", ".join(map(repr, names)), hint)
    as_ours(module)
    own = {f"{name}.{parameter}": p for parameter, p in module.named_parameters()}
    stores = {storage_of(p) or id(p) for p in own.values()}
    others = [
        other
        for other, p in model.named_parameters(remove_duplicate=False)
        if other not in own and (storage_of(p) or id(p)) in stores
    ]
    if others:
        got = f"one that it shares with {', '.join(map(repr, others))}"
        raise ConversionError(where, "every parameter must be its own", got, hint)


def input_sizes(verb: str, model: Module, names: Iterable[str], example_inputs: Sequence[Any]) -> Sizes:
    """The spatial size of the input of every named convolution, each called once in a forward pass.

    A copy runs, in evaluation mode, and the random state is put back: the model is as before.
    """
    if not example_inputs:
        hint = "give what the model is called with"
        raise ArgumentError(verb, "a model needs example inputs, to see its layers' sizes", "none", hint)
    expected = "must run on the example inputs in evaluation mode"
    hint = "give inputs of the size, channels, dtype and device that the model is called with"
    seen = _calls(verb, copy.deepcopy(model), names, example_inputs, expected, hint)
    for name, sizes in seen.items():
        with _at(verb, name):
            _check_called_once(model.get_submodule(name), sizes)
    return {name: sizes[0] for name, sizes in seen.items()}


def check_used(verb: str, result: Module, names: Iterable[str], example_inputs: Sequence[Any]) -> None:
    """Refuse a result that does not call every new module once, as where a plain list holds the old one.

    A copy runs, in evaluation mode, with the large weights of the new modules in common.
    """
    names = list(names)
    common = {id(p): p for name in names for p in result.get_submodule(name).parameters()}
    expected = "must run with the new layers as it did with the old ones"
    hint = "leave out of the plan the convolutions whose weights or attributes the model itself uses"
    seen = _calls(verb, copy.deepcopy(result, common), names, example_inputs, expected, hint)
    for name, sizes in seen.items():
        if len(sizes) != 1:
            raise ConversionError(
                f"{verb}: {name!r}: {type(result.get_submodule(name)).__name__}",
                "in the result the new layer must be called once in a forward pass",
                f"{len(sizes)} calls" if sizes else "no call",
                "have the model call the layer by this name alone, not from a plain list, dict or function "
                "that holds it too (torch.nn.ModuleList is made for that), or leave it out of the plan",
            )


def _calls(
    verb: str, probe: Module, names: Iterable[str], example_inputs: Sequence[Any], expected: str, hint: str
) -> dict[str, list[tuple[int, ...]]]:
    """The spatial size of every input of the named convolutions, in a forward pass of a throwaway model."""
    seen: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for name, sizes in seen.items():
        _record(probe.get_submodule(name), sizes)
    with evaluating(probe, warn=False):
        try:
            probe(*example_inputs)
        except Exception as error:
            text = f"{type(error).__name__}: {str(error).rstrip('.')}"
            raise ConversionError(f"{verb}: {_failed(probe, error)}", expected, text, hint) from error
    return seen


def _failed(model: Module, error: Exception) -> str:
    """The innermost module that an error came from."""
    name, inside = find_raising_module(model, error)
    return f"{name!r}: {type(inside).__name__}" if name else type(inside).__name__


def _record(layer: Any, sizes: list[tuple[int, ...]]) -> None:
    def hook(module: Module, args: tuple, kwargs: dict) -> None:
        input = args[0] if args else kwargs["input"]
        sizes.append(tuple(input.shape[-len(layer.kernel_size) :]))

    layer.register_forward_pre_hook(hook, with_kwargs=True)


def _check_called_once(layer: Module, sizes: list[tuple[int, ...]]) -> None:
    if len(sizes) == 1:
        return
    seen = ", ".join(times(size) for size in dict.fromkeys(sizes))
    got = f"{len(sizes)} calls, on inputs of {seen}" if sizes else "no call"
    raise ConversionError(
        type(layer).__name__,
        "must be called once in a forward pass in evaluation mode",
        got,
        "name the modules to change in the plan, and leave this one out",
    )


def replaced(verb: str, model: Module, names: Iterable[str], make: Callable[[str, Module], Module]) -> Module:
    """A copy of the model with `make(name, module)` in the place of every named module."""
    result = copy.deepcopy(model)
    for name in names:
        with _at(verb, name):
            new = make(name, model.get_submodule(name))
        result.set_submodule(name, new)
    return result


@contextmanager
def _at(verb: str, name: str) -> Iterator[None]:
    """Errors inside start with the function and the module's name."""
    try:
        yield
    except WeightshareError as error:
        where = f"{verb}: {name!r}: {error.where}"
        raise type(error)(where, error.expected, error.got, error.hint) from None
