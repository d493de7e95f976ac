"""A section of a report as data, which `text` and `page` lay out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A heading with a table, a picture and sentences below it.

    Args:
        title: Heading; empty if there is none.
        align: "l" or "r" for each column of the table.
        head: Names of the columns; empty if there are none.
        rows: Cells of the table, as text.
        lines: Sentences after the table and the picture.
        picture: Data URI of a picture, shown on pages only; empty if there is none.
        caption: Description of the picture.
    """

    title: str
    align: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    picture: str = ""
    caption: str = ""
