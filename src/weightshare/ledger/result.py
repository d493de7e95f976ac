"""What `summary` returns: rows, groups and totals, as values and as text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .._nests import shape_of
from ..parameters.groups import Group
from . import reconcile, table
from .notes import Note
from .rows import Row
from .totals import Totals

SCHEMA = "weightshare-summary/1"


@dataclass(frozen=True)
class GroupRow:
    """Elements with one owner, and all names that they have.

    Args:
        shape: Of the owner; None while it is lazy.
        names: Each with "name", "kind", "own" (elements that no name before it has) and "transform".
    """

    owner: str
    shape: tuple[int, ...] | None
    numel: int
    dtype: str
    bytes: int
    trainable: bool
    names: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "shape": None if self.shape is None else list(self.shape),
            "names": list(self.names),
        }

    @property
    def ties(self) -> list[dict[str, Any]]:
        """Every other name, with the owner as its source."""
        return [
            {"source": self.owner, "alias": n["name"], "kind": n["kind"], "transform": n["transform"]}
            for n in self.names[1:]
        ]


@dataclass(frozen=True)
class Summary:
    """The parameter ledger of a model; `str` is its table.

    Args:
        model: The model's class.
        input: The shapes of the example inputs, as text; None without any.
        rows: One a module that has or reads parameters.
        conventions: What other ways of counting would add or leave out, for `reconcile`.
    """

    model: str
    input: str | None
    totals: Totals
    rows: tuple[Row, ...]
    groups: tuple[GroupRow, ...]
    warnings: tuple[Note, ...]
    conventions: tuple[reconcile.Convention, ...]

    def reconcile(self, number: int) -> reconcile.Reconciliation:
        """What makes another count of this model differ, as text and as terms.

        Example:
            >>> import torch
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8))
            >>> print(summary(model).reconcile(256))  # doctest: +SKIP
            256 = 232 + 16 batch-norm statistics + 8 convolution biases
        """
        return reconcile.explained(number, self.totals.unique, self.conventions)

    def explain(self, name: str) -> str:
        """Where the number of one parameter, or of one module's parameters, comes from.

        Raises:
            ArgumentError: no parameter or module with parameters has this name.
        """
        return table.explained(self.rows, name)

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "input": self.input,
            "totals": self.totals.to_dict(),
            "modules": [row.to_dict() for row in self.rows],
            "groups": [group.to_dict() for group in self.groups],
            "ties": [tie for group in self.groups for tie in group.ties],
            "warnings": [note.to_dict() for note in self.warnings],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self, heading: str = "parameters") -> str:
        """The table in Markdown."""
        return table.markdown(self._title, self.rows, self.totals, self.warnings, heading)

    def to_text(self, heading: str = "parameters") -> str:
        """The table; `heading="Param #"` for those who come from Keras."""
        return table.text(self._title, self.rows, self.totals, self.warnings, heading)

    @property
    def _title(self) -> str:
        return self.model if self.input is None else f"{self.model} on {self.input}"

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def group_row(group: Group) -> GroupRow:
    """A group without its tensors, so that a kept summary keeps no model alive."""
    parameter, owner = group.owner.parameter, group.owner
    assert parameter is not None
    return GroupRow(
        owner.name,
        None if owner.kind == "lazy" else shape_of(parameter),
        group.numel,
        str(parameter.dtype).removeprefix("torch."),
        group.bytes,
        group.trainable,
        tuple({"name": n.name, "kind": n.kind, "own": n.own, "transform": n.transform} for n in group.names),
    )
