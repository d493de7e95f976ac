"""The layer classes and arguments of Keras, and their translation to torch.

Everything that differs between the two libraries is handled here: names and order of arguments,
channels-last shapes, input channels inferred from the input, and named padding.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._args import is_sequence
from ..errors import ArgumentError, SpecError
from ..geometry import Window
from .literals import quote
from .sizes import EXAMPLES, check_number, format_compact_size, split_size
from .words import FORMS, IGNORED, Form

#: Keras argument names and their torch equivalents. `explain` accepts them for torch classes, too.
_SYNONYMS = {
    "filters": "out_channels",
    "strides": "stride",
    "dilation_rate": "dilation",
    "use_bias": "bias",
    "units": "out_features",
}
#: Arguments that do not affect counts.
_KERAS_IGNORED = (
    *("activation", "name", "trainable", "implementation"),
    *("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    *("bias_initializer", "bias_regularizer", "bias_constraint", "activity_regularizer"),
)
#: Module prefixes under which the classes may be written.
KERAS_PREFIXES = ("layers", "keras.layers", "tf.keras.layers", "tensorflow.keras.layers")

Padding = tuple[tuple[int, int], ...]


def translate_arguments(
    name: str, form: Form, arguments: Mapping[str, object], input_size: object = None
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Translate the arguments of a layer to the argument names of torch.

    Args:
        name: Name of the class as written.
        form: Names and order of the arguments of that class.
        arguments: Value of each argument, by keyword.
        input_size: Size of the input. Keras infers the input channels and "same" padding from it.

    Returns:
        The arguments under their torch names, and one note per translation. Arguments that already have their
        torch name are returned unchanged, without a note.

    Raises:
        SpecError: If an argument has to be inferred from the input, and the input size is not known.
        ArgumentError: If no layer can have these arguments.

    Example:
        >>> arguments = {"filters": 8, "kernel_size": 3, "padding": "same", "in_channels": 1}
        >>> translated, notes = translate_arguments("Conv2D", ALL_FORMS["Conv2D"], arguments)
        >>> translated
        {'out_channels': 8, 'kernel_size': 3, 'padding': ((1, 1), (1, 1)), 'in_channels': 1}
        >>> notes
        ('Conv2D is Conv2d', 'filters=8 is out_channels=8')
    """
    translated = {form.words[word]: value for word, value in arguments.items()}
    notes = [
        f"{word}={value!r} is {form.words[word]}={value!r}"
        for word, value in arguments.items()
        if form.words[word] != word
    ]
    if form.is_keras:
        notes.insert(0, f"{name} is {form.torch_name}")
        channels_last = _is_channels_last(name, translated.pop("data_format", None))
        if "input_shape" in translated:
            shape = _read_input_shape(form, translated.pop("input_shape"), channels_last)
            translated["input_size"] = shape
            notes.append(f"input_shape is the input {format_compact_size(shape)}, channels first")
    if input_size is None:
        input_size = translated.get("input_size")
    channels_word = form.required[0]
    if notes and channels_word not in translated:
        translated[channels_word] = _infer_channels(form, channels_word, input_size)
        order = ", channels first" if form.ndim and not form.is_keras else ""
        notes.append(f"{channels_word}={translated[channels_word]} is read from the input{order}")
    if form.is_keras and form.ndim:
        translated |= _translate_padding(form, translated, input_size)
    return translated, tuple(notes)


def put_channels_first(form: Form, data_format: object, input_size: object) -> tuple[object, tuple[str, ...]]:
    """Return the input size of a Keras layer with its channels first, and a note on how it was read.

    Keras puts the channels last. Unless `data_format` is given, they are read from the first place if only
    that makes sense: if the other numbers are equal as in 3x227x227, or if the first number alone is 1 or 3
    as in 3x480x640. Sizes without channels and sizes for torch layers are returned unchanged, without a note.

    >>> put_channels_first(ALL_FORMS["Conv2D"], None, (100, 100, 1))
    ((1, 100, 100), ('input 100x100x1 is read with the channels last (see data_format)',))
    """
    if not (form.is_keras and form.ndim and is_sequence(input_size)) or len(input_size) != form.ndim + 1:
        return input_size, ()
    size: tuple[int, ...] = tuple(
        check_number(form.torch_name, f"input_size[{i}]", n) for i, n in enumerate(input_size)
    )
    is_given = data_format is not None
    is_last = _is_channels_last(form.torch_name, data_format) if is_given else not _starts_with_channels(size)
    note = f"input {format_compact_size(size)} is read with the channels {'last' if is_last else 'first'}"
    return size[-1:] + size[:-1] if is_last else size, (note if is_given else f"{note} (see data_format)",)


