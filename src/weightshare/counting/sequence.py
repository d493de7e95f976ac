"""A sequence of layers, each of which is applied to the output of the one before it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from ..errors import ShapeError, WeightshareError
from .block import Block, Shape, format_shape
from .closed_form import count_parameters, match_parameters
from .spec import LayerSpec
from .terms import Term

T = TypeVar("T")


def build_sequence(
    name: str, steps: Iterable[tuple[str, T]], build: Callable[[T, Shape | None], Block], shape: Shape | None
) -> Block:
    """Build a sequence of layers.

    Args:
        name: Class of the sequence.
        steps: Name and description of each layer.
        build: Function that builds a layer from its description and the size of its input.
        shape: Size of the input of the first layer; None if it is not known.
    """
    size, layers = shape, list[tuple[str, Block]]()
    for step_name, step in steps:
        try:
            block = build(step, size)
        except WeightshareError as error:
            is_general = error.where in ("layer", "explain")
            where = f"layer {step_name}" if is_general else f"layer {step_name}: {error.where}"
            raise type(error)(where, error.expected, error.got, error.hint) from None
        if not layers and shape is None:
            shape = block.input
        layers.append((step_name, block))
        size = block.output
    return Block(
        f"{name}({', '.join(str(block) for _, block in layers)})",
        tuple(Term(f"{step}.{term.label}", term.factors) for step, block in layers for term in block.terms),
        shape,
        size if layers else shape,
        steps=tuple(layers),
        notes=tuple(f"{step}: {note}" for step, block in layers for note in block.notes),
    )


def apply_convolution(spec: LayerSpec, shape: Shape | None, is_last: bool = False) -> Block:
    """Return a convolution or linear layer in a sequence, with the size of its output.

    Args:
        shape: Size of the input.
        is_last: Whether the channels are the last number of the sizes.
    """
    size = spec.input_size
    output = None
    if shape is not None and not spec.ndim:
        spec.spatial_size(shape[-1] or spec.in_channels)
        output = (*shape[:-1], spec.out_channels)
    elif shape is not None:
        if len(shape) != spec.ndim + 1:
            order = "last" if is_last else "first"
            expected = (
                f"the input must have {spec.ndim + 1} axes without the batch, with the channels {order}"
            )
            raise ShapeError(spec.name, expected, format_shape(shape))
        first = shape[-1:] + shape[:-1] if is_last else shape
        spec.spatial_size(tuple(n or 1 for n in (first[0] or spec.in_channels, *first[1:])))
        known = tuple(n for n in first[1:] if n is not None)
        positions: Shape = (None,) * spec.ndim
        if len(known) == spec.ndim:
            size = known
            positions = spec.output_size(known)
        output = (*positions, spec.out_channels) if is_last else (spec.out_channels, *positions)
    terms, notes = count_parameters(spec, spec.sharing, size).terms, spec.notes
    if spec.held is not None:
        terms, more = match_parameters(terms, spec.held)
        notes += more
    return Block(str(spec), terms, shape, output, notes=notes)


def repeat_directions(name: str, forward: Block, backward: Block, merge_mode: object) -> Block:
    """Return a layer that reads a sequence in both directions, such as `Bidirectional` of Keras.

    Args:
        merge_mode: "concat" joins the outputs of both directions; all others combine them elementwise.
    """
    output = forward.output
    if merge_mode == "concat" and output is not None and output[-1] is not None:
        output = (*output[:-1], 2 * output[-1])
    terms = (
        Term(f"{direction}/{term.label}", term.factors)
        for direction, block in (("forward", forward), ("backward", backward))
        for term in block.terms
    )
    line = "Each direction has its own weights."
    return replace(
        forward, text=f"{name}({forward})", terms=tuple(terms), output=output, lines=(line, *forward.lines)
    )
