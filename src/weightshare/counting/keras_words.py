"""The layer classes and arguments of Keras, and their translation to torch.

Everything that differs between the two libraries is handled here: names and order of arguments,
channels-last shapes, input channels inferred from the input, and named padding.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, SpecError
from ..geometry import Window
from .block import Shape, format_shape
from .sizes import EXAMPLES, check_shape
from .statements import quote
from .words import FORMS, Form, read_form

#: Keras argument names and their torch equivalents. `explain` accepts them for torch classes, too.
_SYNONYMS = {
    "filters": "out_channels",
    "strides": "stride",
    "dilation_rate": "dilation",
    "use_bias": "bias",
    "units": "out_features",
}
#: Arguments of all layers of Keras that do not affect counts.
_IGNORED = (
    *("name", "dtype", "trainable", "autocast", "dynamic", "activity_regularizer", "batch_size"),
    *("implementation", "lora_alpha", "quantization_config"),
)
#: Arguments of all layers of Keras that give the size of the input.
SHAPE_WORDS = ("input_shape", "batch_input_shape", "batch_shape", "input_dim", "input_length")
#: Module prefixes under which the classes may be written.
KERAS_PREFIXES = (
    *("layers", "models", "keras", "keras.layers", "keras.models"),
    *("tf.keras", "tf.keras.layers", "tf.keras.models"),
    *("tensorflow.keras", "tensorflow.keras.layers", "tensorflow.keras.models"),
)

Padding = tuple[tuple[int, int], ...]

_CONV_END = (
    "-activation use_bias=True -kernel_initializer -bias_initializer -kernel_regularizer -bias_regularizer "
    "-activity_regularizer -kernel_constraint -bias_constraint"
)
_START = "filters kernel_size strides=1 padding='valid'"
_CONV = f"{_START} data_format=None dilation_rate=1 groups=1 {_CONV_END}"
_CONV_TRANSPOSE = f"{_START} output_padding=None data_format=None dilation_rate=1 {_CONV_END}"
_CONV_3D_TRANSPOSE = f"{_START} data_format=None output_padding=None dilation_rate=1 {_CONV_END}"
_LOCAL = f"{_START} data_format=None {_CONV_END} -implementation"
_DEPTHWISE = (
    "kernel_size strides=1 padding='valid' depth_multiplier=1 data_format=None dilation_rate=1 "
    f"{_CONV_END.replace('kernel_', 'depthwise_')}"
)
_DENSE = f"units {_CONV_END} lora_rank=None"


def read_keras_form(name: str, text: str, ndim: int = 0, **more: Any) -> Form:
    """Return the form of a class of Keras from its signature, as `read_form` does."""
    form = read_form(name, text, ndim, ignored=_IGNORED, is_keras=True, **more)
    return replace(form, words={**{word: word for word in SHAPE_WORDS}, **form.words})


def take_shape(form: Form, written: Mapping[str, object]) -> tuple[dict[str, object], Shape | None]:
    """Return the arguments of a layer of Keras without those that give its input, and the size of the input.

    The size has no batch, and is in the order of the layer. Parts of it may be unknown.

    >>> form = KERAS_CONVOLUTIONS["Dense"]
    >>> take_shape(form, {"units": 10, "input_dim": 64})
    ({'units': 10}, (64,))
    """
    own = {word: value for word, value in written.items() if word in form.order or word not in SHAPE_WORDS}
    given = {word: value for word, value in written.items() if word not in own}
    name = form.torch_name
    for word in ("input_shape", "batch_input_shape", "batch_shape"):
        if given.get(word) is not None:
            shape = check_shape(name, word, given[word])
            return own, shape if word == "input_shape" else shape[1:]
    features = check_shape(name, "input_dim", given.get("input_dim"))
    length = check_shape(name, "input_length", given.get("input_length"))
    is_sequential = "input_length" in given or "return_sequences" in form.words
    if "input_dim" in given:
        return own, (*length, *features) if is_sequential else features
    return own, length if "input_length" in given else None


def translate_arguments(
    name: str,
    form: Form,
    arguments: Mapping[str, object],
    channels: int | None = None,
    size: Shape | None = None,
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Translate the arguments of a layer to the argument names of torch.

    Args:
        name: Name of the class as written.
        form: Names and order of the arguments of that class.
        arguments: Value of each argument, by keyword.
        channels: Channels of the input, which Keras infers.
        size: Spatial size of the input, on which "same" padding depends.

    Returns:
        The arguments under their torch names, and one note per translation. Arguments that already have their
        torch name are returned unchanged, without a note.

    Raises:
        SpecError: If the channels have to be inferred from the input, and are not known.
        ArgumentError: If no layer can have these arguments.

    Example:
        >>> form = KERAS_CONVOLUTIONS["Conv2D"]
        >>> arguments = {"filters": 8, "kernel_size": 3, "padding": "same"}
        >>> translated, notes = translate_arguments("Conv2D", form, arguments, channels=1)
        >>> translated
        {'out_channels': 8, 'kernel_size': 3, 'padding': ((1, 1), (1, 1)), 'in_channels': 1}
        >>> notes
        ('Conv2D is Conv2d', 'filters=8 is out_channels=8', 'in_channels=1 is read from the input')
    """
    translated = {form.words[word]: value for word, value in arguments.items()}
    notes = [
        f"{word}={value!r} is {form.words[word]}={value!r}"
        for word, value in arguments.items()
        if form.words[word] != word
    ]
    if name.rpartition(".")[2] != form.torch_name:
        notes.insert(0, f"{name} is {form.torch_name}")
    translated.pop("data_format", None)
    word = "in_channels" if form.ndim else "in_features"
    if notes and word not in translated:
        if channels is None:
            raise _missing_channels(form, word, size)
        translated[word] = channels
        notes.append(f"{word}={channels} is read from the input")
    if "depth_multiplier" in form.words:
        translated |= _widen(form, translated)
    if form.is_keras and form.ndim:
        padding, note = _translate_padding(form, translated, size)
        translated |= padding
        notes += note
    return translated, tuple(notes)


