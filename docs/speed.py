"""Write the table of finished benchmarks into docs/speed.md: python docs/speed.py RESULTS.json"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "benchmarks")]
from pages import put  # noqa: E402

import tables  # noqa: E402


def main(results: str, page: str = str(DOCS / "speed.md")) -> None:
    put(page, tables.format_speed_page(json.loads(Path(results).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
