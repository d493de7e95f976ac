"""Write the table and the picture of a finished study into README.md: python docs/readme.py FOLDER"""

import base64
import sys
from pathlib import Path

from weightshare import study
from weightshare.study.report.charts import plot_accuracy_vs_shift

sys.path.insert(0, str(Path(__file__).parent))
from pages import ROOT, put


def main(folder: str) -> None:
    result = study.run(study.StudySpec(out=folder))  # a finished study is only read
    picture = plot_accuracy_vs_shift(result).partition(",")[2]
    (ROOT / "docs/images/digits-shift.svg").write_bytes(base64.b64decode(picture))
    put(ROOT / "README.md", f"```text\n{result}\n```")


if __name__ == "__main__":
    main(sys.argv[1])
