"""Write results of blur_pooling.py to docs/consistency.md: python -m tools.consistency_table RESULTS.json"""

import json
import sys
from pathlib import Path

from .blocks import ROOT, replace_block

sys.path.insert(0, str(ROOT / "benchmarks"))
import blur_pooling


def main(results: str, page: str = str(ROOT / "docs/consistency.md")) -> None:
    """Update the page."""
    replace_block(page, blur_pooling.format_table(json.loads(Path(results).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
