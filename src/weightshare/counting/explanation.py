"""What `explain` returns: the counts of a layer, and the ways to show them."""

import json
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..views import page, text
from ..views.files import write_atomic
from .counts import Counts
from .sections import sections, title


@dataclass(frozen=True)
class Explanation(Counts):
    """A layer's counts, and where each number comes from; `str` is the derivation as text."""

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
        try:
            write_atomic(Path(path), page.document(title(self), sections(self)))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ArgumentError(
                "page", "must go to a file that can be written", f"{fspath(path)!r} ({reason})"
            ) from None

    def to_text(self, verbose: bool = False) -> str:
        """Return the derivation as text.

        Args:
            verbose: Whether to add what the page shows beyond the counts and the comparison of sharings.
        """
        return text.render(title(self), sections(self, verbose))

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return page.fragment(title(self), sections(self))


def _listed(size: tuple[int, ...] | None) -> list[int] | None:
    return None if size is None else list(size)
