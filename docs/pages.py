"""Where a command writes into a page: between `<!-- NAME -->` and the next `<!-- end -->`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def put(page: str | Path, block: str, name: str = "table") -> None:
    """Replace what stands there."""
    start, end = f"<!-- {name} -->\n", "<!-- end -->"
    head, _, rest = Path(page).read_text().partition(start)
    _, _, tail = rest.partition(end)
    Path(page).write_text(f"{head}{start}{block}\n{end}{tail}")
