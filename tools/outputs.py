"""Write what commands print into the pages that show them: python -m tools.outputs [PAGE ...]

A block that follows the line `<!-- output -->` begins with its command:

    <!-- output -->
    ```console
    $ weightshare explain "Conv2d(1, 8, 3)"
    ...
    ```
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path
from unittest import mock

from weightshare import cli

from .blocks import ROOT

BLOCK = re.compile(r"(<!-- output -->\n```console\n)(\$ weightshare [^\n]*\n)(.*?)(```\n)", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that may show outputs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def write_outputs(text: str) -> str:
    """Return the text of a page with each output as the command prints it now."""
    return BLOCK.sub(lambda m: f"{m[1]}{m[2]}{run(m[2].removeprefix('$ '))}{m[4]}", text)


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
