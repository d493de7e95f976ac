"""The value: which weight every connection of a linear map uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .._args import Size, integer, times
from .._memory import check_fits
from ..errors import ArgumentError, PatternError
from ..sharing.base import LETTERS
from .arguments import bias_of, check_counts, edges_of, permutation_of, permutations_of, shape_of, stride_of
from .layers import connections_of
from .orbits import orbits_of
from .probe import probed
from .proof import PatternProof, compared
from .same import refined
from .shifts import PartialShift, partly_shifted
from .symmetries import Symmetries, kept

_DRAWN = 40  # inputs and outputs up to which the matrix is drawn in print...
_DRAWABLE = 10**6  # ...and pairs up to which on demand


@dataclass(frozen=True, eq=False, repr=False)
class Pattern:
    """The connections of a linear map, and which of them share a weight.

    A connection is a row (output, input, weight id) of `edges`; two rows with one id use one weight. Inputs
    and outputs are counted as `flatten(1)` counts them: channels outermost, then positions row-major. Made
    by `Pattern.of` a layer, `Pattern.probe` of any linear map, `Pattern.from_symmetry`, or from edges.

    Args:
        edges: [connections, 3], in any order; kept sorted by output, input and id, and read-only. The same
            (output, input) may stand twice: two taps on one input, whose weights add up.
        out_shape: (channels, *spatial) of the outputs; a number n means (1, n).
        in_shape: The same of the inputs.
        n_weights: Weights there are, also those that no connection uses; default the largest id plus 1.
        bias: For every output the id of its bias; None for none.
        stride: Input positions from one output position to the next, for every spatial axis (a `Fraction`
            where outputs lie closer); default the ratio of the sizes.
        note: What the pattern leaves out, if anything.

    Raises:
        PatternError: edges or biases that do not fit the shapes.

    Example:
        >>> import torch
        >>> pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1, bias=False), input_size=5)
        >>> print(pattern)
        5 inputs, 5 outputs: 13 connections with 3 weights
        b c . . .
        a b c . .
        . a b c .
        . . a b c
        . . . a b

    Source: Ravanbakhsh, Schneider and Poczos, "Equivariance Through Parameter-Sharing", ICML 2017, section 2.
    """

    edges: np.ndarray
    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]
    n_weights: int
    bias: np.ndarray | None
    stride: tuple[Fraction, ...]
    note: str

    def __init__(
        self,
        edges: Any,
        out_shape: Size,
        in_shape: Size,
        *,
        n_weights: int | None = None,
        bias: Any = None,
        stride: Sequence[Any] | None = None,
        note: str = "",
    ):
        shapes = shape_of("out_shape", out_shape), shape_of("in_shape", in_shape)
        n_out, n_in = map(prod, shapes)
        check_counts(n_out=n_out, n_in=n_in)
        table = edges_of(edges, n_out, n_in)
        least = int(table[:, 2].max(initial=-1)) + 1
        if n_weights is None:
            n_weights = least
        elif integer("Pattern", "n_weights", n_weights, least=0) < least:
            raise PatternError(
                "Pattern", f"n_weights must be above every id, at least {least}", str(n_weights), "use that"
            )
        ids = None if bias is None else bias_of(bias, prod(shapes[0]))
        check_counts(n_weights=n_weights, n_biases=0 if ids is None else int(ids.max()) + 1)
        if stride is None:
            stride = [Fraction(i, o) for i, o in zip(shapes[1][1:], shapes[0][1:])]
        else:
            stride = stride_of(stride, len(shapes[1]) - 1)
        values = {
            "edges": table,
            "out_shape": shapes[0],
            "in_shape": shapes[1],
            "n_weights": n_weights,
            "bias": ids,
            "stride": tuple(stride),
            "note": note,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, layer: Any, input_size: Size | None = None, *, padding_mode: str | None = None) -> "Pattern":
        """The pattern of a layer: any of ours, torch's convolutions (transposed too) and linear layers.

        The ids count `layer.kernels().flatten()`, of a torch layer `layer.weight.flatten()`; those of biases
        count `layer.bias.flatten()`. Of `LowRank` it is the part that is one-hot, the kernel that all
        positions share, which `note` says; it equals the pattern of a plain convolution.

        Args:
            input_size: Spatial size of the input; needed where the layer does not know it.
            padding_mode: Another one than the layer's own: "circular" shows what its borders alone break.

        Raises:
            ArgumentError: a layer of another kind, with a forward of its own, lazy, or with a weight that is
                computed (parametrized, pruned); no `input_size` where one is needed.
            ShapeError: an `input_size` that leaves no output.
            PatternError: more connections than fit memory, with the figure.

        Example:
            >>> import weightshare as ws
            >>> layer = ws.nn.Conv2d(3, 8, 3, padding=1, sharing=ws.Tiled(2), input_size=8)
            >>> Pattern.of(layer).n_weights == layer.weight.numel()
            True
        """
        return cls(**connections_of(layer, input_size, padding_mode))

    @classmethod
    def probe(cls, f: Callable[..., Any], in_shape: Size, *, redraw: bool = True, seed: int = 0) -> "Pattern":
        """The pattern of any linear map, found by passing every unit vector through it in float64.

        Connections whose numbers are equal count as shared, which numbers can also be by chance: a module's
        parameters, frozen ones too, are therefore drawn anew first, in two copies, and must be equal in both.
        Equal is within 1e-9 of their size, so of n weights two count as one with a probability below
        n**2 * 1e-18. A number below 1e-9 of the largest of its output, and of its input, is no connection.
        One on which two weights meet counts as one with a weight of its own.

        Args:
            f: A module or function from [N, *in_shape] to [N, *out_shape] in float64; biases allowed.
            in_shape: (channels, *spatial), or n for (1, n): f then gets [N, 1, n], and [N, n] for (n,).
            redraw: Draw the parameters of a module at random; False for its own numbers.
            seed: Of the numbers drawn.

        Raises:
            PatternError: a map that is not linear at inputs of size 1e-3 to 1e6, that fails or gives no
                float64, or a Jacobian that does not fit memory, with the figure.

        Example:
            >>> import torch
            >>> pattern = Pattern.probe(torch.nn.Conv2d(1, 1, 3, padding=1), in_shape=(1, 6, 6))
            >>> pattern.n_weights, len(pattern.edges)
            (9, 256)
        """
        return cls(**probed(f, shape_of("in_shape", in_shape), redraw, seed))

    @classmethod
    def from_symmetry(
        cls,
        in_generators: Sequence[Sequence[int]],
        out_generators: Sequence[Sequence[int]],
        *,
        support: Any = None,
        in_shape: Size | None = None,
        out_shape: Size | None = None,
    ) -> "Pattern":
        """The freest equivariant pattern: connections share where the symmetry maps one to the other.

        Generator number k acts on the inputs as `in_generators[k]` and on the outputs as `out_generators[k]`.
        Every map that is equivariant for these permutations has this pattern; outputs that map to each other
        share their bias.

        Args:
            in_generators: Permutations g of the inputs, g[i] = where input i goes; `pattern.generators` has
                shifts, flips, turns, sets, pairs and products.
            out_generators: As many, of the outputs.
            support: Connections [(output, input), ...] to start from: only those that the symmetry makes of
                them are part of the pattern. None for all.
            in_shape, out_shape: (channels, *spatial), for what asks about positions; default one axis.

        Raises:
            ArgumentError: not permutations, different lengths, another number of them for the outputs.

        Example:
            >>> from weightshare.pattern import generators
            >>> points = generators.permutations(4)  # Deep Sets: two weights
            >>> print(Pattern.from_symmetry(points, points))
            4 inputs, 4 outputs: 16 connections with 2 weights, 1 bias
            a b b b
            b a b b
            b b a b
            b b b a

        Source: Ravanbakhsh, Schneider and Poczos, "Equivariance Through Parameter-Sharing", ICML 2017,
        section 4.
        """
        where = "Pattern.from_symmetry"
        inputs = permutations_of(where, "in_generators", in_generators)
        outputs = permutations_of(where, "out_generators", out_generators)
        if len(inputs) != len(outputs):
            raise ArgumentError(
                where,
                f"out_generators must be as many as in_generators, {len(inputs)}",
                str(len(outputs)),
                "generator k acts on both; generators.identity(n) moves nothing",
            )
        n_in, n_out = len(inputs[0]), len(outputs[0])
        in_shape = shape_of("in_shape", n_in if in_shape is None else in_shape, n_in)
        out_shape = shape_of("out_shape", n_out if out_shape is None else out_shape, n_out)
        edges, bias = orbits_of(inputs, outputs, support)
        return cls(edges, out_shape, in_shape, bias=bias)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return prod(self.out_shape)

    @property
    def n_biases(self) -> int:
        """Number of biases."""
        return 0 if self.bias is None else int(self.bias.max(initial=-1)) + 1

    @cached_property
    def fan_in(self) -> np.ndarray:
        """For every weight the number of connections into an output that uses it, on average [n_weights]."""
        per_output = np.bincount(self.edges[:, 0], minlength=self.n_out)
        uses = np.bincount(self.edges[:, 2], minlength=self.n_weights)
        total = np.bincount(self.edges[:, 2], per_output[self.edges[:, 0]], minlength=self.n_weights)
        return np.divide(total, uses, out=np.ones(self.n_weights), where=uses > 0)

    def matrix(self, max_bytes: int | None = None) -> np.ndarray:
        """The weight id of every pair, dense [n_out, n_in]; -1 where there is no connection.

        Args:
            max_bytes: Refuse a larger one; default the memory that is free.

        Raises:
            PatternError: a matrix that does not fit, with the figure; two weights on one connection.
        """
        needed = self.n_out * self.n_in * self.edges.itemsize
        if max_bytes is not None:
            max_bytes = integer("Pattern.matrix", "max_bytes", max_bytes, least=0)
        check_fits(
            PatternError,
            "Pattern.matrix",
            "the matrix",
            needed,
            f"{self.n_out:,} x {self.n_in:,} numbers",
            "use .edges, which lists the connections only",
            max_bytes,
        )
        pairs = self.edges[:, 0] * self.n_in + self.edges[:, 1]
        twice = np.flatnonzero(pairs[1:] == pairs[:-1])
        if len(twice):
            output, input_, _ = self.edges[twice[0]]
            raise PatternError(
                "Pattern.matrix",
                "every connection must use one weight",
                f"two on input {input_} of output {output}",
                "use .edges, or an input larger than the window with its padding",
            )
        matrix = np.full(self.n_out * self.n_in, -1, dtype=np.int64)
        matrix[pairs] = self.edges[:, 2]
        return matrix.reshape(self.n_out, self.n_in)

    def is_equivariant(self, g_in: Sequence[int], g_out: Sequence[int]) -> PatternProof:
        """Whether the map commutes with a permutation whatever its weights: a comparison of integers.

        It does where moving the inputs by `g_in` and the outputs by `g_out` carries every connection to one
        with the same weight, and every output to one with the same bias.

        Args:
            g_in: Permutation of the inputs, g_in[i] = where input i goes.
            g_out: Permutation of the outputs.

        Returns:
            `.holds`, and where it fails `.witness`, a connection whose image uses another weight or none. In
            a condition it is true only where the pattern has no `note`: it says nothing of what is left out.

        Raises:
            ArgumentError: not permutations of the inputs and outputs.

        Example:
            >>> import torch
            >>> from weightshare.pattern import generators
            >>> layer = torch.nn.Conv1d(1, 1, 3, padding=1)
            >>> (shift,) = generators.circular_shifts(8)
            >>> Pattern.of(layer, 8, padding_mode="circular").is_equivariant(shift, shift).holds
            True
            >>> print(Pattern.of(layer, 8).is_equivariant(shift, shift).witness)
            output 6 uses weight 2 on input 7, its image output 7 uses no weight on input 0

        Source: Ravanbakhsh et al. 2017, section 3.
        """
        where = "Pattern.is_equivariant"
        inputs = permutation_of(where, "g_in", g_in, self.n_in)
        outputs = permutation_of(where, "g_out", g_out, self.n_out)
        return compared(self, inputs, outputs)

    def symmetries(self) -> Symmetries:
        """Which circular shifts, flips and turns of the grid the pattern keeps, and how many they are.

        All maps of the catalogue are looked at: a flip or turn (or none), the same on inputs and outputs,
        followed by any circular shift of the inputs and any of the outputs; channels stay.

        Raises:
            PatternError: inputs and outputs without the same number of spatial axes.

        Example:
            >>> import weightshare as ws
            >>> tiled = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(3), input_size=12)
            >>> Pattern.of(tiled, padding_mode="circular").symmetries().order
            4
        """
        return kept(self)

    def partial_shift(self, shift: Size, out_shift: Size | None = None) -> PartialShift:
        """Where a shift that is not circular is exact: which outputs see the same after it.

        The picture moves by `shift`; what enters is unknown, what leaves is gone. An output is exact if its
        connections, moved along, are those of the output that stands where it went.

        Args:
            shift: Positions to move the input by, for every spatial axis.
            out_shift: The same of the output; default `shift` divided by the stride.

        Raises:
            PatternError: a shift that is not a multiple of the stride, or so large that nothing overlaps.

        Example:
            >>> import torch
            >>> found = Pattern.of(torch.nn.Conv2d(1, 1, 3, padding=1), 32).partial_shift((3, 5))
            >>> found.compared, found.violations, found.border
            (783, 108, ((1, 1), (1, 1)))
        """
        return partly_shifted(self, shift, out_shift)

    def refines(self, other: "Pattern") -> bool:
        """Whether connections that share here share in `other` too, on the same connections."""
        return refined(self, other)

    def __eq__(self, other: object) -> bool:
        """Whether the same connections share, whatever the ids; biases alike. `stride` and `note` do not
        count: they say where a pattern is from, not what it is."""
        if not isinstance(other, Pattern):
            return NotImplemented
        if (self.in_shape, self.out_shape) != (other.in_shape, other.out_shape):
            return False
        kinds, others = (len(np.unique(p.edges[:, 2])) for p in (self, other))
        if kinds != others or not refined(self, other):
            return False
        if self.bias is None or other.bias is None:
            return self.bias is other.bias
        pairs = np.unique(np.stack([self.bias, other.bias], 1), axis=0)
        return len(pairs) == len(np.unique(self.bias)) == len(np.unique(other.bias))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for table in (self.edges, self.bias):
            if table is not None:
                table.flags.writeable = False  # which a copy does not take over

    def __hash__(self) -> int:
        return hash((self.in_shape, self.out_shape, len(self.edges)))

    def __repr__(self) -> str:
        return f"Pattern({_line(self)})"

    def __str__(self) -> str:
        return f"{_line(self)}\n{self.draw()}" if max(self.n_in, self.n_out) <= _DRAWN else _line(self)

    def draw(self) -> str:
        """The matrix as text: a row an output, the same letter where the weight is the same, "+" where two
        weights meet; beyond 52 weights letters repeat. Up to a million pairs.

        Raises:
            PatternError: more than that.
        """
        if self.n_in * self.n_out > _DRAWABLE:
            raise PatternError(
                "Pattern.draw",
                f"only up to {_DRAWABLE:,} pairs are drawn",
                f"{self.n_out:,} x {self.n_in:,}",
                "print the pattern, or draw the same sharing on a smaller input",
            )
        rows = [["."] * self.n_in for _ in range(self.n_out)]
        for output, input_, weight in self.edges.tolist():
            taken = rows[output][input_] != "."
            rows[output][input_] = "+" if taken else LETTERS[weight % len(LETTERS)]
        return "\n".join(" ".join(row) for row in rows)


def _line(pattern: Pattern) -> str:
    counts = f"{len(pattern.edges):,} connections with {_count(pattern.n_weights, 'weight')}"
    biases = f", {_count(pattern.n_biases, 'bias')}" if pattern.n_biases else ""
    note = f" ({pattern.note})" if pattern.note else ""
    return f"{_size(pattern.in_shape)} inputs, {_size(pattern.out_shape)} outputs: {counts}{biases}{note}"


def _count(number: int, word: str) -> str:
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number:,} {word}{ending}"


def _size(shape: tuple[int, ...]) -> str:
    return times(shape[1:] if shape[0] == 1 and len(shape) > 1 else shape)
