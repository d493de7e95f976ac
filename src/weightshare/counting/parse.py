"""Parse a layer written as text into a `LayerSpec`."""

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._args import check_integer, check_per_axis, did_you_mean
from ..errors import ArgumentError, SpecError
from ..geometry import Window, check_padding_mode
from ..sharing import Full, Local, Sharing, parse_sharing
from .keras_words import ALL_FORMS, KERAS_PREFIXES, put_channels_first, translate_arguments
from .literals import Call, quote, read_call, read_literal, read_sharing
from .spec import LayerSpec
from .words import FORMS, PREFIXES, Form


def parse_layer(text: str) -> LayerSpec:
    """Parse a layer in PyTorch or Keras notation, as `parse_layer_and_size` does."""
    return parse_layer_and_size(text, None)[0]


def parse_layer_and_size(text: str, input_size: object) -> tuple[LayerSpec, object]:
    """Parse a layer in PyTorch or Keras notation, and return it with the channels of its input first.

    Args:
        text: A call such as "Conv2d(3, 96, 11, stride=4)" of at most 1,000 characters. It is parsed, never
            evaluated.
        input_size: Size of the input. Keras infers the input channels and "same" padding from it. For Keras
            layers, its channels may be last.

    Raises:
        SpecError: If the text does not name a known layer, or has unknown, repeated, missing or computed
            arguments.
        ArgumentError: If no layer can have these arguments.

    Example:
        >>> layer, size = parse_layer_and_size("Conv2D(96, 11, strides=4)", (227, 227, 3))
        >>> print(layer, size)
        Conv2d(3, 96, 11, stride=4) (3, 227, 227)
    """
    call = read_call(text)
    form = _find_form(call.name)
    written = {
        word: _read_value(form, word, node)
        for word, node in _name_arguments(form, call).items()
        if word not in form.ignored
    }
    size, size_notes = put_channels_first(form, written.get("data_format"), input_size)
    arguments, notes = translate_arguments(call.name, form, written, size)
    _check_required(form, arguments)
    return _build_spec(form, arguments, notes + size_notes), size


def to_sharing(where: str, argument: str, value: object) -> Sharing:
    """Return `value`, which may be text, as a `Sharing`."""
    if isinstance(value, Sharing):
        return value
    if isinstance(value, str):
        return parse_sharing(value)
    raise ArgumentError(
        where, f"{argument} must be a sharing or text", type(value).__name__, "use e.g. Tiled(2) or 'tiled:2'"
    )


def _find_form(name: str) -> Form:
    prefix, _, class_name = name.rpartition(".")
    if class_name not in ALL_FORMS or prefix not in ("", *PREFIXES, *KERAS_PREFIXES):
        raise SpecError(
            "layer",
            f"must be one of {', '.join(sorted(FORMS))} or the Keras name of one",
            quote(name),
            did_you_mean(class_name, ALL_FORMS),
        )
    return ALL_FORMS[class_name]


def _name_arguments(form: Form, call: Call) -> dict[str, ast.expr]:
    """Return all arguments by keyword, as written."""
    if len(call.args) > len(form.order):
        raise SpecError(
            call.name,
            f"only {', '.join(form.order)} may be positional",
            f"{len(call.args)} positional arguments",
            "pass the others by keyword",
        )
    arguments: dict[str, ast.expr] = {}
    word_of: dict[str, str] = {}
    for word, node in [*zip(form.order, call.args), *call.kwargs]:
        if word not in form.words:
            raise SpecError(
                call.name,
                f"argument must be one of {', '.join(sorted(form.words))}",
                quote(word),
                did_you_mean(word, form.words),
            )
        meaning = form.words[word]
        first = word_of.setdefault(meaning, word)
        if first != word or word in arguments:
            got = "it twice" if first == word else f"{first} and {word}"
            raise SpecError(call.name, f"{meaning} must be given only once", got)
        arguments[word] = node
    return arguments


def _read_value(form: Form, word: str, node: ast.expr) -> object:
    if word in ("sharing", "bias_sharing"):
        return read_sharing(form.torch_name, word, node)
    return read_literal(form.torch_name, word, node)


def _check_required(form: Form, arguments: Mapping[str, object]) -> None:
    missing = [word for word in form.required if word not in arguments]
    if missing:
        raise SpecError(
            form.torch_name,
            f"needs {', '.join(form.required)}",
            f"no {', '.join(missing)}",
            f"use e.g. {'Conv2d(3, 96, 11, stride=4)' if form.ndim else 'Linear(1024, 64)'}",
        )


def _build_spec(form: Form, arguments: Mapping[str, object], notes: tuple[str, ...]) -> LayerSpec:
    name, bias = form.torch_name, arguments.get("bias", True)
    if not isinstance(bias, bool):
        raise ArgumentError(name, "bias must be True or False", repr(bias))
    if not form.ndim:
        inputs = check_integer(name, "in_features", arguments["in_features"], least=1)
        outputs = check_integer(name, "out_features", arguments["out_features"], least=1)
        return LayerSpec(name, inputs, outputs, Window((), (), (), ()), bias=bias, notes=notes)
    bias_sharing = arguments.get("bias_sharing")
    if bias_sharing is not None:
        bias_sharing = to_sharing(name, "bias_sharing", bias_sharing)
    spec = LayerSpec(
        name,
        check_integer(name, "in_channels", arguments["in_channels"], least=1),
        check_integer(name, "out_channels", arguments["out_channels"], least=1),
        _build_window(form, arguments),
        transposed=form.is_transposed,
        output_padding=_read_output_padding(form, arguments),
        groups=check_integer(name, "groups", arguments.get("groups", 1), least=1),
        bias=bias,
        padding_mode=check_padding_mode(name, arguments.get("padding_mode", "zeros"), form.ndim),
        sharing=to_sharing(name, "sharing", arguments.get("sharing", Local() if form.is_local else Full())),
        bias_sharing=bias_sharing if bias else None,
        notes=notes,
    )
    input_size = arguments.get("input_size")
    return spec if input_size is None else replace(spec, input_size=spec.spatial_size(input_size))


def _build_window(form: Form, arguments: Mapping[str, Any]) -> Window:
    padding = arguments.get("padding", 0)
    if form.is_transposed and isinstance(padding, str):
        raise ArgumentError(form.torch_name, "padding must be integers for a transposed layer", repr(padding))
    kernel, stride, dilation = (arguments.get(word, 1) for word in ("kernel_size", "stride", "dilation"))
    return Window(kernel, stride, padding, dilation, ndim=form.ndim, where=form.torch_name)


def _read_output_padding(form: Form, arguments: Mapping[str, object]) -> tuple[int, ...]:
    if not form.is_transposed:
        return ()
    value = arguments.get("output_padding", 0)
    return check_per_axis(form.torch_name, "output_padding", value, form.ndim, least=0)
