"""Write the results of blur_pooling.py to docs/consistency.md: python docs/consistency.py RESULTS.json"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "benchmarks")]
from pages import put  # noqa: E402

import blur_pooling  # noqa: E402


def main(results: str, page: str = str(DOCS / "consistency.md")) -> None:
    put(page, blur_pooling.format_table(json.loads(Path(results).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