def put_channels_first(
    form: Form, data_format: object, input_size: object, default_last: bool = True
) -> tuple[object, tuple[str, ...]]:
    """Return the input size of a convolution with its channels first, and a note on how it was read.

    Keras puts the channels last. Unless `data_format` is given, they are read from the first place if that is
    evident: if only the other numbers are equal as in 3x227x227, or if only the first number is 1 or 3 as in
    3x480x640. Sizes without channels are returned unchanged, without a note.

    Args:
        default_last: Whether the channels are last if there is no evidence.

    >>> put_channels_first(KERAS_CONVOLUTIONS["Conv2D"], None, (100, 100, 1))
    ((1, 100, 100), ('input 100x100x1 is read with the channels last (see data_format)',))
    """
    if not form.ndim or not is_sequence(input_size) or len(input_size) != form.ndim + 1:
        return input_size, ()
    size = check_shape(form.torch_name, "input_size", input_size)
    is_given = data_format is not None
    is_last = (
        is_channels_last(form.torch_name, data_format)
        if is_given
        else _ends_with_channels(size, default_last)
    )
    note = f"input {format_shape(size)} is read with the channels {'last' if is_last else 'first'}"
    return size[-1:] + size[:-1] if is_last else size, (note if is_given else f"{note} (see data_format)",)


def put_channels_last(where: str, shape: Shape) -> tuple[Shape, tuple[str, ...]]:
    """Return the size of an image or volume with its channels last, and a note on how it was read.

    Other sizes are returned unchanged, without a note.

    >>> put_channels_last("MaxPooling2D", (3, 32, 32))
    ((32, 32, 3), ('input 3x32x32 is read with the channels first',))
    """
    if len(shape) not in (3, 4):
        return shape, ()
    is_last = _ends_with_channels(check_shape(where, "input_size", shape), default=True)
    note = f"input {format_shape(shape)} is read with the channels {'last' if is_last else 'first'}"
    return shape if is_last else shape[1:] + shape[:1], (note,)


def _ends_with_channels(size: Shape, default: bool) -> bool:
    """Return whether the channels of an input size are evidently its last number.

    Three things are evidence: which end is known, on which side the other numbers are equal, and which end
    is 1 or 3. If there is none, or if they disagree, return `default`.
    """
    first, last = size[0], size[-1]
    evidence = [(last is not None, first is not None)]
    if len(size) > 2:
        are_equal_if_last, are_equal = len(set(size[:-1])) == 1, len(set(size[1:])) == 1
        if are_equal == are_equal_if_last:  # only height and width
            are_equal_if_last, are_equal = size[-3] == size[-2], size[-2] == last
        evidence.append((are_equal_if_last, are_equal))
    evidence.append((last in (1, 3), first in (1, 3)))
    votes = {is_last for is_last, is_first in evidence if is_last != is_first}
    return votes.pop() if len(votes) == 1 else default


def is_channels_last(name: str, data_format: object) -> bool:
    """Return whether a `data_format` of Keras is "channels_last", its default."""
    value = data_format.lower() if isinstance(data_format, str) else data_format
    if value not in (None, "channels_last", "channels_first"):
        expected = "data_format must be 'channels_last' or 'channels_first'"
        raise ArgumentError(name, expected, quote(str(data_format)))
    return value != "channels_first"


def _missing_channels(form: Form, word: str, size: Shape | None) -> SpecError:
    example = EXAMPLES[form.ndim]
    if form.is_keras and form.ndim:
        channels, _, rest = example.partition("x")
        example = f"{rest}x{channels}"
    order = f" with the channels {'last' if form.is_keras else 'first'}" if form.ndim else ""
    return SpecError(
        form.torch_name,
        f"needs {word}, which {'Keras infers' if form.is_keras else 'is inferred'} from the input",
        "no input size" if size is None else "an input size without channels",
        f"pass input_size (--input on the command line){order}, e.g. {example}",
    )


