"""Write the table of finished benchmarks into docs/speed.md: python docs/speed.py RESULTS.json"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- table -->\n", "<!-- end -->"

sys.path.insert(0, str(ROOT / "benchmarks"))
import tables  # noqa: E402


def main(results: str, page: str = str(ROOT / "docs/speed.md")) -> None:
    head, _, rest = Path(page).read_text().partition(START)
    _, _, tail = rest.partition(END)
    table = tables.speed(json.loads(Path(results).read_text()))
    Path(page).write_text(f"{head}{START}{table}\n{END}{tail}")


if __name__ == "__main__":
    main(*sys.argv[1:])
