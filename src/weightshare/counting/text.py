"""An explanation as plain text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from .sections import Section, sections, title

if TYPE_CHECKING:
    from .explanation import Explanation

WIDTH = 98


def render(answer: Explanation) -> str:
    """The sections below each other, columns aligned, at most about `WIDTH` characters wide."""
    blocks = [title(answer), *(_section(section) for section in sections(answer))]
    return "\n\n".join(blocks)


def _section(section: Section) -> str:
    lines = [section.title] if section.title else []
    lines += table(section)
    for line in section.lines:
        lines += textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def table(section: Section, width: int = WIDTH) -> list[str]:
    """The rows in aligned columns; a last column of words wraps under itself."""
    rows = [*([section.head] if section.head else []), *section.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(section.align))]
    if section.align.endswith("l"):
        widths[-1] = 0
    lines = []
    for row in rows:
        cells = [
            cell.rjust(wide) if side == "r" else cell.ljust(wide)
            for cell, wide, side in zip(row, widths, section.align)
        ]
        line = "  " + "  ".join(cells).rstrip()
        if section.align.endswith("l") and len(line) > width:
            indent = 2 + sum(widths) + 2 * (len(widths) - 1)
            room = max(30, width - indent)
            first, *rest = textwrap.wrap(row[-1], room) or [""]
            lines.append("  " + "  ".join([*cells[:-1], first]))
            lines += [" " * indent + more for more in rest]
        else:
            lines.append(line)
    return lines
