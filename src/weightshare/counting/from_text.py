"""A layer written as text, in torch's words or Keras's, read into a `LayerSpec`."""

import ast
from collections.abc import Mapping
from dataclasses import replace

from .._args import did_you_mean, integer, is_sequence, per_axis
from ..errors import ArgumentError, SpecError
from ..geometry import Window
from ..sharing import Full, Local, Sharing, parse_sharing
from .literals import Call, literal, read_call, read_sharing, shown
from .sizes import bounded, size_text, split_size
from .spec import LayerSpec
from .words import FORMS, IGNORED, KERAS_WORDS, PREFIXES, Form


def read_spec(text: str, input_size: object = None) -> LayerSpec:
    """The layer that `text` writes.

    Args:
        text: A call such as "Conv2d(3, 96, 11, stride=4)", at most 1,000 characters; parsed, never evaluated.
        input_size: Looked at where Keras leaves `in_channels`, or its "same" padding, to the input.

    Raises:
        SpecError: text that names no known layer, or with unknown, repeated, missing or unwritten arguments.
        ArgumentError: arguments that no layer can have.

    Example:
        >>> print(read_spec("Conv2D(96, 11, strides=4)", (3, 227, 227)))
        Conv2d(3, 96, 11, stride=4)
    """
    call = read_call(text)
    form = _form(call.name)
    written = _by_word(form, call)
    values = {word: _value(form, word, node) for word, node in written.items() if word not in IGNORED}
    notes = [
        f"{word}={values[word]!r} is {KERAS_WORDS[word]}={values[word]!r}"
        for word in values
        if word in KERAS_WORDS
    ]
    if form.keras:
        notes.insert(0, f"{call.name} is {form.torch}")
    values = {KERAS_WORDS.get(word, word): value for word, value in values.items()}
    data_format = values.pop("data_format", "channels_last")
    if data_format not in (None, "channels_last", "channels_first"):
        expected = "data_format must be 'channels_last' or 'channels_first'"
        raise ArgumentError(call.name, expected, shown(str(data_format)), "write one of these")
    if "input_shape" in values:
        values["input_size"] = _channels_first(form, values.pop("input_shape"), data_format)
        notes.append(f"input_shape is the input {size_text(values['input_size'])}, channels first")
    if input_size is None:
        input_size = values.get("input_size")
    first = "in_channels" if form.ndim else "in_features"
    if first not in values and (form.keras or notes):
        values[first] = _channels(form, input_size)
        order = ", channels first" if form.ndim else ""
        notes.append(f"{first}={values[first]} is read from the input{order}")
    _check_missing(form, values)
    return _build(form, values, input_size, tuple(notes))


def as_sharing(where: str, word: str, value: object) -> Sharing:
    """A `Sharing`, given as one or as text."""
    if isinstance(value, Sharing):
        return value
    if isinstance(value, str):
        return parse_sharing(value)
    raise ArgumentError(
        where, f"{word} must be a sharing or text", type(value).__name__, "use ws.Tiled(2) or 'tiled:2'"
    )


def _form(name: str) -> Form:
    prefix, _, last = name.rpartition(".")
    if last not in FORMS or (prefix and prefix not in PREFIXES):
        known = ", ".join(sorted(name for name, form in FORMS.items() if not form.keras))
        raise SpecError(
            "layer",
            f"must be one of {known} (or Keras's name for one)",
            shown(name),
            did_you_mean(last, FORMS),
        )
    return FORMS[last]


def _by_word(form: Form, call: Call) -> dict[str, ast.expr]:
    if len(call.args) > len(form.order):
        raise SpecError(
            call.name,
            f"takes at most {len(form.order)} arguments by place ({', '.join(form.order)})",
            str(len(call.args)),
            "give the others by name",
        )
    given = [*zip(form.order, call.args), *call.kwargs]
    written: dict[str, ast.expr] = {}
    torch_words = set()
    for word, node in given:
        if word not in form.words:
            raise SpecError(
                call.name,
                f"takes the arguments {', '.join(sorted(form.words))}",
                shown(word),
                did_you_mean(word, form.words),
            )
        if KERAS_WORDS.get(word, word) in torch_words:
            raise SpecError(
                call.name, f"takes {KERAS_WORDS.get(word, word)} once", "it twice", "leave one out"
            )
        torch_words.add(KERAS_WORDS.get(word, word))
        written[word] = node
    return written


def _value(form: Form, word: str, node: ast.expr) -> object:
    if word in ("sharing", "bias_sharing"):
        return read_sharing(form.torch, word, node)
    return literal(form.torch, word, node)


def _check_missing(form: Form, values: Mapping[str, object]) -> None:
    needed = ("in_channels", "out_channels", "kernel_size") if form.ndim else ("in_features", "out_features")
    missing = [word for word in needed if word not in values]
    if missing:
        example = "Conv2d(3, 96, 11, stride=4)" if form.ndim else "Linear(1024, 64)"
        raise SpecError(
            form.torch, f"needs {', '.join(needed)}", f"no {', '.join(missing)}", f"write it as in {example}"
        )


