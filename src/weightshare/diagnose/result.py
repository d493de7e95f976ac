"""`SharingTest`: what a test found about each layer and tie, as values, text, JSON and HTML."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from torch import Tensor

from ..sharing import Sharing
from ..views.escape import escape_controls
from ..views.files import write_page
from ..views.page import render_document, render_fragment
from ..views.section import Section
from ..views.text import render
from .layer import LayerResult
from .report import build_table, describe_layer, describe_tie
from .tie import TieResult
from .verdict import Rule

SCHEMA = "weightshare-sharing-test/1"


@dataclass(frozen=True, eq=False)
class SharingTest:
    """The result of `sharing_test`; `str` is its table.

    `weightshare.relax(model, test)` relaxes the layers and removes the ties whose verdict is "relax", without
    changing the outputs. It sets the coefficients of `LowRank` layers from the gradients, so that training
    continues from there. `weightshare.restrict(model, test)` restricts the layers whose verdict is "share".

    Args:
        model: Class of the model.
        layers: Results by the name of the layer, in the order of the model.
        ties: Results by the name of the tie, in the order of the model.
        skipped: Reasons why other convolutions and ties were not tried, by name.
        judged: Number of judged examples.
        saved: What training the model further saves, as a fraction of its loss after that; None if it is
            undefined.
        rule: Constants of the verdict.
        example: Input of the model, on which `relax` finds the sizes of the layers.
    """

    model: str
    layers: Mapping[str, LayerResult]
    ties: Mapping[str, TieResult]
    skipped: Mapping[str, str]
    judged: int
    saved: float | None
    rule: Rule
    example: Tensor = field(repr=False)

    @property
    def plan(self) -> dict[str, Sharing]:
        """The suggested sharing of each layer whose verdict is "relax" or "share", by name."""
        chosen = ("relax", "share")
        return {name: layer.suggestion for name, layer in self.layers.items() if layer.verdict in chosen}

    @property
    def coefficients(self) -> dict[str, Mapping[str, Tensor]]:
        """Coefficients for the layers that are relaxed, by name."""
        return {name: layer.coefficients for name, layer in self.layers.items() if layer.verdict == "relax"}

    @property
    def untie(self) -> list[str]:
        """Names that get parameters of their own: the aliases of the ties whose verdict is "relax"."""
        return [name for tie in self.ties.values() if tie.verdict == "relax" for name in tie.aliases]

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the coefficients as one JSON object."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "judged": self.judged,
            "saved": self.saved,
            "threshold": self.rule.threshold,
            "level": self.rule.level,
            "plan": {name: str(sharing) for name, sharing in self.plan.items()},
            "untie": self.untie,
            "layers": [layer.to_dict() for layer in self.layers.values()],
            "ties": [tie.to_dict() for tie in self.ties.values()],
            "skipped": dict(self.skipped),
        }

    def to_json(self) -> str:
        """Return `to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write an HTML page with the table and the maps. The page is one file that loads nothing.

        Raises:
            ArgumentError: If the file cannot be written.
            MissingExtraError: If matplotlib is not installed.
        """
        write_page(path, render_document(self._title, self._build_sections(pictures=True)))

    def __str__(self) -> str:
        return render(self._title, self._build_sections())

    def _repr_html_(self) -> str:
        return render_fragment(self._title, self._build_sections(pictures=True))

    @property
    def _title(self) -> str:
        return f"Sharing test of {escape_controls(self.model)}"

    def _build_sections(self, pictures: bool = False) -> list[Section]:
        layers, ties = list(self.layers.values()), list(self.ties.values())
        table = build_table(layers, ties, self.skipped, self.judged, self.saved, self.rule)
        sections = [describe_layer(layer, pictures) for layer in layers]
        return [table, *sections, *map(describe_tie, ties)]
