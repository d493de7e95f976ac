"""Write the results of `weightshare evidence` to docs/evidence.md: python -m tools.evidence_page

It takes the experiments whose results are in benchmarks/results/evidence and, for MNIST, in its folder mnist.
"""

from pathlib import Path

from weightshare.study.evidence import NAMES

from .blocks import ROOT, replace_block

RESULTS = ROOT / "benchmarks/results/evidence"
PAGE = ROOT / "docs/evidence.md"


def main(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Update the page."""
    replace_block(page, join_sections(results))
    replace_block(page, join_sections(results / "mnist"), "mnist")


def join_sections(folder: Path) -> str:
    """Return the Markdown sections of all experiments whose results are in a folder, one level deeper."""
    paths = [folder / f"{name}.md" for name in NAMES]
    return "\n".join("\n#" + path.read_text() for path in paths if path.exists())


if __name__ == "__main__":
    main()
