"""Write the table and the picture of a finished study into README.md: python docs/readme.py FOLDER"""

import base64
import sys
from pathlib import Path

from weightshare import study
from weightshare.study.report.page import accuracy_against_shift

ROOT = Path(__file__).parents[1]
START, END = "<!-- table -->\n", "<!-- end -->"


def main(folder: str) -> None:
    result = study.run(study.StudySpec(out=folder))  # a finished study is only read
    picture = accuracy_against_shift(result).partition(",")[2]
    (ROOT / "docs/images/digits-shift.svg").write_bytes(base64.b64decode(picture))
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text().partition(START)
    _, _, tail = rest.partition(END)
    readme.write_text(f"{head}{START}```text\n{result}\n```\n{END}{tail}")


if __name__ == "__main__":
    main(sys.argv[1])
