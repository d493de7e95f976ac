"""Write a finished study's table and picture, and the outputs, to README.md: python -m tools.readme FOLDER"""

import base64
import sys

from weightshare import study
from weightshare.study.report.charts import plot_score_vs_shift

from .blocks import ROOT, replace_block
from .outputs import write_outputs


def main(folder: str) -> None:
    """Update the page."""
    result = study.read(folder)
    picture = plot_score_vs_shift(result).partition(",")[2]
    (ROOT / "docs/images/digits-shift.svg").write_bytes(base64.b64decode(picture))
    page = ROOT / "README.md"
    replace_block(page, f"```text\n{result}\n```")
    page.write_text(write_outputs(page.read_text()))


if __name__ == "__main__":
    main(sys.argv[1])