def _widen(form: Form, arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the output channels and groups of a depthwise convolution, which filters each channel."""
    channels = check_integer(form.torch_name, "in_channels", arguments["in_channels"], least=1)
    multiplier = check_integer(
        form.torch_name, "depth_multiplier", arguments.get("depth_multiplier", 1), least=1
    )
    return {"out_channels": channels * multiplier, "groups": channels}


def _translate_padding(
    form: Form, arguments: Mapping[str, Any], size: Shape | None
) -> tuple[dict[str, object], list[str]]:
    """Convert the padding names of Keras ("valid", "same", "causal") to numbers; return others unchanged."""
    padding = arguments.get("padding", "valid")
    if isinstance(padding, str):
        padding = padding.lower()
    if padding not in ("valid", "same", "causal") or "kernel_size" not in arguments:
        return {"padding": padding}, []
    if padding == "causal" and (form.ndim > 1 or form.is_transposed):
        raise ArgumentError(form.torch_name, "padding must be integers, 'same' or 'valid'", "'causal'")
    kernel, stride, dilation = (arguments.get(word, 1) for word in ("kernel_size", "stride", "dilation"))
    window = Window(kernel, stride, 0, dilation, ndim=form.ndim, where=form.torch_name)
    if form.is_transposed:
        output_padding = arguments.get("output_padding")
        if output_padding is not None:
            halves = ((extent // 2,) * 2 if padding == "same" else (0, 0) for extent in window.extent)
            return {"padding": tuple(halves)}, []
        return _pad_transposed(window, crop=padding == "same"), []
    if padding == "same":
        return _pad_same(window, size)
    if padding == "causal":
        return {"padding": tuple((extent - 1, 0) for extent in window.extent)}, []
    return {"padding": ((0, 0),) * form.ndim}, []


def _pad_transposed(window: Window, crop: bool) -> dict[str, object]:
    """Return the padding of a transposed layer.

    Without padding, the output of torch has size `input_size * stride + extent - stride`. Keras crops it to
    `input_size * stride` with "same" padding, and extends a smaller output to that size.
    """
    excess = [extent - stride for extent, stride in zip(window.extent, window.stride)]
    return {
        "padding": tuple(_halve(max(0, n) if crop else 0) for n in excess),
        "output_padding": tuple(max(0, -n) for n in excess),
    }


def _pad_same(window: Window, size: Shape | None) -> tuple[dict[str, object], list[str]]:
    """Return padding with which the output has `ceil(size / stride)` positions."""
    known = tuple(n for n in size or () if n is not None)
    if len(known) < window.ndim:
        if set(window.stride) != {1}:
            note = "padding='same' is left out here, since with strides it depends on the input size"
            return {"padding": ((0, 0),) * window.ndim}, [note]
        known = (1,) * window.ndim  # with stride 1 the padding does not depend on the size
    totals = (
        max(0, (-(-n // stride) - 1) * stride + extent - n)
        for n, stride, extent in zip(known, window.stride, window.extent)
    )
    return {"padding": tuple(_halve(total) for total in totals)}, []


def _halve(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def _add_synonyms(form: Form) -> Form:
    synonyms = {word: meaning for word, meaning in _SYNONYMS.items() if meaning in form.order}
    return replace(form, words={**form.words, **synonyms})


def _read_convolution(name: str, text: str) -> Form:
    """Return the form of a Keras class that is a class of torch under other names."""
    torch_form, form = _add_synonyms(FORMS[name]), read_keras_form(name, text)
    words = {word: _SYNONYMS.get(word, word) for word in form.words}
    return replace(
        form, ndim=torch_form.ndim, words={**torch_form.words, **words}, required=torch_form.required
    )


def _list_keras_convolutions() -> dict[str, Form]:
    forms = {"Dense": _read_convolution("Linear", _DENSE)}
    for n in (1, 2, 3):
        transpose = _CONV_3D_TRANSPOSE if n == 3 else _CONV_TRANSPOSE
        for names, torch_name, text in (
            ((f"Conv{n}D", f"Convolution{n}D"), f"Conv{n}d", _CONV),
            ((f"Conv{n}DTranspose", f"Convolution{n}DTranspose"), f"ConvTranspose{n}d", transpose),
            ((f"LocallyConnected{n}D",), f"LocallyConnected{n}d", _LOCAL),
            ((f"DepthwiseConv{n}D",), f"Conv{n}d", _DEPTHWISE),
        ):
            forms |= dict.fromkeys(names, _read_convolution(torch_name, text))
    return forms


def _list_torch_convolutions() -> dict[str, Form]:
    forms = {name: _add_synonyms(form) for name, form in FORMS.items()}
    for name, form in tuple(forms.items()):
        if not form.is_local:
            forms[f"Lazy{name}"] = replace(form, order=form.order[1:])
    forms["NonDynamicallyQuantizableLinear"] = forms["Linear"]  # in a printed MultiheadAttention
    return forms


#: The convolutions and dense layers of Keras, by name.
KERAS_CONVOLUTIONS = _list_keras_convolutions()
#: The convolutions and linear layers of torch, including lazy ones, by name.
TORCH_CONVOLUTIONS = _list_torch_convolutions()
