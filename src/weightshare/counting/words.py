"""The arguments of each layer class, with the names and in the order of `torch.nn`."""

from collections.abc import Mapping
from dataclasses import dataclass

_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode device dtype"
_CONV_TRANSPOSE = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode "
    "device dtype"
)
_LINEAR = "in_features out_features bias device dtype"
_KEYWORD_ONLY = ("sharing", "bias_sharing", "input_size")

#: Arguments that do not affect counts. Their values are not read.
IGNORED = ("device", "dtype")
#: Module prefixes under which the classes may be written.
PREFIXES = ("nn", "torch.nn", "ws.nn", "weightshare.nn")


@dataclass(frozen=True)
class Form:
    """The names and order of the arguments of a layer class, as written in text.

    Args:
        torch_name: Name of the class in `torch.nn` or `weightshare.nn`.
        ndim: Number of spatial axes.
        order: Arguments that may be positional.
        words: The accepted keywords, each with its torch name.
        ignored: Arguments that do not affect counts.
        is_keras: Whether the class name and the order of the arguments are those of Keras.
    """

    torch_name: str
    ndim: int
    order: tuple[str, ...]
    words: Mapping[str, str]
    ignored: tuple[str, ...] = IGNORED
    is_keras: bool = False

    @property
    def is_transposed(self) -> bool:
        return self.torch_name.startswith("ConvTranspose")

    @property
    def is_local(self) -> bool:
        return self.torch_name.startswith("LocallyConnected")

    @property
    def required(self) -> tuple[str, ...]:
        """Torch names of the arguments that have no default."""
        return (
            ("in_channels", "out_channels", "kernel_size") if self.ndim else ("in_features", "out_features")
        )


def _build_forms() -> dict[str, Form]:
    forms: dict[str, Form] = {}
    for n in (1, 2, 3):
        for name, text in (
            (f"Conv{n}d", _CONV),
            (f"ConvTranspose{n}d", _CONV_TRANSPOSE),
            (f"LocallyConnected{n}d", _CONV),
        ):
            order = tuple(text.split())
            forms[name] = Form(name, n, order, {word: word for word in (*order, *_KEYWORD_ONLY)})
    order = tuple(_LINEAR.split())
    forms["Linear"] = Form("Linear", 0, order, {word: word for word in order})
    return forms


#: The classes that can be counted, by name.
FORMS = _build_forms()
