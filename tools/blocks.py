"""Replace what is between `<!-- NAME -->` and the next `<!-- end -->` in a page."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def replace_block(page: str | Path, block: str, name: str = "table") -> None:
    """Put `block` between the marks."""
    start, end = f"<!-- {name} -->\n", "<!-- end -->"
    head, _, rest = Path(page).read_text().partition(start)
    _, _, tail = rest.partition(end)
    Path(page).write_text(f"{head}{start}{block}\n{end}{tail}")