def _starts_with_channels(size: tuple[int, ...]) -> bool:
    """Return whether the channels of an input size are evidently its first number."""
    first, last = size[0], size[-1]
    are_equal, are_equal_if_last = len(set(size[1:])) == 1, len(set(size[:-1])) == 1
    if len(size) > 2 and are_equal != are_equal_if_last:
        return are_equal
    return first in (1, 3) and last not in (1, 3)


def _is_channels_last(name: str, data_format: object) -> bool:
    if data_format not in (None, "channels_last", "channels_first"):
        expected = "data_format must be 'channels_last' or 'channels_first'"
        raise ArgumentError(name, expected, quote(str(data_format)))
    return data_format != "channels_first"


def _read_input_shape(form: Form, shape: object, channels_last: bool) -> tuple[int, ...]:
    """Return an `input_shape` of Keras with the channels first."""
    if not is_sequence(shape) or len(shape) != form.ndim + 1:
        raise ArgumentError(
            form.torch_name,
            f"input_shape must have length {form.ndim + 1}, including the channels",
            repr(shape),
            "write it as in Keras, without the batch size",
        )
    numbers = tuple(check_number(form.torch_name, f"input_shape[{i}]", n) for i, n in enumerate(shape))
    return (numbers[-1], *numbers[:-1]) if channels_last else numbers


def _infer_channels(form: Form, channels_word: str, input_size: object) -> int:
    channels = None if input_size is None else split_size(form.torch_name, form.ndim, input_size)[0]
    if channels is None:
        order = " with channels first" if form.ndim else ""
        raise SpecError(
            form.torch_name,
            f"needs {channels_word}, which Keras infers from the input",
            "no input size" if input_size is None else "an input size without channels",
            f"pass input_size (--input on the command line){order}, e.g. {EXAMPLES[form.ndim]}",
        )
    return channels


def _translate_padding(form: Form, arguments: Mapping[str, Any], input_size: object) -> dict[str, object]:
    """Convert the padding names of Keras ("valid", "same", "causal") to numbers; return others unchanged."""
    padding = arguments.get("padding", "valid")
    named = padding in ("valid", "same", "causal")
    if not named or "output_padding" in arguments or "kernel_size" not in arguments:
        return {"padding": padding}
    kernel, stride, dilation = (arguments.get(word, 1) for word in ("kernel_size", "stride", "dilation"))
    window = Window(kernel, stride, 0, dilation, ndim=form.ndim, where=form.torch_name)
    if form.is_transposed:
        return _pad_transposed(window, crop=padding == "same")
    if padding == "same":
        return {"padding": _pad_same(form, window, input_size)}
    if padding == "causal":
        return {"padding": tuple((extent - 1, 0) for extent in window.extent)}
    return {"padding": ((0, 0),) * form.ndim}


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


def _pad_same(form: Form, window: Window, input_size: object) -> Padding:
    """Return padding with which the output has `ceil(size / stride)` positions."""
    if input_size is not None:
        size = split_size(form.torch_name, form.ndim, input_size)[1]
    elif any(stride > 1 for stride in window.stride):
        raise SpecError(
            form.torch_name,
            "padding='same' with strides depends on the input size",
            "no input size",
            "pass input_size (--input on the command line) or the padding as integers",
        )
    else:
        size = (1,) * form.ndim  # with stride 1 the padding does not depend on the size
    totals = (
        max(0, (-(-n // stride) - 1) * stride + extent - n)
        for n, stride, extent in zip(size, window.stride, window.extent)
    )
    return tuple(_halve(total) for total in totals)


def _halve(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def _add_synonyms(form: Form) -> Form:
    synonyms = {word: meaning for word, meaning in _SYNONYMS.items() if meaning in form.order}
    return replace(form, words={**form.words, **synonyms})


def _use_keras_order(form: Form, order: tuple[str, ...]) -> Form:
    words = {word: word for word in (*_KERAS_IGNORED, "input_shape", "data_format")}
    return replace(
        form, order=order, words={**form.words, **words}, ignored=(*IGNORED, *_KERAS_IGNORED), is_keras=True
    )


def _build_forms() -> dict[str, Form]:
    forms = {name: _add_synonyms(form) for name, form in FORMS.items()}
    for n in (1, 2, 3):
        for keras_name, name in (
            (f"Conv{n}D", f"Conv{n}d"),
            (f"Conv{n}DTranspose", f"ConvTranspose{n}d"),
            (f"LocallyConnected{n}D", f"LocallyConnected{n}d"),
        ):
            forms[keras_name] = _use_keras_order(
                forms[name], ("filters", "kernel_size", "strides", "padding")
            )
    forms["Dense"] = _use_keras_order(forms["Linear"], ("units",))
    return forms


#: The classes of torch and of Keras that can be parsed, by name.
ALL_FORMS = _build_forms()
