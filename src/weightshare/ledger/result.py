"""`Summary`: the rows, groups and totals of a model, as values, text, Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..parameters.groups import Group
from . import table
from .notes import Note
from .reconciliation import Convention, Reconciliation, reconcile
from .rows import Row
from .totals import Totals

SCHEMA = "weightshare-summary/1"


@dataclass(frozen=True)
class GroupRow:
    """Elements with one owner, and all their names.

    Args:
        owner: Name under which the elements are counted.
        shape: Shape of the owner; None while it is lazy.
        numel: Number of distinct elements.
        dtype: Data type, e.g. "float32".
        bytes: Size of the distinct elements in bytes.
        trainable: Whether any of the parameters requires gradients.
        names: One dictionary per name, with "name", "kind", "own" (elements that no earlier name has) and
            "transform".
    """

    owner: str
    shape: tuple[int, ...] | None
    numel: int
    dtype: str
    bytes: int
    trainable: bool
    names: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the group as a JSON object."""
        return asdict(self) | {
            "shape": None if self.shape is None else list(self.shape),
            "names": list(self.names),
        }

    @property
    def ties(self) -> list[dict[str, Any]]:
        """Every name other than the owner, with the owner as its source."""
        return [
            {"source": self.owner, "alias": n["name"], "kind": n["kind"], "transform": n["transform"]}
            for n in self.names[1:]
        ]


@dataclass(frozen=True)
class Summary:
    """The parameter summary of a model; `str` is its table.

    Args:
        model: Class of the model.
        input: Shapes of the example inputs, as text; None if there are none.
        totals: Counts of the whole model.
        rows: One row per module that has or reads parameters.
        groups: Distinct elements with all their names.
        warnings: Notes on what the counts leave open.
        conventions: Amounts that other ways of counting add or leave out, for `reconcile`.
    """

    model: str
    input: str | None
    totals: Totals
    rows: tuple[Row, ...]
    groups: tuple[GroupRow, ...]
    warnings: tuple[Note, ...]
    conventions: tuple[Convention, ...]

    def reconcile(self, number: int) -> Reconciliation:
        """Explain how another count of the same model differs from this one.

        Returns:
            At most three counting conventions whose amounts add up exactly to the difference. If no
            explanation is found, `terms` is None.

        Raises:
            ArgumentError: If the number is not a non-negative integer.

        Example:
            >>> import torch
            >>> from weightshare import summary
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8))
            >>> print(summary(model).reconcile(256))
            256 = 232 + 16 batch-norm statistics + 8 convolution biases
        """
        return reconcile(number, self.totals.unique, self.conventions)

    def explain(self, name: str) -> str:
        """Explain the size of one parameter or module in words.

        Args:
            name: Name of a parameter or module; "" or "(model)" for the whole model.

        Raises:
            ArgumentError: If no parameter, and no module with parameters, has this name.
        """
        return table.explain(self.rows, name)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
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
        """Return `to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self, heading: str = "parameters") -> str:
        """Return the table in Markdown.

        Args:
            heading: Column title for the counts.
        """
        return table.to_markdown(self._title, self.rows, self.totals, self.warnings, heading)

    def to_text(self, heading: str = "parameters") -> str:
        """Return the table as text.

        Args:
            heading: Column title for the counts, e.g. "Param #" as in Keras.
        """
        return table.to_text(self._title, self.rows, self.totals, self.warnings, heading)

    @property
    def _title(self) -> str:
        return self.model if self.input is None else f"{self.model} on {self.input}"

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def describe_group(group: Group) -> GroupRow:
    """Return a group without its tensors, so that a stored summary does not keep the model alive."""
    stored, owner = group.owner.stored, group.owner
    assert stored is not None
    return GroupRow(
        owner.name,
        stored.shape,
        group.numel,
        str(stored.tensor.dtype).removeprefix("torch."),
        group.bytes,
        group.trainable,
        tuple({"name": n.name, "kind": n.kind, "own": n.own, "transform": n.transform} for n in group.names),
    )