def _channels(form: Form, input_size: object) -> int:
    channels = None if input_size is None else split_size(form.torch, form.ndim, input_size)[0]
    if channels is None:
        word, example = (
            ("in_channels", ("3x227", "3x227x227", "3x16x112x112"))
            if form.ndim
            else ("in_features", ("1024",))
        )
        raise SpecError(
            form.torch,
            f"needs {word}, which Keras reads from the input",
            "no input size" if input_size is None else "an input size without channels",
            f"give input_size= (--input on the command line) with the channels in front, as in "
            f"{example[max(form.ndim, 1) - 1]}",
        )
    return channels


def _channels_first(form: Form, shape: object, data_format: object) -> tuple[int, ...]:
    if not is_sequence(shape) or len(shape) != form.ndim + 1:  # type: ignore[arg-type]
        raise ArgumentError(
            form.torch,
            f"input_shape must have {form.ndim + 1} numbers, channels included",
            repr(shape),
            "write it as Keras does, without the batch",
        )
    numbers = tuple(bounded(form.torch, "input_shape", n) for n in shape)  # type: ignore[union-attr]
    return numbers if data_format == "channels_first" else (numbers[-1], *numbers[:-1])


def _build(form: Form, values: Mapping[str, object], input_size: object, notes: tuple[str, ...]) -> LayerSpec:
    where, bias = form.torch, values.get("bias", True)
    if not isinstance(bias, bool):
        raise ArgumentError(where, "bias must be True or False", repr(bias), "write one of these")
    if not form.ndim:
        inputs = integer(where, "in_features", values["in_features"], least=1)
        outputs = integer(where, "out_features", values["out_features"], least=1)
        return LayerSpec(where, inputs, outputs, Window((), (), (), ()), bias=bias, notes=notes)
    window, output_padding = _window(form, values, input_size)
    spec = LayerSpec(
        where,
        integer(where, "in_channels", values["in_channels"], least=1),
        integer(where, "out_channels", values["out_channels"], least=1),
        window,
        transposed=form.transposed,
        output_padding=output_padding,
        groups=integer(where, "groups", values.get("groups", 1), least=1),
        bias=bias,
        padding_mode=str(values.get("padding_mode", "zeros")),
        sharing=as_sharing(where, "sharing", values.get("sharing", Local() if form.local else Full())),
        notes=notes,
    )
    if values.get("bias_sharing") is not None:
        bias_sharing = as_sharing(where, "bias_sharing", values["bias_sharing"])
        spec = replace(spec, bias_sharing=bias_sharing if bias else None)
    if values.get("input_size") is not None:
        spec = replace(spec, input_size=spec.spatial_size(values["input_size"]))
    return spec


def _window(form: Form, values: Mapping[str, object], input_size: object) -> tuple[Window, tuple[int, ...]]:
    where, ndim, padding = form.torch, form.ndim, values.get("padding", "valid" if form.keras else 0)
    kernel, stride, dilation = (values.get(word, 1) for word in ("kernel_size", "stride", "dilation"))
    bare = Window(kernel, stride, 0, dilation, ndim=ndim, where=where)  # type: ignore[arg-type]
    if form.keras and padding in ("same", "valid", "causal") and "output_padding" not in values:
        size = None if input_size is None else split_size(where, ndim, input_size)[1]
        pads, extra = _keras_padding(form, str(padding), bare, size)
        return replace_padding(bare, pads, where), extra
    if form.transposed and isinstance(padding, str):
        raise ArgumentError(where, "padding must be integers", repr(padding), "give the padding in numbers")
    extra = per_axis(where, "output_padding", values.get("output_padding", 0), ndim, least=0)
    return replace_padding(bare, padding, where), extra if form.transposed else ()


def replace_padding(window: Window, padding: object, where: str) -> Window:
    """The same window with another padding."""
    return Window(window.kernel_size, window.stride, padding, window.dilation, where=where)  # type: ignore[arg-type]


def _keras_padding(
    form: Form, padding: str, window: Window, size: tuple[int, ...] | None
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Keras's named padding in numbers, `(before, after)` an axis, and torch's output_padding."""
    spare = [extent - s for extent, s in zip(window.extent, window.stride)]
    if form.transposed:
        extra = tuple(max(0, -n) for n in spare)
        total = [max(0, n) if padding == "same" else 0 for n in spare]
        return tuple((n // 2, n - n // 2) for n in total), extra
    if padding == "valid":
        return ((0, 0),) * form.ndim, ()
    if padding == "causal":
        return tuple((extent - 1, 0) for extent in window.extent), ()
    if size is None and any(s > 1 for s in window.stride):
        raise SpecError(
            form.torch,
            "padding='same' with strides depends on the input size",
            "no input size",
            "give input_size= (--input on the command line), or the padding in numbers",
        )
    lengths = size or window.stride  # without strides any length has the same padding
    total = [
        max(0, (-(-n // s) - 1) * s + extent - n)
        for n, s, extent in zip(lengths, window.stride, window.extent)
    ]
    return tuple((n // 2, n - n // 2) for n in total), ()
