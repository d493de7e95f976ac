"""The result of `explain`: the counts of a layer as text, JSON and HTML."""

import json
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..views import page, text
from ..views.files import write_atomic
from .counts import Counts
from .sections import build_sections, format_title


@dataclass(frozen=True)
class Explanation(Counts):
    """The counts of a layer and their derivation. `str` returns them as text."""

    @property
    def counts(self) -> dict[str, Any]:
        """All counts and derivations as a JSON-compatible dictionary."""
        return {
            "spec": str(self.layer),
            "sharing": str(self.layer.sharing),
            "input": _to_list(self.input),
            "output": _to_list(self.output),
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
                    count.name: [term.to_dict() for term in count.terms] for count in (*self.others, self.own)
                },
            },
            "patterns": None
            if self.patterns is None
            else {"local_bits": self.patterns[0], "global_bits": self.patterns[1]},
            "by_input_size": [row.to_dict() for row in self.rows] if self.input is not None else None,
            "notes": list(self.notes),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return `counts`."""
        return self.counts

    def to_json(self) -> str:
        """Return `counts` as JSON text."""
        return json.dumps(self.counts, indent=2)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write all sections to a self-contained HTML page. A failure leaves an existing file unchanged.

        Raises:
            ArgumentError: If the file cannot be written.
        """
        try:
            write_atomic(Path(path), page.render_document(format_title(self), build_sections(self)))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ArgumentError(
                "page", "path must be a writable file", f"{fspath(path)!r} ({reason})"
            ) from None

    def to_text(self, verbose: bool = False) -> str:
        """Return the counts, their derivation and a comparison of sharings as text.

        Args:
            verbose: Whether to include all sections, as on the HTML page.
        """
        return text.render(format_title(self), build_sections(self, verbose))

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return page.render_fragment(format_title(self), build_sections(self))


def _to_list(size: tuple[int, ...] | None) -> list[int] | None:
    return None if size is None else list(size)
