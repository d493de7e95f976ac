"""Closed-form counts: every count is a sum of terms, and every term a product of labeled factors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..errors import ArgumentError, SharingError
from ..sharing import Full, Local, LowRank, Sharing
from .connection_counts import count_pairs
from .spec import Held, LayerSpec
from .terms import Factor, Term

#: Name of a tensor from which a parametrization, `weight_norm` or pruning computes a parameter.
_ORIGINAL = re.compile(r"(?:parametrizations\.)?(\w+?)(?:\.original\d*|_orig|_g|_v)$")
#: Most sharings list the parts of each axis, so the number of positions per axis is limited.
MAX_POSITIONS = 2**20
AXIS_NAMES: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("length",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}


@dataclass(frozen=True)
class ParameterCount:
    """The parameters of a layer under one sharing.

    Args:
        name: Short name of the sharing, or "dense".
        banks: Number of banks; None for the dense limit.
        terms: Derivation of the count.
    """

    name: str
    banks: int | None
    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        return sum(term.n for term in self.terms)


def count_parameters(spec: LayerSpec, sharing: Sharing, input_size: Sequence[int] | None) -> ParameterCount:
    """Count the parameters of a layer under a sharing.

    Args:
        input_size: Spatial size of the input. May be None if the sharing does not need the output size.

    Raises:
        SharingError: If the sharing does not fit the output.
        ArgumentError: If the sharing needs the output size, and `input_size` is None.
    """
    banks = _count_banks(spec, "sharing", sharing, input_size)
    terms = [Term("weights", (*list_kernel_factors(spec), Factor("banks", banks)))]
    if isinstance(sharing, LowRank) and input_size is not None:
        terms += _list_coefficient_terms(sharing, spec.position_size(input_size))
    if spec.bias:
        biases = _count_banks(spec, "bias_sharing", spec.choose_bias_sharing(sharing), input_size)
        noun = "channel" if spec.ndim else "feature"
        outputs = Factor(f"output {noun}s", spec.out_channels)
        terms.append(Term("biases", (outputs, Factor(f"biases per {noun}", biases))))
    return ParameterCount(str(sharing), banks, tuple(terms))


def match_parameters(terms: Sequence[Term], held: Held) -> tuple[tuple[Term, ...], tuple[str, ...]]:
    """Return the terms of the parameters that a layer has, and notes on how they differ from a plain layer.

    Args:
        terms: Terms of a plain layer.
        held: Names and shapes of the parameters that the layer has.

    >>> terms = (Term("weights", (Factor("input features", 2), Factor("output features", 3))),)
    >>> match_parameters(terms, (("weight_g", (3, 1)), ("weight_v", (3, 2))))[0][0]
    Term(label='weight_g', factors=(Factor(label='magnitudes', n=3),))
    """
    names = {"weights": "weight", "biases": "bias"}
    expected = {names.get(term.label, term.label): term for term in terms}
    used: set[str] = set()
    found: list[Term] = []
    for name, shape in held:
        base = name if name in expected else _ORIGINAL.sub(r"\1", name)
        term = expected.get(base)
        if term is not None and base not in used and prod(shape) == term.n:
            used.add(base)
            found.append(term)
        elif term is not None and sum(n > 1 for n in shape) < 2:
            found.append(Term(name, (Factor("magnitudes", prod(shape)),)))
        else:
            sizes = (Factor(f"elements along axis {axis}", n) for axis, n in enumerate(shape))
            found.append(Term(name, tuple(sizes)))
    others = [term.label for term in found if term.label not in {t.label for t in terms}]
    notes: list[str] = []
    if others:
        notes.append(f"{', '.join(others)}: counted here, but not in the comparison with other sharings")
    missing = [
        name
        for name in expected
        if name not in used and name not in {_ORIGINAL.sub(r"\1", n) for n, _ in held}
    ]
    if missing:
        notes.append(f"{', '.join(missing)}: not a parameter of this layer, which reads it from elsewhere")
    return tuple(found) if others or missing else tuple(terms), tuple(notes)


def count_dense_parameters(spec: LayerSpec, input_size: Sequence[int]) -> ParameterCount:
    """Count the parameters of a layer with the same outputs in which every output sees every input."""
    inputs = spec.in_channels * prod(input_size)
    outputs = spec.out_channels * prod(spec.output_size(input_size))
    terms = [Term("weights", (Factor("inputs", inputs), Factor("outputs", outputs)))]
    if spec.bias:
        terms.append(Term("biases", (Factor("outputs", outputs), Factor("biases per output", 1))))
    return ParameterCount("dense", None, tuple(terms))


def list_kernel_factors(spec: LayerSpec) -> tuple[Factor, ...]:
    """Return the factors of the number of weights in one bank: taps per axis, and channels of both sides."""
    axes = zip(AXIS_NAMES[spec.ndim], spec.window.kernel_size)
    taps = (Factor(f"kernel {name}", size) for name, size in axes)
    return (*taps, Factor(*spec.window_side), Factor(*spec.position_side))


def count_neurons(spec: LayerSpec, input_size: Sequence[int]) -> Term:
    """Count the neurons of the output."""
    axes = zip(AXIS_NAMES[spec.ndim], spec.output_size(input_size))
    spatial = (Factor(f"output {name}", size) for name, size in axes)
    return Term("neurons", (*spatial, Factor("output channels", spec.out_channels)))


def count_connections(spec: LayerSpec, input_size: Sequence[int]) -> Term | None:
    """Count the (output, input) pairs that touch the input.

    Return None if that would require too long an enumeration.
    """
    spatial: list[Factor] = []
    for name, axis in zip(AXIS_NAMES[spec.ndim], spec.axes(input_size)):
        pairs = count_pairs(axis)
        if pairs is None:
            return None
        spatial.append(Factor(f"pairs of positions along {name}", pairs))
    return Term("connections", (*spatial, Factor(*spec.window_side), Factor(*spec.position_side)))


def count_macs(spec: LayerSpec, sharing: Sharing, input_size: Sequence[int]) -> tuple[Term, ...]:
    """Count the multiply-accumulates (MACs) of a forward pass, including those on padding."""
    positions = Factor("positions", prod(spec.position_size(input_size)))
    factors = (positions, *list_kernel_factors(spec))
    rank = sharing.rank if isinstance(sharing, LowRank) else 0
    if not rank:
        return (Term("multiplications", factors),)
    return (
        Term("multiplications", (*factors, Factor("banks", 1 + rank))),
        Term("mixing the banks", (Factor("corrections", rank), positions, Factor(*spec.position_side))),
    )


def _list_coefficient_terms(sharing: LowRank, position_size: tuple[int, ...]) -> list[Term]:
    """Return one term for each coefficient parameter, under the name of that parameter."""
    terms: list[Term] = []
    for name, (rank, *grid) in sharing.coefficient_shapes(position_size).items():
        covers_one_axis = len(grid) < len(position_size)
        label = f"positions along axis {name.rpartition('_')[2]}" if covers_one_axis else "positions"
        terms.append(Term(name, (Factor("corrections", rank), Factor(label, prod(grid)))))
    return terms


def _count_banks(spec: LayerSpec, argument: str, sharing: Sharing, input_size: Sequence[int] | None) -> int:
    """Return the number of banks of a sharing.

    Args:
        argument: "sharing", which assigns banks to positions, or "bias_sharing", which assigns biases to
            outputs. The two grids differ only for a transposed layer.
    """
    if isinstance(sharing, Full):
        return 1
    if input_size is None:
        raise ArgumentError(
            f"{spec.name}: {argument}={sharing!r}",
            "needs an input size",
            "none",
            "pass input_size (--input on the command line)",
        )
    size = spec.position_size(input_size) if argument == "sharing" else spec.output_size(input_size)
    if isinstance(sharing, Local):
        return prod(size)
    sharing.check(size, f"{spec.name}: {argument}=", f" from input_size={tuple(input_size)}")
    if sharing.one_hot and max(size, default=1) > MAX_POSITIONS:
        raise SharingError(
            f"{spec.name}: {argument}={sharing!r}",
            f"can be counted for at most {MAX_POSITIONS:,} positions per axis",
            f"{max(size):,}",
            "use a smaller input, Full() or Local()",
        )
    return sharing.banks(size)
