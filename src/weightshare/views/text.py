"""Sections and tables as plain text."""

import textwrap
from collections.abc import Sequence

from .section import Section


def render(title: str, sections: Sequence[Section], width: int = 98) -> str:
    """Return the title and the sections, separated by blank lines.

    Args:
        width: Number of characters after which lines wrap.
    """
    return "\n\n".join([title, *(_format_section(section, width) for section in sections)])


def format_table(section: Section, width: int = 98, indent: str = "  ") -> list[str]:
    """Return the lines of a section's table, with aligned columns. A left-aligned last column wraps."""
    rows = [*([section.head] if section.head else []), *section.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(section.align))]
    wraps = section.align.endswith("l")
    if wraps:
        widths[-1] = 0
    before = len(indent) + sum(widths) + 2 * (len(widths) - 1)
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(wide) if side == "r" else cell.ljust(wide)
            for cell, wide, side in zip(row, widths, section.align)
        ]
        line = indent + "  ".join(cells).rstrip()
        if wraps and len(line) > width:
            first, *rest = textwrap.wrap(row[-1], max(30, width - before)) or [""]
            lines.append(indent + "  ".join([*cells[:-1], first]))
            lines += [" " * before + more for more in rest]
        else:
            lines.append(line)
    return lines


def _format_section(section: Section, width: int) -> str:
    lines = [section.title] if section.title else []
    if section.rows:
        lines += format_table(section, width)
    for line in section.lines:
        lines += textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)
