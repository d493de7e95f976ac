"""A live layer read into a `LayerSpec` by its classes' names and its attributes, without importing torch."""

from typing import Any

from ..errors import ArgumentError
from ..geometry import Window
from ..sharing import Full, Local, Sharing
from .spec import LayerSpec
from .words import FORMS


def spec_of(layer: Any) -> LayerSpec:
    """The spec of a layer of this package or of torch.

    Raises:
        ArgumentError: something that is not a convolution, transposed convolution or linear layer, or one
            whose size is not known yet (lazy layers).
    """
    forms = (FORMS[c.__name__] for c in type(layer).__mro__ if c.__name__ in FORMS)
    form = next((form for form in forms if not form.keras), None)
    sharing = getattr(layer, "sharing", None)
    try:
        if form is None:
            raise AttributeError
        if form.ndim == 0:
            spec = LayerSpec(
                "Linear",
                int(layer.in_features),
                int(layer.out_features),
                Window((), (), (), ()),
                bias=layer.bias is not None,
            )
        else:
            spec = LayerSpec(
                form.torch,
                int(layer.in_channels),
                int(layer.out_channels),
                _window(layer, form.torch),
                transposed=form.transposed,
                output_padding=tuple(layer.output_padding) if form.transposed else (),
                groups=int(layer.groups),
                bias=layer.bias is not None,
                padding_mode=str(layer.padding_mode),
                sharing=sharing if isinstance(sharing, Sharing) else Local() if form.local else Full(),
                bias_sharing=_bias_sharing(layer, form.transposed),
                input_size=_input_size(layer),
            )
    except (AttributeError, TypeError) as error:
        raise ArgumentError(
            "explain",
            "layer must be a convolution, a transposed convolution, a locally connected or a linear layer",
            type(layer).__name__,
            'pass one, or its text such as "Conv2d(3, 96, 11, stride=4)"',
        ) from error
    return spec


def _window(layer: Any, where: str) -> Window:
    window = getattr(layer, "window", None)
    if isinstance(window, Window):
        return window
    return Window(tuple(layer.kernel_size), layer.stride, layer.padding, layer.dilation, where=where)


def _bias_sharing(layer: Any, transposed: bool) -> Sharing | None:
    """The layer's bias sharing where it is not the one that goes with its sharing anyway."""
    sharing, given = getattr(layer, "sharing", None), getattr(layer, "bias_sharing", None)
    if layer.bias is None or not isinstance(sharing, Sharing) or not isinstance(given, Sharing):
        return None
    usual = Full() if transposed or not sharing.one_hot else sharing
    return None if given == usual else given


def _input_size(layer: Any) -> tuple[int, ...] | None:
    size = getattr(layer, "input_size", None)
    return None if size is None else tuple(map(int, size))
