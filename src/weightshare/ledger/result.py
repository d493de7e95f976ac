"""`Summary`: the rows, groups and totals of a model, as values, text, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from .._args import check_integer
from ..views.files import write_page
from . import page, table
from .group_rows import GroupRow
from .notes import Note
from .reconciliation import Convention, Reconciliation, Resizable, reconcile
from .rows import Row
from .totals import Totals
from .tree import Line, Node, build_tree, iter_blocks, iter_lines

SCHEMA = "weightshare-summary/1"


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
        resizables: Layers that another version of the model has with another size, for `reconcile`.
        outline: The rows, and a row without parameters for each module that encloses one.
        depth: Levels of modules that are shown by default; None for all.
    """

    model: str
    input: str | None
    totals: Totals
    rows: tuple[Row, ...]
    groups: tuple[GroupRow, ...]
    warnings: tuple[Note, ...]
    conventions: tuple[Convention, ...]
    resizables: tuple[Resizable, ...] = ()
    outline: tuple[Row, ...] = ()
    depth: int | None = None

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
        return reconcile(number, self.totals.unique, self.conventions, self.resizables)

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

    def to_markdown(
        self,
        heading: str = "parameters",
        *,
        depth: int | None = None,
        filter: str | None = None,
        fold: bool = True,
    ) -> str:
        """Return the table in Markdown.

        Args:
            heading: Column title for the counts.
            depth, filter, fold: As in `to_text`.

        Raises:
            ArgumentError: If the depth is negative, or if no module matches the filter.
        """
        lines, blocks = self._list_lines(depth, filter, fold)
        return table.to_markdown(self._title, lines, blocks, self.totals, self.warnings, heading)

    def to_text(
        self,
        heading: str = "parameters",
        *,
        depth: int | None = None,
        filter: str | None = None,
        fold: bool = True,
        width: int | None = None,
    ) -> str:
        """Return the table as text. The printed counts add up to `totals.unique` in every form.

        Args:
            heading: Column title for the counts, e.g. "Param #" as in Keras.
            depth: Number of levels of modules below the model; the rows of deeper modules are merged into
                the module above. The default is the `depth` of the summary.
            filter: Glob for names of modules, e.g. "layers.*.attn". All other modules become one row.
            fold: Whether three or more consecutive equal modules of a list, such as the blocks of a
                transformer, become one.
            width: Characters per line, at least 40. The default is the width of the terminal, or 118.

        Raises:
            ArgumentError: If the depth or the width is too small, or if no module matches the filter.

        Example:
            >>> import torch
            >>> from weightshare import summary
            >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(80)))
            >>> print(summary(model).to_text().splitlines()[3])
              0-79    80 x Linear       5,760  100.0  72 each: 64 weight = 8*8; 8 bias
        """
        if width is not None:
            width = check_integer("summary", "width", width, least=table.MIN_WIDTH)
        lines, blocks = self._list_lines(depth, filter, fold)
        return table.to_text(self._title, lines, blocks, self.totals, self.warnings, heading, width)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write an HTML page with the modules as a tree, in which shared weights are linked.

        The page is one file that loads nothing. A failure leaves an existing file unchanged.

        Raises:
            ArgumentError: If the file cannot be written.
        """
        write_page(
            path,
            page.render_page(self._title, build_tree(self.outline), self.groups, self.totals, self.warnings),
        )

    def _list_lines(self, depth: int | None, filter: str | None, fold: bool) -> tuple[list[Line], list[Node]]:
        """Return the lines to print, and the equal blocks if all of their modules are printed."""
        depth = self.depth if depth is None else check_integer("summary", "depth", depth, least=0)
        root = build_tree(self.outline, depth, filter, fold)
        return list(iter_lines(root)), [] if filter is not None else list(iter_blocks(root))

    @property
    def _title(self) -> str:
        return self.model if self.input is None else f"{self.model} on {self.input}"

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self._render(page.render_fragment)

    def _render(self, render: Callable[..., str]) -> str:
        return render(self._title, build_tree(self.outline), self.groups, self.totals, self.warnings)
