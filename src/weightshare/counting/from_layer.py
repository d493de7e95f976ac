"""Read a `LayerSpec` from a live layer, by its class and attributes, without importing torch."""

import sys
from typing import Any

from ..errors import ArgumentError
from ..geometry import Window
from ..sharing import Full, Local, Sharing
from .spec import LayerSpec, choose_bias_sharing
from .words import FORMS, Form

#: Modules whose layers can be read.
_MODULES = ("torch.nn", "weightshare.nn", "torch.ao.nn.quantized")


def read_layer(layer: Any) -> LayerSpec:
    """Return the spec of a layer of `weightshare.nn` or `torch.nn`.

    Raises:
        ArgumentError: If the object is not a convolution, transposed convolution or linear layer, or if it is
            a lazy layer, whose size is not known yet.
    """
    form = next((FORMS[c.__name__] for c in type(layer).__mro__ if _is_known(c)), None)
    if form is None:
        raise _unsupported(layer)
    try:
        return _read_convolution(layer, form) if form.ndim else _read_linear(layer)
    except (AttributeError, TypeError) as error:
        raise _unsupported(layer) from error


def _is_known(cls: type) -> bool:
    """Return whether this is a class of `FORMS` itself, and not another one of the same name."""
    modules = (sys.modules.get(name) for name in _MODULES)  # a module that is not loaded has no layers
    return cls.__name__ in FORMS and any(getattr(module, cls.__name__, None) is cls for module in modules)


def _read_linear(layer: Any) -> LayerSpec:
    window = Window((), (), (), ())
    has_bias = layer.bias is not None
    return LayerSpec("Linear", int(layer.in_features), int(layer.out_features), window, bias=has_bias)


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
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        sharing=sharing if isinstance(sharing, Sharing) else Local() if form.is_local else Full(),
        bias_sharing=_read_bias_sharing(layer, form.is_transposed),
        input_size=_read_input_size(layer),
    )


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
        "layer must be a convolution, transposed convolution, locally connected or linear layer",
        type(layer).__name__,
        'pass a layer, or text such as "Conv2d(3, 96, 11, stride=4)"',
    )
