"""Build a single layer from a call: a `LayerSpec` for a convolution or linear layer, else a `Block`."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._args import check_integer, check_per_axis, did_you_mean, is_sequence
from ..errors import ArgumentError, SpecError
from ..geometry import Window, check_padding_mode
from ..sharing import Full, Local, Sharing, parse_sharing
from .arguments import Arguments
from .block import Block, Shape, format_shape
from .keras_layers import KERAS_FORMS
from .keras_words import (
    KERAS_CONVOLUTIONS,
    KERAS_PREFIXES,
    SHAPE_WORDS,
    TORCH_CONVOLUTIONS,
    is_channels_last,
    put_channels_first,
    put_channels_last,
    take_shape,
    translate_arguments,
)
from .literals import Call, read_literal, read_sharing
from .sizes import check_shape, split_size
from .spec import LayerSpec
from .statements import quote, read_dotted_name
from .torch_layers import TORCH_FORMS
from .words import PREFIXES, Form

#: The layers of each library, by name.
FORMS = {"torch": {**TORCH_CONVOLUTIONS, **TORCH_FORMS}, "Keras": {**KERAS_CONVOLUTIONS, **KERAS_FORMS}}
#: Module prefixes of each library.
LIBRARIES = {
    **dict.fromkeys(PREFIXES, ("torch",)),
    **dict.fromkeys(KERAS_PREFIXES, ("Keras",)),
    "": ("torch", "Keras"),
}
#: Values of arguments that torch prints without quotes.
_BARE_WORDS = ("same", "valid", "zeros", "reflect", "replicate", "circular")


def build_layer(
    call: Call, input_size: object, library: str | None = None, in_sequence: bool = False
) -> tuple[LayerSpec | Block, object]:
    """Build a layer, and return it with the size of its input.

    The size has the channels first. It is None for a `Block`, which has its own.

    Args:
        input_size: Size of the input. Keras infers the input channels and "same" padding from it.
        library: Library to which names that are in both belong: "torch" or "Keras".
        in_sequence: Whether the size is the output of another layer, so that its order is known.

    Raises:
        SpecError: If the call does not name a known layer, or has unknown, repeated, missing or computed
            arguments.
        ArgumentError: If no layer can have these arguments.
    """
    form = find_form(call, library)
    arguments = _name_arguments(form, call)
    activation = arguments.get("activation")
    if isinstance(activation, ast.Call) and (read_dotted_name(activation.func) or "").endswith("PReLU"):
        hint = "write PReLU as a layer of its own"
        raise SpecError(form.torch_name, "activation must not have parameters", "PReLU", hint)
    written = {
        word: _read_value(form, word, node) for word, node in arguments.items() if word not in form.ignored
    }
    if form.build is None:
        return _build_convolution(call.name, form, written, input_size, in_sequence)
    block = _build_block(form, written, input_size, in_sequence)
    other = FORMS["Keras"].get(call.name)
    if library is None and block.terms and not form.is_keras and other is not None and _fits(call, other):
        note = f"{call.name} is read as the layer of torch; write keras.layers.{call.name} for that of Keras"
        block = replace(block, notes=(*block.notes, note))
    return block, None


def _build_block(form: Form, written: dict[str, object], input_size: object, in_sequence: bool) -> Block:
    given, notes = written, ()
    shape = None if input_size is None else check_shape(form.torch_name, "input_size", input_size)
    if form.is_keras:
        given, own = take_shape(form, written)
        shape = own if shape is None else shape
        has_channels = "data_format" in form.defaults or "axis" in form.defaults
        is_given = given.get("data_format") is not None or given.get("axis", -1) != -1
        if shape is not None and has_channels and not is_given and not in_sequence:
            shape, notes = put_channels_last(form.torch_name, shape)
    missing = [word for word in form.required if word not in given]
    if missing:
        raise SpecError(form.torch_name, f"needs {', '.join(form.required)}", f"no {', '.join(missing)}")
    assert form.build is not None
    block = form.build(Arguments(form, given), shape)
    return replace(block, notes=(*block.notes, *notes))


def to_sharing(where: str, argument: str, value: object) -> Sharing:
    """Return `value`, which may be text, as a `Sharing`."""
    if isinstance(value, Sharing):
        return value
    if isinstance(value, str):
        return parse_sharing(value)
    raise ArgumentError(
        where, f"{argument} must be a sharing or text", type(value).__name__, "use e.g. Tiled(2) or 'tiled:2'"
    )


def find_form(call: Call, library: str | None) -> Form:
    """Return the form of a class.

    A name that is in both libraries belongs to the one that its prefix names, or else to `library`, or else
    to the one whose arguments it has.
    """
    prefix, _, class_name = call.name.rpartition(".")
    libraries = LIBRARIES.get(prefix, ())
    found = {name: FORMS[name][class_name] for name in libraries if class_name in FORMS[name]}
    if not found:
        raise unknown_layer(call.name, libraries)
    if len(found) == 2 and library is None:
        torch_form, keras_form = found["torch"], found["Keras"]
        return keras_form if not _fits(call, torch_form) and _fits(call, keras_form) else torch_form
    return found.get(library or "", next(iter(found.values())))


def find_own_shape(form: Form, call: Call) -> Shape | None:
    """Return the size of the input that is an argument of a layer of Keras, in the order of the layer."""
    written = {
        word: read_literal(form.torch_name, word, node) for word, node in call.kwargs if word in SHAPE_WORDS
    }
    return take_shape(form, written)[1]


def unknown_layer(name: str, libraries: Sequence[str]) -> SpecError:
    """Return the error for a class that is not known, with similar names in the given libraries."""
    forms = {**FORMS["torch"], **FORMS["Keras"]}
    similar = {class_name for library in libraries for class_name in FORMS[library]} or forms
    counted = (
        class_name
        for class_name, form in forms.items()
        if form.has_parameters and (form.is_keras or form.torch_name == class_name)
    )
    return SpecError(
        "layer",
        f"must be one of {', '.join(counted)}, Sequential, or a layer without parameters such as ReLU",
        quote(name),
        did_you_mean(name.rpartition(".")[2], {*similar, "Sequential", "Bidirectional", "TimeDistributed"}),
    )


def _fits(call: Call, form: Form) -> bool:
    """Return whether a layer may have the arguments of a call.

    Positional arguments are never text in torch, and activations are never numbers in Keras.
    """
    named = {word for word, _ in call.kwargs}
    given = {*form.order[: len(call.args)], *named}
    values = [
        (word, node.value) for word, node in zip(form.order, call.args) if isinstance(node, ast.Constant)
    ]
    if form.is_keras:
        is_valid = not any(word == "activation" and isinstance(value, int) for word, value in values)
    else:
        is_valid = not any(isinstance(value, str) for _, value in values)
    is_complete = set(form.required) <= given and len(call.args) <= len(form.order)
    return is_valid and is_complete and named <= form.words.keys()


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
    if isinstance(node, ast.Name) and word in ("padding", "padding_mode") and node.id in _BARE_WORDS:
        return node.id
    return read_literal(form.torch_name, word, node)


def _build_convolution(
    name: str, form: Form, written: dict[str, object], input_size: object, in_sequence: bool
) -> tuple[LayerSpec, object]:
    notes: list[str] = []
    own: Shape | None = None
    data_format = written.get("data_format")
    if form.is_keras:
        is_last = is_channels_last(form.torch_name, data_format)
        written, own = take_shape(form, written)
        own, note = (None, "") if own is None or in_sequence else _read_own_shape(form, own, is_last)
        if own is not None:
            notes.append(note)
        if in_sequence and form.ndim:
            data_format = "channels_last" if is_last else "channels_first"
        if not form.ndim and is_sequence(input_size) and len(input_size) > 1:
            notes.append(f"Dense applies to the last axis of the input {format_shape(tuple(input_size))}")
            input_size = input_size[-1:]
    if form.ndim and is_sequence(input_size) and len(input_size) == form.ndim + 2 and input_size[0] is None:
        input_size = input_size[1:]  # the batch
    size, size_notes = input_size, ()
    is_inferred = form.is_keras or (form.required[0] not in written and not in_sequence)
    if is_inferred:
        size, size_notes = put_channels_first(form, data_format, input_size, default_last=form.is_keras)
    if size is None:
        size = own
    channels, spatial = _split_shape(form, written.get("input_size") if size is None else size)
    arguments, translations = translate_arguments(name, form, written, channels, spatial)
    _check_required(form, arguments)
    spec = _build_spec(form, arguments, () if in_sequence else (*notes, *translations, *size_notes))
    if size is None or (spatial is not None and None not in spatial):
        return spec, size
    spec.spatial_size(tuple(n or 1 for n in (channels or spec.in_channels, *(spatial or ()))))
    return spec, None


def _read_own_shape(form: Form, shape: Shape, is_last: bool) -> tuple[Shape, str]:
    """Return the size of the input that is an argument of a Keras layer, with the channels first."""
    if not form.ndim:
        return shape[-1:], f"input_shape is the input {format_shape(shape)}"
    if len(shape) != form.ndim + 1:
        raise ArgumentError(
            form.torch_name,
            f"input_shape must have length {form.ndim + 1}, including the channels",
            format_shape(shape),
            "write it as in Keras, without the batch size",
        )
    first = shape[-1:] + shape[:-1] if is_last else shape
    return first, f"input_shape is the input {format_shape(first)}, channels first"


def _split_shape(form: Form, size: object) -> tuple[int | None, Shape | None]:
    """Return the channels and the spatial size of an input whose channels are first; parts may be unknown."""
    if size is None:
        return None, None
    if not is_sequence(size) or None not in size:
        return split_size(form.torch_name, form.ndim, size)
    channels = split_size(form.torch_name, form.ndim, tuple(1 if n is None else n for n in size))[0]
    known = check_shape(form.torch_name, "input_size", size)
    return (None, known) if channels is None else (known[0], known[1:])


def _check_required(form: Form, arguments: Mapping[str, object]) -> None:
    required = (
        ("in_channels", "out_channels", "kernel_size") if form.ndim else ("in_features", "out_features")
    )
    missing = [word for word in required if word not in arguments]
    if missing:
        raise SpecError(
            form.torch_name,
            f"needs {', '.join(required)}",
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
        held = None
        if arguments.get("lora_rank") is not None:
            rank = check_integer(name, "lora_rank", arguments["lora_rank"], least=1)
            adapters = (("lora_kernel_a", (inputs, rank)), ("lora_kernel_b", (rank, outputs)))
            held = (("weight", (outputs, inputs)), *((("bias", (outputs,)),) if bias else ()), *adapters)
        return LayerSpec(name, inputs, outputs, Window((), (), (), ()), bias=bias, notes=notes, held=held)
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
    value = arguments.get("output_padding")
    value = 0 if value is None else value
    return check_per_axis(form.torch_name, "output_padding", value, form.ndim, least=0)
