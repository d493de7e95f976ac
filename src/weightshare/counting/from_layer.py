"""Read a live layer by its class and attributes, without importing torch."""

import sys
from collections.abc import Container, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import ArgumentError
from ..geometry import Window
from ..sharing import Full, Local, Sharing
from .arguments import Arguments
from .block import Block, Shape
from .closed_form import match_parameters
from .sequence import apply_convolution, build_sequence
from .sizes import check_shape
from .spec import Held, LayerSpec, choose_bias_sharing
from .torch_layers import TORCH_FORMS
from .words import FORMS, Form

#: Modules whose layers can be read.
_MODULES = ("torch.nn", "weightshare.nn", "torch.ao.nn.quantized")


def read_module(module: Any, input_size: object) -> LayerSpec | Block:
    """Return a layer of `weightshare.nn` or `torch.nn`, or a `Sequential`, with the parameters it has.

    Args:
        input_size: Size of the input; None if it is not known.

    Raises:
        ArgumentError: If the class of the layer is not known, or if it is a lazy layer, whose size is not
            known yet.
        ShapeError: If the layer cannot have this input.
    """
    return _read_module(module, input_size, set())


def read_layer(layer: Any) -> LayerSpec:
    """Return the spec of a convolution, transposed convolution or linear layer, as a plain layer.

    Raises:
        ArgumentError: If the object is anything else, or if it is a lazy layer, whose size is not known yet.
    """
    name = find_class(layer, FORMS)
    if name is None:
        raise _unsupported(layer)
    form = FORMS[name]
    if find_class(layer, [f"Lazy{name}"]):
        raise ArgumentError(
            "explain",
            "the size of the layer must be known",
            type(layer).__name__,
            "call it once with an input",
        )
    try:
        return _read_convolution(layer, form) if form.ndim else _read_linear(layer)
    except (AttributeError, TypeError) as error:
        raise _unsupported(layer) from error


def read_block(layer: Any, shape: Shape | None = None) -> Block:
    """Return a layer of torch that is neither a convolution nor linear, as a plain layer.

    Raises:
        ArgumentError: If the object is anything else.
    """
    name = find_class(layer, TORCH_FORMS)
    if name is None:
        raise _unsupported(layer)
    form = TORCH_FORMS[name]
    assert form.build is not None
    try:
        given = {word: _read_attribute(layer, word) for word in form.words if word not in form.ignored}
        return form.build(Arguments(form, given), shape)
    except AttributeError as error:
        raise _unsupported(layer) from error


def find_class(layer: object, names: Container[str]) -> str | None:
    """Return the first of the named classes of torch or weightshare of which an object is an instance.

    Another class of the same name is not one of them.
    """
    modules = [sys.modules.get(name) for name in _MODULES]  # a module that is not loaded has no layers
    for cls in type(layer).__mro__:
        if cls.__name__ in names and any(getattr(module, cls.__name__, None) is cls for module in modules):
            return cls.__name__
    return None


def _read_module(module: Any, size: object, seen: set[int]) -> LayerSpec | Block:
    """Read a module.

    Args:
        seen: Identities of the parameters that belong to earlier layers; those of this one are added.
    """
    if find_class(module, ("Sequential",)):
        shape = None if size is None else check_shape("Sequential", "input_size", size)
        steps: dict[str, Any] = module._modules
        block = build_sequence("Sequential", steps.items(), partial(_read_step, seen=seen), shape)
        own, _ = match_parameters((), _list_held(module, seen))  # those of the sequence itself
        return replace(block, terms=(*block.terms, *own))
    if find_class(module, FORMS):
        spec = read_layer(module)
        return spec if _is_quantized(module) else replace(spec, held=_list_held(module, seen))
    shape = None if size is None else check_shape(type(module).__name__, "input_size", size)
    block = read_block(module, shape)
    terms, notes = match_parameters(block.terms, _list_held(module, seen))
    return replace(block, terms=terms, notes=(*block.notes, *notes))


def _read_step(module: Any, shape: Shape | None, seen: set[int]) -> Block:
    layer = _read_module(module, shape, seen)
    return layer if isinstance(layer, Block) else apply_convolution(layer, shape)


def _list_held(module: Any, seen: set[int]) -> Held:
    """Return the names and shapes of the parameters that no earlier layer has."""
    return tuple(_iter_held(module, seen))


def _iter_held(module: Any, seen: set[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, parameter in module.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            yield name, tuple(parameter.shape)


def _read_attribute(layer: Any, word: str) -> Any:
    """Return the value of an argument. A parameter or None stands for whether there is one."""
    if word == "add_bias_kv":
        return layer.bias_k is not None
    if word == "bias" and hasattr(layer, "in_proj_bias"):
        return layer.in_proj_bias is not None
    value = getattr(layer, word)
    if word == "bias":
        return value if isinstance(value, bool) else value is not None
    return value


def _read_linear(layer: Any) -> LayerSpec:
    window = Window((), (), (), ())
    return LayerSpec("Linear", int(layer.in_features), int(layer.out_features), window, bias=_has_bias(layer))


def _read_convolution(layer: Any, form: Form) -> LayerSpec:
    sharing = getattr(layer, "sharing", None)
    return LayerSpec(
        form.torch_name,
        int(layer.in_channels),
        int(layer.out_channels),
        _read_window(layer, form.torch_name),
        transposed=form.is_transposed,
        output_padding=tuple(layer.output_padding) if form.is_transposed else (),
        groups=int(layer.groups),
        bias=_has_bias(layer),
        padding_mode=layer.padding_mode,
        sharing=sharing if isinstance(sharing, Sharing) else Local() if form.is_local else Full(),
        bias_sharing=_read_bias_sharing(layer, form.is_transposed),
        input_size=_read_input_size(layer),
    )


def _has_bias(layer: Any) -> bool:
    return (layer.bias() if _is_quantized(layer) else layer.bias) is not None


def _is_quantized(layer: Any) -> bool:
    """Return whether a layer keeps its weights outside of its parameters, and `bias` is a method."""
    return callable(getattr(layer, "bias", None))


def _read_window(layer: Any, where: str) -> Window:
    window = getattr(layer, "window", None)
    if isinstance(window, Window):
        return window
    return Window(tuple(layer.kernel_size), layer.stride, layer.padding, layer.dilation, where=where)


def _read_bias_sharing(layer: Any, transposed: bool) -> Sharing | None:
    """Return the bias sharing, or None if it is the default for the layer's sharing."""
    sharing, bias_sharing = getattr(layer, "sharing", None), getattr(layer, "bias_sharing", None)
    if layer.bias is None or not isinstance(sharing, Sharing) or not isinstance(bias_sharing, Sharing):
        return None
    return None if bias_sharing == choose_bias_sharing(sharing, transposed) else bias_sharing


def _read_input_size(layer: Any) -> tuple[int, ...] | None:
    size = getattr(layer, "input_size", None)
    return None if size is None else tuple(map(int, size))


def _unsupported(layer: object) -> ArgumentError:
    return ArgumentError(
        "explain",
        "layer must be a convolution, transposed convolution, locally connected or linear layer, another "
        "layer of torch.nn such as LSTM, or a Sequential of these",
        type(layer).__name__,
        'pass a layer or text such as "Conv2d(3, 96, 11, stride=4)"; weightshare.summary counts any module',
    )
