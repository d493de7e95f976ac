"""Counts of a layer by formula: every count is a sum of terms, every term a product of labelled factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..errors import ArgumentError, SharingError
from ..sharing import Full, Local, LowRank, Sharing
from .connections import pairs
from .sizes import volume
from .spec import LayerSpec

#: A sharing that cuts its axes into parts lists them; beyond this many positions an axis it is refused.
MAX_POSITIONS = 2**20
AXIS_NAMES: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("length",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}


@dataclass(frozen=True)
class Factor:
    """One number of a product, and what it counts."""

    label: str
    n: int


@dataclass(frozen=True)
class Term:
    """One product of a sum.

    >>> Term("biases", (Factor("output channels", 96), Factor("biases a channel", 1))).n
    96
    """

    label: str
    factors: tuple[Factor, ...]

    @property
    def n(self) -> int:
        return prod(factor.n for factor in self.factors)

    def to_dict(self) -> dict:
        return {
            "label": self.label,
            "factors": [{"label": factor.label, "n": factor.n} for factor in self.factors],
            "n": self.n,
        }


@dataclass(frozen=True)
class Scheme:
    """The parameters of a layer under one sharing; `banks` is None for the dense limit."""

    name: str
    banks: int | None
    terms: tuple[Term, ...]

    @property
    def parameters(self) -> int:
        return sum(term.n for term in self.terms)


def scheme(spec: LayerSpec, sharing: Sharing, input_size: Sequence[int] | None) -> Scheme:
    """Parameters of `spec` shared by `sharing`.

    Args:
        input_size: Spatial size of the input; None where the sharing needs no output size.

    Raises:
        SharingError: a sharing that does not fit the output.
        ArgumentError: a sharing that needs the output size, without an input size.
    """
    banks = bank_count(spec, sharing, input_size, on_positions=True)
    terms = [Term("weights", (*kernel_factors(spec), Factor("banks", banks)))]
    if isinstance(sharing, LowRank) and input_size is not None:
        size = spec.position_size(input_size)
        for name, shape in sharing.coefficient_shapes(size).items():
            rank, *grid = shape
            axis = name.rpartition("_")[2]
            places = f"positions of axis {axis}" if len(grid) < len(size) else "positions"
            terms.append(Term(name, (Factor("corrections", rank), Factor(places, prod(grid)))))
    if spec.bias:
        biases = bank_count(spec, spec.bias_shared(sharing), input_size, on_positions=False)
        channels, one = ("output channels", "channel") if spec.ndim else ("output features", "feature")
        factors = (Factor(channels, spec.out_channels), Factor(f"biases a {one}", biases))
        terms.append(Term("biases", factors))
    return Scheme(str(sharing), banks, tuple(terms))


def dense(spec: LayerSpec, input_size: Sequence[int]) -> Scheme:
    """Parameters of a layer of the same output volume in which every output neuron sees every input."""
    inputs = volume(spec.in_channels, input_size)
    outputs = volume(spec.out_channels, spec.output_size(input_size))
    terms = [Term("weights", (Factor("inputs", inputs), Factor("outputs", outputs)))]
    if spec.bias:
        terms.append(Term("biases", (Factor("outputs", outputs), Factor("biases an output", 1))))
    return Scheme("dense", None, tuple(terms))


def kernel_factors(spec: LayerSpec) -> tuple[Factor, ...]:
    """The factors of one bank's weights."""
    taps = (Factor(f"kernel {name}", k) for name, k in zip(AXIS_NAMES[spec.ndim], spec.window.kernel_size))
    return (*taps, _channels(spec.far), _channels(spec.near))


def neurons(spec: LayerSpec, input_size: Sequence[int]) -> Term:
    """Neurons of the output volume."""
    named = zip(AXIS_NAMES[spec.ndim], spec.output_size(input_size))
    spatial = (Factor(f"output {name}", n) for name, n in named)
    return Term("neurons", (*spatial, Factor("output channels", spec.out_channels)))


def connections(spec: LayerSpec, input_size: Sequence[int]) -> Term | None:
    """(Output, input) pairs that touch the input; None where only too long a listing would give them."""
    counts = [pairs(axis, spec.padding_mode) for axis in spec.axes(input_size)]
    known = [n for n in counts if n is not None]
    if len(known) < len(counts):
        return None
    names = AXIS_NAMES[spec.ndim]
    spatial = (Factor(f"pairs of positions along {name}", n) for name, n in zip(names, known))
    return Term("connections", (*spatial, _channels(spec.far), _channels(spec.near)))


def macs(spec: LayerSpec, sharing: Sharing, input_size: Sequence[int]) -> tuple[Term, ...]:
    """Multiplications computed, padding included."""
    positions = prod(spec.position_size(input_size))
    rank = sharing.rank if isinstance(sharing, LowRank) else 0
    factors = (Factor("positions", positions), *kernel_factors(spec))
    if not rank:
        return (Term("multiplications", factors),)
    mixing = (Factor("corrections", rank), Factor("positions", positions), _channels(spec.near))
    return (
        Term("multiplications", (*factors, Factor("banks", 1 + rank))),
        Term("mixing the banks", mixing),
    )


def bank_count(
    spec: LayerSpec, sharing: Sharing, input_size: Sequence[int] | None, *, on_positions: bool
) -> int:
    """Banks of `sharing` over the positions of `spec`, or (for its bias) over its outputs."""
    if isinstance(sharing, Full):
        return 1
    word = "sharing" if on_positions else "bias_sharing"
    if input_size is None:
        raise ArgumentError(
            f"{spec.name}: {word}={sharing!r}",
            "needs the size of the input",
            "no input size",
            "give input_size= (--input on the command line)",
        )
    size = spec.position_size(input_size) if on_positions else spec.output_size(input_size)
    if isinstance(sharing, Local):
        return prod(size)
    source = f" from input_size={tuple(input_size)}"
    sharing.check(size, f"{spec.name}: {word}=", source)
    if sharing.one_hot and max(size, default=1) > MAX_POSITIONS:
        raise SharingError(
            f"{spec.name}: {word}={sharing!r}",
            f"is counted on at most {MAX_POSITIONS:,} positions an axis",
            f"{max(size):,}",
            "use a smaller input, Full() or Local()",
        )
    return sharing.banks(size)


def _channels(side: tuple[str, int]) -> Factor:
    return Factor(*side)
