"""The value `Pattern`: which weight each connection of a linear map uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from .._args import Size, check_integer
from .._memory import check_fits
from ..errors import ArgumentError, PatternError
from ..geometry import PaddingModes
from ..views.optional import require_matplotlib
from . import refinement, text
from .arguments import check_permutation, check_permutations, check_shape
from .data import PatternData
from .layers import read_layer
from .orbits import find_orbits
from .probe import probe_map
from .proof import PatternProof, prove_equivariance
from .shifts import PartialShift, compute_partial_shift
from .symmetries import Symmetries, find_symmetries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_PRINTED_SIZE = 40  # largest number of inputs and of outputs for which `str` draws
_MAX_PLOTTED_SIZE = 512  # and for which `plot` does


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Pattern(PatternData):
    """The connections of a linear map, and which of them share a weight.

    Each row of `edges` is one connection (output, input, weight id); connections with the same id share a
    weight. Inputs and outputs are numbered as in `flatten(1)`: channels outermost, then positions in
    row-major order. Create a pattern from a layer (`Pattern.of`), any linear map (`Pattern.probe`),
    symmetries (`Pattern.from_symmetry`) or a list of edges.

    Args:
        edges: Connections [connections, 3] in any order; stored read-only, sorted by output, input and id. If
            a pair (output, input) occurs more than once, the weights of its connections are added.
        out_shape: Shape (channels, *spatial) of the output; an int n means (1, n).
        in_shape: Shape (channels, *spatial) of the input; an int n means (1, n).
        n_weights: Number of weights, including unused ones; by default one more than the largest id.
        bias: Bias id of each output [n_out]; None for no bias.
        stride: Input positions per output position, one number per spatial axis, such as 2 or
            `Fraction(1, 2)`; by default the ratio of the sizes.
        note: Description of the part of the map that the pattern leaves out; empty if none.

    Raises:
        PatternError: If the edges or biases do not fit the shapes.

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

    @classmethod
    def of(
        cls, layer: nn.Module, input_size: Size | None = None, *, padding_mode: PaddingModes | None = None
    ) -> "Pattern":
        """Return the pattern of a `weightshare` layer, or of a convolution or linear layer of `torch.nn`.

        Weight ids are indices into `layer.kernels().flatten()`, or `layer.weight.flatten()` for a `torch.nn`
        layer; bias ids are indices into `layer.bias.flatten()`. The pattern of a `LowRank` layer describes
        only the kernel that all positions share, and equals that of a plain convolution; its `note` states
        this.

        Args:
            layer: A convolution, transposed convolution or linear layer.
            input_size: Spatial size of the input; required unless the layer stores it.
            padding_mode: Padding mode, or one per axis, to use instead of the layer's. With "circular" the
                layer has no border, so only its weights can break equivariance.

        Raises:
            ArgumentError: If the layer is of another kind, has a custom forward, is lazy or sparse, or has a
                computed weight (parametrized, normalized or pruned), or if `input_size` is missing.
            ShapeError: If `input_size` is too small for the layer.
            PatternError: If the connections do not fit in memory.

        Example:
            >>> import weightshare as ws
            >>> layer = ws.nn.Conv2d(3, 8, 3, padding=1, sharing=ws.Tiled(2), input_size=8)
            >>> Pattern.of(layer).n_weights == layer.weight.numel()
            True
        """
        return cls(**read_layer(layer, input_size, padding_mode))

    @classmethod
    def probe(
        cls, f: Callable[..., object], in_shape: Size, *, redraw: bool = True, seed: int = 0
    ) -> "Pattern":
        """Find the pattern of any linear map by applying it to every unit vector in float64.

        Connections with equal values (to a relative 1e-9) are assumed to share a weight. To avoid values that
        are equal by chance, the parameters of a module, including frozen ones, are replaced by random numbers
        twice and then restored, and values must be equal both times. The probability that two of n weights
        are still merged is below n**2 * 1e-18. A value below 1e-9 of the largest value of its output and of
        its input is not a connection. If a connection adds two weights, their sum counts as one separate
        weight.

        Args:
            f: A module or function from [N, *in_shape] to [N, *out_shape] in float64; it may have biases.
            in_shape: Shape (channels, *spatial) of the input. An int n means (1, n), so that f receives
                [N, 1, n]; for (n,) it receives [N, n].
            redraw: Whether to replace a module's parameters by random numbers.
            seed: Seed of all random numbers.

        Raises:
            ArgumentError: If f is not callable, or is a module with lazy, sparse or meta parameters.
            PatternError: If f fails, does not return float64, or is not linear for inputs of magnitudes from
                1e-3 to 1e6, or if its Jacobian does not fit in memory.

        Example:
            >>> import torch
            >>> pattern = Pattern.probe(torch.nn.Conv2d(1, 1, 3, padding=1), in_shape=(1, 6, 6))
            >>> pattern.n_weights, len(pattern.edges)
            (9, 256)
        """
        return cls(**probe_map(f, check_shape("in_shape", in_shape), redraw, seed))

    @classmethod
    def from_symmetry(
        cls,
        in_generators: Sequence[ArrayLike],
        out_generators: Sequence[ArrayLike],
        *,
        support: ArrayLike | None = None,
        in_shape: Size | None = None,
        out_shape: Size | None = None,
    ) -> "Pattern":
        """Return the equivariant pattern with the most weights.

        Two connections share a weight if and only if the symmetry maps one to the other, and likewise two
        outputs share a bias. Every linear map that is equivariant to the symmetry has
        this pattern. Generator k acts on the inputs as `in_generators[k]` and on the outputs as
        `out_generators[k]`.

        Args:
            in_generators: Permutations g of the inputs, where g[i] is the new index of input i. The module
                `pattern.generators` makes shifts, flips, turns, and permutations of sets and pairs.
            out_generators: Permutations of the outputs, one for each of `in_generators`.
            support: Pairs [(output, input), ...]; only these and their images under the symmetry become
                connections. If None, all pairs do.
            in_shape: Shape (channels, *spatial) of the input, for operations that need positions; by default
                one axis.
            out_shape: Shape (channels, *spatial) of the output; by default one axis.

        Raises:
            ArgumentError: If the generators are not permutations, or their numbers differ.

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
        inputs = check_permutations(where, "in_generators", in_generators)
        outputs = check_permutations(where, "out_generators", out_generators)
        if len(inputs) != len(outputs):
            raise ArgumentError(
                where,
                f"out_generators must have as many permutations as in_generators, {len(inputs)}",
                str(len(outputs)),
                "generator k acts on both sides; use generators.identity(n) for a side that it does not move",
            )
        n_in, n_out = len(inputs[0]), len(outputs[0])
        in_shape = check_shape("in_shape", n_in if in_shape is None else in_shape, n_in)
        out_shape = check_shape("out_shape", n_out if out_shape is None else out_shape, n_out)
        edges, bias = find_orbits(inputs, outputs, support)
        return cls(edges, out_shape, in_shape, bias=bias)

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Mean number of connections of the outputs that use each weight [n_weights]; 1 if none do."""
        per_output = np.bincount(self.edges[:, 0], minlength=self.n_out)
        uses = np.bincount(self.edges[:, 2], minlength=self.n_weights)
        total = np.bincount(self.edges[:, 2], per_output[self.edges[:, 0]], minlength=self.n_weights)
        return np.divide(total, uses, out=np.ones(self.n_weights), where=uses > 0)

    def matrix(self, max_bytes: int | None = None) -> np.ndarray:
        """Return the weight id of each pair as a dense matrix [n_out, n_in]; -1 if they are not connected.

        Args:
            max_bytes: Maximum size of the matrix; by default the free memory.

        Raises:
            PatternError: If the matrix is too large, or two weights are on one pair.
        """
        if max_bytes is not None:
            max_bytes = check_integer("Pattern.matrix", "max_bytes", max_bytes, least=0)
        check_fits(
            PatternError,
            "Pattern.matrix",
            "the matrix",
            self.n_out * self.n_in * self.edges.itemsize,
            f"{self.n_out:,} x {self.n_in:,} entries",
            "use .edges, which lists only the connections",
            max_bytes,
        )
        repeated = np.flatnonzero(np.diff(self.pairs) == 0)
        if len(repeated):
            output, input_, _ = self.edges[repeated[0]]
            raise PatternError(
                "Pattern.matrix",
                "each pair (output, input) must have at most one weight",
                f"several for output {output} and input {input_}",
                "use .edges, or an input larger than the window with its padding",
            )
        matrix = np.full(self.n_out * self.n_in, -1, dtype=np.int64)
        matrix[self.pairs] = self.edges[:, 2]
        return matrix.reshape(self.n_out, self.n_in)

    def is_equivariant(self, g_in: ArrayLike, g_out: ArrayLike) -> PatternProof:
        """Prove that the map commutes with a permutation for all weights, or find a counterexample.

        The map is equivariant if moving inputs by `g_in` and outputs by `g_out` maps every connection to one
        with the same weight, and every output to one with the same bias. The proof compares integers only.

        Args:
            g_in: Permutation of the inputs, where g_in[i] is the new index of input i.
            g_out: Permutation of the outputs.

        Returns:
            A proof with `.holds` and, if that is false, a `.witness`: a connection whose image uses another
            weight or none. `bool(proof)` is false if the pattern has a `note`, since the proof does not cover
            what the pattern does not describe.

        Raises:
            ArgumentError: If an argument is not a permutation of the inputs or outputs.

        Example:
            >>> import torch
            >>> from weightshare.pattern import generators
            >>> layer = torch.nn.Conv1d(1, 1, 3, padding=1)
            >>> (shift,) = generators.circular_shifts(8)
            >>> Pattern.of(layer, 8, padding_mode="circular").is_equivariant(shift, shift).holds
            True
            >>> print(Pattern.of(layer, 8).is_equivariant(shift, shift).witness)
            output 6 uses weight 2 on input 7; its image, output 7, uses no weight on input 0

        Source: Ravanbakhsh et al. 2017, section 3.
        """
        where = "Pattern.is_equivariant"
        inputs = check_permutation(where, "g_in", g_in, self.n_in)
        outputs = check_permutation(where, "g_out", g_out, self.n_out)
        return prove_equivariance(self, inputs, outputs)

    def symmetries(self) -> Symmetries:
        """Find all circular shifts, flips and turns of the grid to which the pattern is equivariant.

        A candidate is a flip, a turn or the identity, the same for inputs and outputs, followed by any
        circular shift of the inputs and any circular shift of the outputs. Channels are not permuted.

        Raises:
            PatternError: If inputs and outputs have different numbers of spatial axes.

        Example:
            >>> import weightshare as ws
            >>> tiled = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(3), input_size=12)
            >>> Pattern.of(tiled, padding_mode="circular").symmetries().order
            4
        """
        return find_symmetries(self)

    def partial_shift(self, shift: Size, out_shift: Size | None = None) -> PartialShift:
        """Find the output positions at which a non-circular shift is exact.

        The values that the shift moves into the input are unknown, and those that it moves out are lost. An
        output is exact if its connections, shifted, are those of the output at the shifted position.

        Args:
            shift: Shift of the input in positions, per spatial axis.
            out_shift: Shift of the output in positions; by default `shift` divided by the stride.

        Raises:
            PatternError: If the shift is not a multiple of the stride, or so large that nothing overlaps.

        Example:
            >>> import torch
            >>> shifted = Pattern.of(torch.nn.Conv2d(1, 1, 3, padding=1), 32).partial_shift((3, 5))
            >>> shifted.compared, shifted.violations, shifted.border
            (783, 108, ((1, 1), (1, 1)))
        """
        return compute_partial_shift(self, shift, out_shift)

    def refines(self, other: "Pattern") -> bool:
        """Return whether both have the same connections, and those that share here also share in `other`."""
        return refinement.refines(self, other)

    def __eq__(self, other: object) -> bool:
        """Return whether the same connections and biases are shared, whatever their ids, stride and note."""
        if not isinstance(other, Pattern):
            return NotImplemented
        if (self.in_shape, self.out_shape) != (other.in_shape, other.out_shape):
            return False
        used, other_used = (len(np.unique(p.edges[:, 2])) for p in (self, other))
        if used != other_used or not self.refines(other):
            return False
        if self.bias is None or other.bias is None:
            return self.bias is other.bias
        pairs = np.unique(np.stack([self.bias, other.bias], 1), axis=0)
        return len(pairs) == len(np.unique(self.bias)) == len(np.unique(other.bias))

    def __hash__(self) -> int:
        return hash((self.in_shape, self.out_shape, len(self.edges)))

    def __repr__(self) -> str:
        return f"Pattern({text.describe(self)})"

    def __str__(self) -> str:
        line = text.describe(self)
        return f"{line}\n{self.draw()}" if max(self.n_in, self.n_out) <= _MAX_PRINTED_SIZE else line

    def draw(self) -> str:
        """Return the matrix as text, one row per output and one letter per weight.

        "+" marks a pair with two weights; letters repeat after 52 weights.

        Raises:
            PatternError: If the matrix has more than a million entries.
        """
        return text.draw(self)

    def plot(self, *, ax: "Axes | None" = None) -> "Figure":
        """Draw the matrix in colors and letters; pairs with the same color and letter share a weight.

        A dot marks a pair that is not connected, and "+" a pair with two weights. Letters are left out if
        there are more than 52 weights, or if the cells are too small. Lines separate the channels.

        Args:
            ax: Axes to draw on. By default, a new figure with a transparent background is created.

        Returns:
            The figure that contains the drawing. To save it, call its `savefig`.

        Raises:
            ArgumentError: If `ax` is neither axes nor None.
            PatternError: If the pattern has more than 512 inputs or outputs.
            MissingExtraError: If matplotlib is not installed.

        Example:
            >>> import torch
            >>> figure = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1, bias=False), 5).plot()
            >>> figure.axes[0].get_xlabel(), len(figure.axes[0].texts)
            ('inputs', 13)
        """
        where = "Pattern.plot"
        if max(self.n_in, self.n_out) > _MAX_PLOTTED_SIZE:
            expected = f"the pattern must have at most {_MAX_PLOTTED_SIZE} inputs and outputs"
            got = f"{self.n_in:,} inputs and {self.n_out:,} outputs"
            raise PatternError(
                where, expected, got, "plot the pattern of a smaller input or of fewer channels"
            )
        with require_matplotlib(where):
            from ..views.connections import draw_connections
        return draw_connections(
            where,
            self.edges,
            (self.n_out, self.n_in),
            self.n_weights,
            channels=(self.out_shape[0], self.in_shape[0]),
            title=text.describe(self),
            ax=ax,
        )
