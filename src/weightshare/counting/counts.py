"""The counts of a layer as data. `sections` turns them into text and tables, and `Explanation` shows them."""

from dataclasses import dataclass
from math import prod
from typing import Any

from .block import Block
from .closed_form import ParameterCount
from .spec import LayerSpec
from .terms import Term


@dataclass(frozen=True)
class Row:
    """Parameters under several sharings at one input size; None for a sharing that does not fit the size."""

    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: tuple[tuple[str, int | None], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"input": list(self.input), "output": list(self.output), **dict(self.parameters)}


@dataclass(frozen=True)
class Counts:
    """The counts of a layer and their derivation.

    Counts that depend on the input size are None if no input size is known. Those of positions and banks are
    None for a layer that is neither a convolution nor linear, and for a sequence of layers.

    Args:
        layer: The layer that was counted: a `Block` if it is neither a convolution nor linear.
        input: Size of the input as `(channels, *size)`; for a `Block`, in the order of its library.
        output: Size of the output, likewise.
        own: Parameters under the layer's own sharing.
        others: Parameters under other sharings, including full, local and dense.
        terms: Derivations of the other counts, as pairs of a name and a sum of terms.
        dead_taps: Number of (bank, tap) pairs that only ever meet padding.
        patterns: Number of inputs that a local feature and a global feature see.
        rows: Parameters at other input sizes.
        notes: Sentences about how the layer was interpreted and counted.
    """

    layer: LayerSpec | Block
    input: tuple[int, ...] | None
    output: tuple[int, ...] | None
    own: ParameterCount
    others: tuple[ParameterCount, ...]
    terms: tuple[tuple[str, tuple[Term, ...]], ...]
    dead_taps: int | None
    patterns: tuple[int, int] | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Number of parameters that the layer allocates."""
        return self.own.total

    @property
    def banks(self) -> int | None:
        """Number of banks under the layer's own sharing."""
        return self.own.banks

    @property
    def kernels(self) -> int | None:
        """Number of kernels: one per bank and output channel (for a transposed layer: input channel)."""
        if self.banks is None or isinstance(self.layer, Block):
            return None
        return self.banks * self.layer.position_side[1]

    @property
    def depth_slices(self) -> int | None:
        """Number of depth slices of the output, which is the number of output channels."""
        return None if isinstance(self.layer, Block) else self.layer.out_channels

    @property
    def position_size(self) -> tuple[int, ...] | None:
        """Spatial size of the position side: the output, or the input of a transposed layer."""
        if isinstance(self.layer, Block):
            return None
        size = self.input if self.layer.transposed else self.output
        return None if size is None else size[1:]

    @property
    def positions(self) -> int | None:
        """Number of positions."""
        return None if self.position_size is None else prod(self.position_size)

    @property
    def weights_per_neuron(self) -> int | None:
        """Number of weights in the window of one neuron, without its bias."""
        return self._sum_terms("weights_per_neuron")

    @property
    def neurons(self) -> int | None:
        """Number of neurons of the output."""
        return None if self.output is None else prod(self.output)

    @property
    def connections(self) -> int | None:
        """Number of (output, input) pairs that touch the input."""
        return self._sum_terms("connections")

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of a forward pass, including those on padding."""
        return self._sum_terms("macs")

    @property
    def by_sharing(self) -> dict[str, int | None]:
        """Parameters under full, local and dense sharing and under the layer's own."""
        unknown = dict.fromkeys(("full", "local", "dense"))
        counts = () if isinstance(self.layer, Block) else (*self.others, self.own)
        return unknown | {count.name: count.total for count in counts}

    def _sum_terms(self, name: str) -> int | None:
        terms = dict(self.terms).get(name)
        return None if terms is None else sum(term.n for term in terms)
