"""The arguments of each layer class, with their names, order and defaults, as one line of text per class."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .block import Block, Shape

#: Arguments of all layers of torch that do not affect counts.
IGNORED = ("device", "dtype")
#: Module prefixes under which the classes may be written.
PREFIXES = ("nn", "torch.nn", "ws.nn", "weightshare.nn")

_CONV = (
    "in_channels out_channels kernel_size stride=1 padding=0 dilation=1 groups=1 bias=True "
    "padding_mode='zeros'"
)
_CONV_TRANSPOSE = (
    "in_channels out_channels kernel_size stride=1 padding=0 output_padding=0 groups=1 bias=True dilation=1 "
    "padding_mode='zeros'"
)
_KEYWORD_ONLY = ("sharing", "bias_sharing", "input_size")


@dataclass(frozen=True)
class Form:
    """The names and order of the arguments of a layer class, as written in text.

    Args:
        torch_name: Name of the class in `torch.nn` or `weightshare.nn`; for other layers, their own name.
        ndim: Number of spatial axes of a convolution; 0 for other layers.
        order: Arguments that may be positional.
        words: The accepted keywords, each with its torch name.
        required: Arguments without a default, under their torch names.
        defaults: Defaults of the other arguments that affect counts.
        ignored: Arguments that do not affect counts. Their values are not read.
        is_keras: Whether the class name and the order of the arguments are those of Keras.
        build: Function that counts the layer from its arguments and the size of its input; None for
            convolutions and linear layers.
        has_parameters: Whether layers of the class may have parameters.
    """

    torch_name: str
    ndim: int
    order: tuple[str, ...]
    words: Mapping[str, str]
    required: tuple[str, ...]
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    ignored: tuple[str, ...] = IGNORED
    is_keras: bool = False
    build: Callable[[Any, Shape | None], Block] | None = None
    has_parameters: bool = True

    @property
    def is_transposed(self) -> bool:
        return self.torch_name.startswith("ConvTranspose")

    @property
    def is_local(self) -> bool:
        return self.torch_name.startswith("LocallyConnected")


def read_form(name: str, text: str, ndim: int = 0, ignored: tuple[str, ...] = IGNORED, **more: Any) -> Form:
    """Return the form of a class from its signature.

    Args:
        text: Names of the arguments in order, with their defaults. The values of those that begin with "-" do
            not affect counts.
        ignored: Further arguments that do not affect counts.

    >>> form = read_form("Linear", "in_features out_features bias=True")
    >>> form.required, form.defaults
    (('in_features', 'out_features'), {'bias': True})
    """
    order: list[str] = []
    required: list[str] = []
    defaults: dict[str, object] = {}
    unread: list[str] = []
    for word in text.split():
        argument, has_default, default = word.lstrip("-").partition("=")
        order.append(argument)
        if word.startswith("-"):
            unread.append(argument)
        elif has_default:
            defaults[argument] = ast.literal_eval(default)
        else:
            required.append(argument)
    words = {word: word for word in (*order, *ignored)}
    return Form(name, ndim, tuple(order), words, tuple(required), defaults, (*unread, *ignored), **more)


def _build_forms() -> dict[str, Form]:
    forms: dict[str, Form] = {}
    for n in (1, 2, 3):
        for name, text in (
            (f"Conv{n}d", _CONV),
            (f"ConvTranspose{n}d", _CONV_TRANSPOSE),
            (f"LocallyConnected{n}d", _CONV),
        ):
            form = read_form(name, f"{text} -device -dtype", n)
            forms[name] = replace(form, words={**form.words, **{word: word for word in _KEYWORD_ONLY}})
    forms["Linear"] = read_form("Linear", "in_features out_features bias=True -device -dtype")
    return forms


#: The convolutions and linear layers of torch, by name.
FORMS = _build_forms()
