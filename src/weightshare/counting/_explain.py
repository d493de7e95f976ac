"""`explain`: where every number of a layer comes from."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from .._args import times
from ..errors import ArgumentError, ShapeError, SharingError
from ..sharing import Full, Local, Sharing
from .closed_form import Term, connections, dense, kernel_factors, macs, neurons, scheme
from .connections import dead_taps, most_seen
from .counts import Row
from .explanation import Explanation
from .from_layer import spec_of
from .from_text import as_sharing, read_spec
from .sizes import read_size, volume
from .spec import LayerSpec


def explain(
    layer: Any, input_size: int | Sequence[int] | str | None = None, sharing: Sharing | str | None = None
) -> Explanation:
    """Count a layer by formula and say where each number comes from.

    Args:
        layer: A layer of `weightshare.nn` or `torch.nn` (convolution, transposed, linear), or its text such
            as "Conv2d(3, 96, 11, stride=4)", parsed and never evaluated. Keras's words are understood.
        input_size: Spatial size of the input, a scalar for the same on every axis, or with the channels in
            front; also text such as "3x227x227". Without one, only the shared count is given.
        sharing: Used in place of the layer's own.

    Raises:
        SpecError: text that cannot be understood.
        ArgumentError: arguments that no input could make right.
        ShapeError: an input that does not fit the layer.
        SharingError: a sharing that does not fit the output.

    Example:
        >>> answer = explain("Conv2d(3, 96, 11, stride=4)", (3, 227, 227))
        >>> answer.parameters, answer.neurons, answer.by_sharing["local"]
        (34944, 290400, 105705600)
        >>> [f"{term.n} {term.label}" for term in explain("Conv2d(1, 10, 5)").own.terms]
        ['250 weights', '10 biases']
    """
    if isinstance(input_size, str):
        input_size = read_size(input_size)
    spec = read_spec(layer, input_size) if isinstance(layer, str) else spec_of(layer)
    size = None if input_size is None else spec.spatial_size(input_size)
    if sharing is not None:
        spec = replace(spec, sharing=as_sharing(spec.name, "sharing", sharing))
    elif None not in (size, spec.input_size) and size != spec.input_size and spec.sharing != Full():
        raise ShapeError(
            spec.name,
            f"was built for an input of {times(spec.input_size or ())}",
            times(size or ()),
            "leave input_size out, or build the layer for this size",
        )
    return _explanation(spec, (spec.input_size if size is None else size) if spec.ndim else ())


def _explanation(spec: LayerSpec, size: tuple[int, ...] | None) -> Explanation:
    own = scheme(spec, spec.sharing, size)
    others = [scheme(spec, Full(), size)] if size is not None or spec.bias_sharing in (None, Full()) else []
    terms: dict[str, tuple[Term, ...]] = {"weights_per_neuron": (Term("weights", kernel_factors(spec)[:-1]),)}
    dead = patterns = None
    rows: tuple[Row, ...] = ()
    notes = list(spec.notes)
    if spec.bias_sharing is not None:
        notes.append(f"bias_sharing={spec.bias_sharing} is kept for every sharing compared here, but dense")
    if size is not None:
        others += [scheme(spec, Local(), size), dense(spec, size)]
        terms |= _sized_terms(spec, size)
        axes = spec.axes(size)
        dead = dead_taps(axes, spec.sharing, spec.padding_mode)
        if "connections" not in terms or dead is None:
            notes.append(
                "connections or dead taps are not counted: at this size they would have to be listed"
            )
        seen = [most_seen(axis, spec.padding_mode) for axis in axes]
        if not spec.transposed and None not in seen:
            bits = prod(n for n in seen if n is not None) * spec.far[1]
            patterns = (bits, volume(spec.in_channels, size))
        rows = _rows(spec, size)
    else:
        notes.append(
            "with an input size (input_size=, --input) neurons, connections and other sharings follow"
        )
    return Explanation(
        layer=spec,
        input=None if size is None else (spec.in_channels, *size),
        output=None if size is None else (spec.out_channels, *spec.output_size(size)),
        own=own,
        others=tuple(other for other in others if other.name != own.name),
        terms=tuple(terms.items()),
        dead_taps=dead,
        patterns=patterns,
        rows=rows,
        notes=tuple(notes),
    )


def _sized_terms(spec: LayerSpec, size: tuple[int, ...]) -> dict[str, tuple[Term, ...]]:
    from_axes = connections(spec, size)
    terms = {} if from_axes is None else {"connections": (from_axes,)}
    terms["neurons"] = (neurons(spec, size),)
    return terms | {"macs": macs(spec, spec.sharing, size)}


def _rows(spec: LayerSpec, size: tuple[int, ...]) -> tuple[Row, ...]:
    """The schemes on half, the same, twice and four times the input."""
    if not spec.ndim:
        return ()
    sizes = [tuple(n // 2 for n in size), *(tuple(n * factor for n in size) for factor in (1, 2, 4))]
    rows = []
    for other in sizes:
        try:
            output = spec.output_size(other) if min(other) else None
        except ShapeError:
            output = None
        if output is not None:
            names = {"full": Full(), str(spec.sharing): spec.sharing, "local": Local()}
            counts = [(name, _fitting(spec, sharing, other)) for name, sharing in names.items()]
            counts.append(("dense", dense(spec, other).parameters))
            row = Row((spec.in_channels, *other), (spec.out_channels, *output), tuple(counts))
            rows.append(row)
    return tuple(rows)


def _fitting(spec: LayerSpec, sharing: Sharing, size: tuple[int, ...]) -> int | None:
    try:
        return scheme(spec, sharing, size).parameters
    except (SharingError, ArgumentError):
        return None
