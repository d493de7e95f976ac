"""Write the table of a benchmark into docs/consistency.md: python docs/consistency.py RESULTS.json"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- table -->\n", "<!-- end -->"

sys.path.insert(0, str(ROOT / "benchmarks"))
import blur_pooling  # noqa: E402


def main(results: str, page: str = str(ROOT / "docs/consistency.md")) -> None:
    head, _, rest = Path(page).read_text().partition(START)
    _, _, tail = rest.partition(END)
    table = blur_pooling.table(json.loads(Path(results).read_text()))
    Path(page).write_text(f"{head}{START}{table}\n{END}{tail}")


if __name__ == "__main__":
    main(*sys.argv[1:])
