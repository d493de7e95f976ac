"""The answer of `explain`: numbers, their derivations, and the ways to show them."""

import json
from dataclasses import dataclass
from math import prod
from os import PathLike
from typing import Any

from . import page, text
from .closed_form import Scheme, Term
from .spec import LayerSpec


@dataclass(frozen=True)
class Explanation:
    """A layer's counts and where each comes from. `str` is the derivation as text.

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
    rows: "tuple[Row, ...]"
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

    @property
    def counts(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return {
            "spec": str(self.layer),
            "sharing": str(self.layer.sharing),
            "input": _listed(self.input),
            "output": _listed(self.output),
            "parameters": self.parameters,
            "neurons": self.neurons,
            "depth_slices": self.depth_slices,
            "positions": self.positions,
            "banks": self.banks,
            "kernels": self.kernels,
            "weights_per_neuron": self.weights_per_neuron,
            "connections": self.connections,
            "macs": self.macs,
            "dead_taps": self.dead_taps,
            "by_sharing": self.by_sharing,
            "derivation": [term.to_dict() for term in self.own.terms],
            "derivations": {
                **{name: [term.to_dict() for term in terms] for name, terms in self.terms},
                "by_sharing": {
                    s.name: [term.to_dict() for term in s.terms] for s in (*self.others, self.own)
                },
            },
            "patterns": None
            if self.patterns is None
            else {"local_bits": self.patterns[0], "global_bits": self.patterns[1]},
            "by_input_size": [row.to_dict() for row in self.rows] if self.input is not None else None,
            "notes": list(self.notes),
        }

    def to_dict(self) -> dict[str, Any]:
        """`counts`."""
        return self.counts

    def to_json(self) -> str:
        """`counts` as JSON text."""
        return json.dumps(self.counts, indent=2)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the derivation as one self-contained page; a failure leaves what was there before.

        Raises:
            ArgumentError: a path that cannot be written.
        """
        page.write(path, page.document(self))

    def __str__(self) -> str:
        return text.render(self)

    def _repr_html_(self) -> str:
        return page.fragment(self)

    def _total(self, name: str) -> int | None:
        return next((sum(term.n for term in terms) for key, terms in self.terms if key == name), None)


@dataclass(frozen=True)
class Row:
    """Parameters at one input size; None where a sharing does not fit."""

    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: tuple[tuple[str, int | None], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"input": list(self.input), "output": list(self.output), **dict(self.parameters)}


def _listed(size: tuple[int, ...] | None) -> list[int] | None:
    return None if size is None else list(size)
