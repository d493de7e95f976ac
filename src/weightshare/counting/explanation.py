"""The result of `explain`: the counts of a layer as text, JSON and HTML."""

import json
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..explorer import render_frame, render_page
from ..views import page, text
from ..views.files import write_page
from .block import Block
from .counts import Counts
from .drawing import describe_state
from .sections import build_sections, format_title

if TYPE_CHECKING:
    from ..explorer import Explorer


@dataclass(frozen=True)
class Explanation(Counts):
    """The counts of a layer and their derivation. `str` returns them as text."""

    @property
    def counts(self) -> dict[str, Any]:
        """All counts and derivations as a JSON-compatible dictionary."""
        return {
            "spec": str(self.layer),
            "sharing": None if isinstance(self.layer, Block) else str(self.layer.sharing),
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
                    count.name: [term.to_dict() for term in count.terms]
                    for count in (*self.others, self.own)
                    if count.name in self.by_sharing
                },
            },
            "patterns": None
            if self.patterns is None
            else {"local_bits": self.patterns[0], "global_bits": self.patterns[1]},
            "by_input_size": [row.to_dict() for row in self.rows] if self.input is not None else None,
            "layers": _list_steps(self.layer) if isinstance(self.layer, Block) and self.layer.steps else None,
            "notes": list(self.notes),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return `counts`."""
        return self.counts

    def to_json(self) -> str:
        """Return `counts` as JSON text."""
        return json.dumps(self.counts, indent=2)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write an HTML page that shows the layer in the explorer, with all sections below it.

        The page is one file that loads nothing. Without an input size, for a linear layer and for a layer
        that is too large to draw, it contains the sections only. A failure leaves an existing file unchanged.

        Raises:
            ArgumentError: If the file cannot be written.
        """
        write_page(
            path, self._render_page() or page.render_document(format_title(self), build_sections(self))
        )

    def to_widget(self) -> "Explorer":
        """Return the explorer of this layer as a widget for Jupyter, marimo and VS Code.

        Raises:
            ArgumentError: If the layer cannot be drawn, because its input size is not given, or because it is
                linear or too large.
            MissingExtraError: If anywidget is not installed.
        """
        state = describe_state(self)
        if state is None:
            raise ArgumentError(
                "to_widget",
                "the layer must be a small enough convolution, and its input size must be known",
                format_title(self),
                "pass input_size= to explain" if self.input is None else None,
            )
        from ..explorer import Explorer

        return Explorer(state)

    def to_text(self, verbose: bool = False) -> str:
        """Return the counts, their derivation and a comparison of sharings as text.

        Args:
            verbose: Whether to include all sections, as on the HTML page.
        """
        return text.render(format_title(self), build_sections(self, verbose))

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        title, document = format_title(self), self._render_page()
        if document is None:
            return page.render_fragment(title, build_sections(self))
        return render_frame(document, title)

    def _render_page(self) -> str | None:
        """Return the page of the explorer; None if the layer cannot be drawn."""
        state, title = describe_state(self), format_title(self)
        if state is None:
            return None
        text = page.render_fragment(title, build_sections(self), with_style=False)
        return render_page(state, title, text, data=False)


def _list_steps(block: Block) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "spec": str(step),
            "output": None if step.output is None else list(step.output),
            "parameters": step.parameters,
            "derivation": [term.to_dict() for term in step.terms],
            "layers": _list_steps(step) if step.steps else None,
        }
        for name, step in block.steps
    ]


def _to_list(size: tuple[int, ...] | None) -> list[int] | None:
    return None if size is None else list(size)
