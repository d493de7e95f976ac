"""A section of a report as data; `text`, `markdown` and `page` lay it out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A heading, a table, and sentences below it.

    Args:
        title: The heading; empty for none.
        align: "l" or "r" for each column.
        head: Names of the columns; empty for none.
        rows: Cells of the table, as text.
        lines: Sentences.
    """

    title: str
    align: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
