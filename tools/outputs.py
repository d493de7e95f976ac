"""Write what commands print into the pages that show them: python -m tools.outputs [PAGE ...]

A block that follows the line `<!-- output -->` begins with its command:

    <!-- output -->
    ```console
    $ weightshare explain "Conv2d(1, 8, 3)"
    ...
    ```

If a page shows a Python file (a block whose first line is its name, e.g. `# tiny_lm.py`), the Python of the
page runs first, in a temporary folder with that file. The commands run in the same folder.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from weightshare import cli

from .blocks import ROOT

BLOCK = re.compile(r"(<!-- output -->\n```console\n)(\$ weightshare [^\n]*\n)(.*?)(```\n)", re.DOTALL)


PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")


def pages() -> list[Path]:
    """Return the pages that may show outputs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def write_outputs(text: str) -> str:
    """Return the text of a page with each output as the command prints it now."""
    with run_python(text):
        return BLOCK.sub(lambda m: f"{m[1]}{m[2]}{run(m[2].removeprefix('$ '))}{m[4]}", text)


@contextlib.contextmanager
def run_python(text: str) -> Iterator[None]:
    """Return a context with the folder that the Python of a page leaves, if the page shows a file."""
    blocks = PYTHON.findall(text)
    files = {found[1]: block for block in blocks if (found := FILE.match(block))}
    if not files:
        yield
        return
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, block in files.items():
                Path(name).write_text(block)
            with contextlib.redirect_stdout(io.StringIO()):
                exec("".join(blocks), {})
            yield
        finally:
            os.chdir(before)


def run(command: str) -> str:
    """Return what a `weightshare` command prints on standard output."""
    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", shlex.split(command)),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        cli.main()
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:] or pages()):
        page.write_text(write_outputs(page.read_text()))
