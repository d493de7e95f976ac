"""Write the tables of finished benchmarks to docs/speed.md: python -m tools.speed_table RESULTS.json"""

import json
import sys
from pathlib import Path

from .blocks import ROOT, replace_block

sys.path.insert(0, str(ROOT / "benchmarks"))
import tables


def main(results: str, page: str = str(ROOT / "docs/speed.md")) -> None:
    """Update the page."""
    replace_block(page, tables.format_speed_page(json.loads(Path(results).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
