"""The counts of a layer as data; `sections` puts them into words, `Explanation` shows them."""

from dataclasses import dataclass
from math import prod
from typing import Any

from .closed_form import Scheme, Term
from .spec import LayerSpec


@dataclass(frozen=True)
class Row:
    """Parameters at one input size; None where a sharing does not fit."""

    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: tuple[tuple[str, int | None], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"input": list(self.input), "output": list(self.output), **dict(self.parameters)}


@dataclass(frozen=True)
class Counts:
    """A layer's counts, and where each number comes from.

    What depends on the input size is None where none was given.

    Args:
        layer: The layer, as it was understood.
        input: `(channels, *size)` of the input.
        output: `(channels, *size)` of the output.
        own: The layer's parameters under its own sharing.
        others: The same layer under other sharings, full, local and dense among them.
        terms: The derivation of the counts that are not parameters: (name, sum of terms).
        dead_taps: (Bank, tap) pairs that only ever meet padding.
        patterns: Bits that a local and a global feature look at, where every input is one bit.
        rows: The schemes at other input sizes.
        notes: What else the reader should know.
    """

    layer: LayerSpec
    input: tuple[int, ...] | None
    output: tuple[int, ...] | None
    own: Scheme
    others: tuple[Scheme, ...]
    terms: tuple[tuple[str, tuple[Term, ...]], ...]
    dead_taps: int | None
    patterns: tuple[int, int] | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Numbers that the layer allocates."""
        return self.own.parameters

    @property
    def banks(self) -> int:
        """Banks of weights under the layer's own sharing."""
        return self.own.banks or 1

    @property
    def kernels(self) -> int:
        """Kernels of the whole layer: one for each bank and output channel (transposed: input channel)."""
        return self.banks * self.layer.near[1]

    @property
    def depth_slices(self) -> int:
        """Output channels: slices of the output volume."""
        return self.layer.out_channels

    @property
    def positions(self) -> int | None:
        """Positions that may share: outputs, or of a transposed layer inputs, for one channel."""
        grid = self.input if self.layer.transposed else self.output
        return None if grid is None else prod(grid[1:])

    @property
    def weights_per_neuron(self) -> int:
        """Weights that meet at an ordinary output neuron, without its bias."""
        return self.layer.weights_per_neuron

    @property
    def neurons(self) -> int | None:
        """Neurons of the output volume."""
        return None if self.output is None else prod(self.output)

    @property
    def connections(self) -> int | None:
        """(Output, input) pairs that touch the input."""
        return self._total("connections")

    @property
    def macs(self) -> int | None:
        """Multiplications computed."""
        return self._total("macs")

    @property
    def by_sharing(self) -> dict[str, int | None]:
        """Parameters of the same layer under full, local, dense and its own sharing."""
        unknown = dict.fromkeys(("full", "local", "dense"))
        return unknown | {s.name: s.parameters for s in (*self.others, self.own)}

    def _total(self, name: str) -> int | None:
        return next((sum(term.n for term in terms) for key, terms in self.terms if key == name), None)
