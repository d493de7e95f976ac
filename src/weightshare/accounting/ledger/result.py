"""What `summary` returns: rows, groups and totals, as values and as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from . import reconcile, table
from .groups import Group
from .rows import Row
from .totals import Totals

SCHEMA = "weightshare-summary/1"


@dataclass(frozen=True)
class Note:
    """Something to know about the counts.

    Args:
        code: "LAZY", "VIEW_TIE", "DEAD_PARAM", "NOT_COUNTED", "NOT_UNSHARED" or "FORWARD_FAILED".
        names: Of the parameters, modules or operators it is about.
    """

    code: str
    names: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "names": list(self.names), "text": self.text}


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
    groups: tuple[Group, ...]
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
            "groups": [_group(group) for group in self.groups],
            "ties": [tie for group in self.groups for tie in _ties(group)],
            "warnings": [note.to_dict() for note in self.warnings],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self, heading: str = "parameters") -> str:
        """The table in Markdown."""
        return table.markdown(self, heading)

    def to_text(self, heading: str = "parameters") -> str:
        """The table; `heading="Param #"` for those who come from Keras."""
        return table.text(self, heading)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def _group(group: Group) -> dict[str, Any]:
    names = [{"name": n.name, "kind": n.kind, "own": n.own, "transform": n.transform} for n in group.names]
    parameter = group.owner.parameter
    assert parameter is not None
    return {
        "owner": group.owner.name,
        "shape": None if group.owner.kind == "lazy" else list(parameter.shape),
        "numel": group.numel,
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "bytes": group.bytes,
        "trainable": group.trainable,
        "names": names,
    }


def _ties(group: Group) -> list[dict[str, Any]]:
    return [
        {"source": group.owner.name, "alias": name.name, "kind": name.kind, "transform": name.transform}
        for name in group.names[1:]
    ]
