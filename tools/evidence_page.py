"""Write the results of `weightshare evidence` to docs/evidence.md: python -m tools.evidence_page

It takes the experiments whose results are in benchmarks/results/evidence.
"""

from pathlib import Path

from weightshare.study.evidence import NAMES

from .blocks import ROOT, replace_block

RESULTS = ROOT / "benchmarks/results/evidence"
PAGE = ROOT / "docs/evidence.md"


def main(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Update the page."""
    paths = [results / f"{name}.md" for name in NAMES]
    replace_block(page, "\n" + "\n".join(path.read_text() for path in paths if path.exists()))


if __name__ == "__main__":
    main()
