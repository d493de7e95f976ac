"""Tables as Markdown."""

import re
from collections.abc import Sequence

from .escape import escape_controls


def format_table(align: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with the text of each cell escaped.

    Args:
        align: "l" or "r" for each column.

    >>> format_table("lr", ["name", "count"], [["a|b", "1"]])
    ['| name | count |', '|---|---:|', '| a\\\\|b | 1 |']
    """
    lines = [f"| {' | '.join(escape(cell) for cell in row)} |" for row in (head, *rows)]
    lines.insert(1, "|" + "|".join("---:" if side == "r" else "---" for side in align) + "|")
    return lines


def escape(text: str) -> str:
    """Return the text on one line, with control characters and Markdown's special characters escaped.

    >>> print(escape("![a](b) <i> *c*"))
    \\!\\[a\\](b) \\<i\\> \\*c\\*
    """
    return re.sub(r"([\\`*_<>|\[\]!&~$])", r"\\\1", escape_controls(" ".join(text.split())))
