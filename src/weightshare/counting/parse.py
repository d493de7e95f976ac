"""Parse a layer or a sequence of layers written as text."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ..errors import ArgumentError, SpecError
from .block import Block, Shape, format_shape
from .build import FORMS, LIBRARIES, build_layer, find_form, find_own_shape
from .keras_words import is_channels_last, put_channels_last
from .literals import Call, read_call, read_literal
from .sequence import apply_convolution, build_sequence, repeat_directions
from .sizes import check_shape
from .spec import Held, LayerSpec
from .statements import quote, read_dotted_name, read_expression, read_named

_NORM_PREFIXES = (
    *("", "utils", "nn.utils", "torch.nn.utils"),
    *("parametrizations", "nn.utils.parametrizations", "torch.nn.utils.parametrizations"),
)
_IGNORED = ("name", "trainable", "dtype", "weights")


def parse_layer(text: str) -> LayerSpec | Block:
    """Parse a layer in PyTorch or Keras notation, as `parse_layer_and_size` does."""
    return parse_layer_and_size(text, None)[0]


def parse_layer_and_size(text: str, input_size: object) -> tuple[LayerSpec | Block, object]:
    """Parse a layer in PyTorch or Keras notation, and return it with the size of its input.

    Args:
        text: A call such as "Conv2d(3, 96, 11, stride=4)", or a line of code or of a printed model that
            contains one, of at most 20,000 characters. It is parsed, never evaluated.
        input_size: Size of the input. Keras infers the input channels and "same" padding from it. For Keras
            layers, its channels may be last.

    Returns:
        The layer, and the size of its input with the channels first. The size of a `Block` is in the block.

    Raises:
        SpecError: If the text does not name a known layer, or has unknown, repeated, missing or computed
            arguments.
        ArgumentError: If no layer can have these arguments.

    Example:
        >>> layer, size = parse_layer_and_size("Conv2D(96, 11, strides=4)", (227, 227, 3))
        >>> print(layer, size)
        Conv2d(3, 96, 11, stride=4) (3, 227, 227)
    """
    return _parse(read_expression(text), input_size)


def _parse(node: ast.expr, size: object, library: str | None = None) -> tuple[LayerSpec | Block, object]:
    name = read_dotted_name(node.func) if isinstance(node, ast.Call) else None
    prefix, _, class_name = (name or "").rpartition(".")
    if isinstance(node, ast.Call) and class_name == "Sequential" and prefix in LIBRARIES:
        return _parse_sequence(node, size, _choose_library(node, prefix, library)), None
    call = read_call(node)
    if class_name in ("Bidirectional", "TimeDistributed") and "Keras" in LIBRARIES.get(prefix, ()):
        shape = None if size is None else check_shape(class_name, "input_size", size)
        return _parse_wrapper(class_name, call, shape), None
    if class_name in ("weight_norm", "spectral_norm") and prefix in _NORM_PREFIXES:
        return _parse_norm(class_name, call, size, library)
    return build_layer(call, size, library)


def _parse_step(node: ast.expr, shape: Shape | None, library: str) -> Block:
    """Parse a layer that is applied to the output of another layer, whose order is that of the library."""
    name = read_dotted_name(node.func) if isinstance(node, ast.Call) else None
    if name is not None and name.rpartition(".")[2] in FORMS["torch"].keys() | FORMS["Keras"].keys():
        call = read_call(node)
        form = find_form(call, library)
        if shape is None and form.is_keras:
            shape = find_own_shape(form, call)
        layer, _ = build_layer(call, shape, library, in_sequence=True)
        if isinstance(layer, Block):
            return layer
        data_format = dict(call.kwargs).get("data_format")
        value = None if data_format is None else read_literal(form.torch_name, "data_format", data_format)
        return apply_convolution(layer, shape, form.is_keras and is_channels_last(form.torch_name, value))
    layer, _ = _parse(node, shape, library)
    return layer if isinstance(layer, Block) else apply_convolution(layer, shape)


def _parse_sequence(node: ast.Call, size: object, library: str) -> Block:
    shape = None if size is None else check_shape("Sequential", "input_size", size)
    notes: tuple[str, ...] = ()
    is_given = any(isinstance(part, ast.keyword) and part.arg == "data_format" for part in ast.walk(node))
    if library == "Keras" and shape is not None and not is_given:
        shape, notes = put_channels_last("Sequential", shape)
    steps = ((name or str(index), layer) for index, (name, layer) in enumerate(_list_layers(node)))
    block = build_sequence("Sequential", steps, partial(_parse_step, library=library), shape)
    return replace(block, notes=(*notes, *block.notes))


def _list_layers(node: ast.Call) -> Iterator[tuple[str | None, ast.expr]]:
    """Yield the name and the layer of each entry of a Sequential."""
    for keyword in node.keywords:
        if keyword.arg not in ("layers", *_IGNORED):
            raise SpecError("Sequential", "must list its layers", f"argument {quote(str(keyword.arg))}")
    for entry in (*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "layers")):
        items = entry.value if isinstance(entry, ast.Starred) else entry
        is_ordered = isinstance(items, ast.Call) and (read_dotted_name(items.func) or "").endswith(
            "OrderedDict"
        )
        if isinstance(items, ast.Call) and is_ordered:
            items = items.args[0] if len(items.args) == 1 else ast.List([], ast.Load())
        if isinstance(items, ast.Dict):
            for key, value in zip(items.keys, items.values):
                name = key.value if isinstance(key, ast.Constant) else None
                yield name if isinstance(name, str) else None, value
        elif isinstance(items, ast.List) or (isinstance(items, ast.Tuple) and read_named(items)[0] is None):
            yield from map(read_named, items.elts)
        else:
            yield read_named(items)


def _choose_library(node: ast.Call, prefix: str, library: str | None) -> str:
    """Return the library of a Sequential.

    It is that of its prefix or notation, or else of the first layer whose name is in only one library.
    """
    libraries = LIBRARIES[prefix]
    if len(libraries) == 1:
        return libraries[0]
    if library is not None:
        return library
    if node.args and isinstance(node.args[0], ast.List):
        return "Keras"
    for _, layer in _list_layers(node):
        name = read_dotted_name(layer.func) if isinstance(layer, ast.Call) else None
        head, _, class_name = (name or "").rpartition(".")
        found = [one for one in LIBRARIES.get(head, ()) if class_name in FORMS[one]]
        if len(found) == 1:
            return found[0]
    return "torch"


def _parse_wrapper(name: str, call: Call, shape: Shape | None) -> Block:
    """Parse a `Bidirectional` or `TimeDistributed` layer of Keras."""
    words = ("layer", "merge_mode", "weights", "backward_layer") if name == "Bidirectional" else ("layer",)
    arguments = _name_arguments(name, call, words, (*_IGNORED, "input_shape", "batch_input_shape"))
    for word in ("input_shape", "batch_input_shape"):
        if shape is None and word in arguments:
            given = check_shape(name, word, read_literal(name, word, arguments[word]))
            shape = given if word == "input_shape" else given[1:]
    if name == "TimeDistributed":
        if shape is not None and len(shape) < 2:
            raise SpecError(name, "needs an input with steps and features", format_shape(shape))
        inner = _parse_step(arguments["layer"], None if shape is None else shape[1:], "Keras")
        output = None if shape is None or inner.output is None else (shape[0], *inner.output)
        line = "All steps share the weights of the layer."
        lines = (line, *inner.lines)
        return replace(inner, text=f"{name}({inner})", input=shape, output=output, lines=lines)
    forward = _parse_step(arguments["layer"], shape, "Keras")
    backward = _parse_step(arguments.get("backward_layer", arguments["layer"]), shape, "Keras")
    mode = arguments.get("merge_mode")
    return repeat_directions(
        name, forward, backward, "concat" if mode is None else read_literal(name, "merge_mode", mode)
    )


def _name_arguments(
    name: str, call: Call, words: tuple[str, ...], ignored: tuple[str, ...]
) -> dict[str, ast.expr]:
    """Return the arguments of a call around a layer, by keyword. The first one is required."""
    arguments = {**dict(zip(words, call.args)), **dict(call.kwargs)}
    unknown = [word for word in arguments if word not in (*words, *ignored)]
    number = len(call.args) + len(call.kwargs)
    if unknown or words[0] not in arguments or number != len(arguments):
        got = f"argument {quote(unknown[0])}" if unknown else f"{number} arguments"
        raise SpecError(name, f"must have the arguments {', '.join(words)}, each at most once", got)
    return arguments


def _parse_norm(name: str, call: Call, size: object, library: str | None) -> tuple[LayerSpec, object]:
    """Parse a layer in `weight_norm` or `spectral_norm` of torch."""
    words = ("module", "name", "dim") if name == "weight_norm" else ("module", "name")
    arguments = _name_arguments(name, call, words, ("n_power_iterations", "eps"))
    if "name" in arguments and read_literal(name, "name", arguments["name"]) != "weight":
        raise SpecError(name, "name must be 'weight' in text", "another name", "pass the module itself")
    layer, size = _parse(arguments["module"], size, library)
    if not isinstance(layer, LayerSpec):
        raise ArgumentError(
            name, "must have a convolution or linear layer in text", str(layer), "pass the module itself"
        )
    if name == "spectral_norm":
        return replace(layer, notes=(*layer.notes, "spectral_norm adds buffers, but no parameters")), size
    shape = (layer.position_side[1], layer.window_side[1], *layer.window.kernel_size)
    dim = read_literal(name, "dim", arguments["dim"]) if "dim" in arguments else 0
    if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int) or not -1 <= dim < len(shape)):
        raise ArgumentError(name, f"dim must be -1 to {len(shape) - 1}, or None", repr(dim))
    magnitudes = 1 if dim in (None, -1) else shape[dim]
    held: Held = (("weight_g", (magnitudes,)), ("weight_v", shape))
    biases: Held = (("bias", (layer.out_channels,)),) if layer.bias else ()
    note = "weight_norm adds one magnitude per slice of the weights"
    return replace(layer, held=(*held, *biases), notes=(*layer.notes, note)), size
