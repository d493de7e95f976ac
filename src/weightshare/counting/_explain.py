"""`explain`: count a layer and derive each count."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from .._args import format_size
from ..errors import ArgumentError, ShapeError, SharingError
from ..sharing import Full, Local, Sharing
from .block import Block, Shape
from .build import to_sharing
from .closed_form import (
    ParameterCount,
    count_connections,
    count_dense_parameters,
    count_macs,
    count_neurons,
    count_parameters,
    list_kernel_factors,
    match_parameters,
)
from .connection_counts import count_largest_window
from .counts import Row
from .dead_taps import count_dead_taps
from .explanation import Explanation
from .from_layer import read_module
from .parse import parse_layer_and_size
from .sizes import read_shape
from .spec import LayerSpec
from .terms import Factor, Term


def explain(
    layer: Any, input_size: int | Sequence[int] | str | None = None, sharing: Sharing | str | None = None
) -> Explanation:
    """Count the parameters, neurons, connections and MACs of a layer, and derive each count.

    Args:
        layer: A layer of `weightshare.nn` or `torch.nn`, a `torch.nn.Sequential`, or a text such as
            "Conv2d(3, 96, 11, stride=4)", which is parsed and never evaluated. Names of classes and arguments
            may also be those of Keras. Lines of code and of printed models are read, too.
        input_size: Size of one example, without the batch. For a convolution, it is the spatial size,
            optionally with the channels first, or last for a layer in the words of Keras; a scalar means the
            same size on every axis. Text such as "3x227x227" or "(3, 227, 227)" is accepted, too. Without an
            input size only the parameters under full sharing are counted. Keras infers the number of input
            channels from it; parts that do not matter may be None.
        sharing: Sharing of a convolution to count instead of its own.

    Raises:
        SpecError: If the text cannot be parsed.
        ArgumentError: If no layer can have these arguments, or if the class of a module is not known.
        ShapeError: If the input does not fit the layer.
        SharingError: If the sharing does not fit the output.

    Example:
        >>> answer = explain("Conv2d(3, 96, 11, stride=4)", (3, 227, 227))
        >>> answer.parameters, answer.neurons, answer.by_sharing["local"]
        (34944, 290400, 105705600)
        >>> [f"{term.n} {term.label}" for term in explain("Conv2d(1, 10, 5)").own.terms]
        ['250 weights', '10 biases']
        >>> explain("LSTM(10, 20)").parameters, explain("keras.layers.LSTM(20)", "50x10").parameters
        (2560, 2480)
    """
    given: Any = read_shape(input_size) if isinstance(input_size, str) else input_size
    if isinstance(input_size, str) and len(given) == 1:
        given = given[0]
    if isinstance(layer, str):
        spec, given = parse_layer_and_size(layer, given)
    else:
        spec = read_module(layer, given)
    if isinstance(spec, Block):
        if sharing is not None:
            expected = "sharing applies to a convolution, locally connected or linear layer"
            raise ArgumentError("explain", expected, "another layer", "leave out sharing")
        return _explain_block(spec)
    size = None if given is None else spec.spatial_size(given)
    if sharing is not None:
        spec = replace(spec, sharing=to_sharing(spec.name, "sharing", sharing), held=None)
    elif None not in (size, spec.input_size) and size != spec.input_size and spec.sharing != Full():
        raise ShapeError(
            spec.name,
            f"was built for an input of size {format_size(spec.input_size or ())}",
            format_size(size or ()),
            "leave out input_size, or build the layer for this size",
        )
    if not spec.ndim:
        size = ()
    return _count(spec, spec.input_size if size is None else size)


def _explain_block(block: Block) -> Explanation:
    """Return a layer that is neither a convolution nor linear, or a sequence, with its counts."""
    output = _get_known(block.output)
    neurons = () if output is None else (Term("neurons", (Factor("outputs", prod(output)),)),)
    return Explanation(
        layer=block,
        input=_get_known(block.input),
        output=output,
        own=ParameterCount("", None, block.terms),
        others=(),
        terms=(("neurons", neurons),) if neurons else (),
        dead_taps=None,
        patterns=None,
        rows=(),
        notes=block.notes,
    )


def _get_known(shape: Shape | None) -> tuple[int, ...] | None:
    """Return a size, or None if a part of it is not known."""
    known = tuple(n for n in shape or () if n is not None)
    return known if shape is not None and len(known) == len(shape) else None


def _count(spec: LayerSpec, size: tuple[int, ...] | None) -> Explanation:
    own, held_notes = count_parameters(spec, spec.sharing, size), ()
    if spec.held is not None:
        terms, held_notes = match_parameters(own.terms, spec.held)
        own = replace(own, terms=terms)
    others: list[ParameterCount] = []
    if size is not None or spec.bias_sharing in (None, Full()):
        others.append(count_parameters(spec, Full(), size))
    derivations: dict[str, tuple[Term, ...]] = {
        "weights_per_neuron": (Term("weights", list_kernel_factors(spec)[:-1]),)
    }
    dead_taps = patterns = None
    rows: tuple[Row, ...] = ()
    notes = [*spec.notes, *held_notes]
    if spec.bias_sharing is not None:
        notes.append(f"bias_sharing={spec.bias_sharing} applies to all sharings compared here except dense")
    if size is None:
        notes.append("pass an input size (input_size or --input) to count neurons and compare sharings")
    else:
        others += [count_parameters(spec, Local(), size), count_dense_parameters(spec, size)]
        derivations |= _list_sized_terms(spec, size)
        dead_taps = count_dead_taps(spec.axes(size), spec.sharing)
        if "connections" not in derivations or dead_taps is None:
            notes.append("connections or dead taps are not counted: there are too many to enumerate")
        patterns = _count_pattern_inputs(spec, size)
        rows = _count_other_sizes(spec, size)
    return Explanation(
        layer=spec,
        input=None if size is None else (spec.in_channels, *size),
        output=None if size is None else (spec.out_channels, *spec.output_size(size)),
        own=own,
        others=tuple(other for other in others if other.name != own.name),
        terms=tuple(derivations.items()),
        dead_taps=dead_taps,
        patterns=patterns,
        rows=rows,
        notes=tuple(notes),
    )


def _list_sized_terms(spec: LayerSpec, size: tuple[int, ...]) -> dict[str, tuple[Term, ...]]:
    """Return the terms of the counts that depend on the input size."""
    terms: dict[str, tuple[Term, ...]] = {}
    connections = count_connections(spec, size)
    if connections is not None:
        terms["connections"] = (connections,)
    terms["neurons"] = (count_neurons(spec, size),)
    terms["macs"] = count_macs(spec, spec.sharing, size)
    return terms


def _count_pattern_inputs(spec: LayerSpec, size: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the number of inputs that one output sees, and that a dense output would see."""
    if spec.transposed:
        return None
    local = spec.window_side[1]
    for axis in spec.axes(size):
        inputs = count_largest_window(axis)
        if inputs is None:
            return None
        local *= inputs
    return local, spec.in_channels * prod(size)


def _count_other_sizes(spec: LayerSpec, size: tuple[int, ...]) -> tuple[Row, ...]:
    """Count the parameters for half, the same, twice and four times the input size."""
    if not spec.ndim:
        return ()
    sizes = [tuple(n // 2 for n in size), *(tuple(n * factor for n in size) for factor in (1, 2, 4))]
    sharings = {"full": Full(), str(spec.sharing): spec.sharing, "local": Local()}
    rows: list[Row] = []
    for other in sizes:
        try:
            output = spec.output_size(other) if min(other) else None
        except ShapeError:
            output = None
        if output is not None:
            counts = [(name, _count_if_fitting(spec, sharing, other)) for name, sharing in sharings.items()]
            counts.append(("dense", count_dense_parameters(spec, other).total))
            rows.append(Row((spec.in_channels, *other), (spec.out_channels, *output), tuple(counts)))
    return tuple(rows)


def _count_if_fitting(spec: LayerSpec, sharing: Sharing, size: tuple[int, ...]) -> int | None:
    try:
        return count_parameters(spec, sharing, size).total
    except (SharingError, ArgumentError):
        return None
