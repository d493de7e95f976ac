"""The words that layers are written in: torch's in torch's order, and Keras's translated to them."""

from dataclasses import dataclass

_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode device dtype"
_TRANSPOSED = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode "
    "device dtype"
)
_OURS = ("sharing", "bias_sharing", "input_size")
_KERAS_NEUTRAL = (
    *("activation", "name", "trainable", "implementation"),
    *(
        f"{what}_{rule}"
        for what in ("kernel", "bias")
        for rule in ("initializer", "regularizer", "constraint")
    ),
    "activity_regularizer",
)
_KERAS_ONLY = (*_KERAS_NEUTRAL, "input_shape", "data_format")


@dataclass(frozen=True)
class Form:
    """How one class of layer is written.

    Args:
        torch: What torch (or this package) calls the class.
        ndim: Spatial axes.
        order: Words that may be given by place.
        words: Words that may be given by name.
        keras: Whether the class, and so the order of its words, is Keras's.
    """

    torch: str
    ndim: int
    order: tuple[str, ...]
    words: tuple[str, ...]
    keras: bool = False

    @property
    def transposed(self) -> bool:
        return self.torch.startswith("ConvTranspose")

    @property
    def local(self) -> bool:
        return self.torch.startswith("LocallyConnected")


#: Keras's word to torch's.
KERAS_WORDS = {
    "filters": "out_channels",
    "strides": "stride",
    "dilation_rate": "dilation",
    "use_bias": "bias",
    "units": "out_features",
}
#: Words that change no count; their values are not looked at.
IGNORED = ("device", "dtype", *_KERAS_NEUTRAL)

PREFIXES = (
    *("nn", "torch.nn", "ws.nn", "weightshare.nn"),
    *("layers", "keras.layers", "tf.keras.layers", "tensorflow.keras.layers"),
)


def _forms() -> dict[str, Form]:
    forms = {}
    keras_words = tuple(word for word in KERAS_WORDS if word != "units")
    for n in (1, 2, 3):
        for torch, text in ((f"Conv{n}d", _CONV), (f"LocallyConnected{n}d", _CONV)):
            order = tuple(text.split())
            forms[torch] = Form(torch, n, order, (*order, *_OURS, *keras_words))
        torch, order = f"ConvTranspose{n}d", tuple(_TRANSPOSED.split())
        forms[torch] = Form(torch, n, order, (*order, *_OURS, *keras_words))
    order = ("in_features", "out_features", "bias", "device", "dtype")
    forms["Linear"] = Form("Linear", 0, order, (*order, "units", "use_bias"))
    for n in (1, 2, 3):
        for keras, torch in (
            (f"Conv{n}D", f"Conv{n}d"),
            (f"Conv{n}DTranspose", f"ConvTranspose{n}d"),
            (f"LocallyConnected{n}D", f"LocallyConnected{n}d"),
        ):
            by_place = ("filters", "kernel_size", "strides", "padding")
            forms[keras] = Form(torch, n, by_place, (*forms[torch].words, *_KERAS_ONLY), keras=True)
    forms["Dense"] = Form("Linear", 0, ("units",), (*forms["Linear"].words, *_KERAS_ONLY), keras=True)
    return forms


#: Every class that can be explained, by the name it is written with.
FORMS = _forms()
