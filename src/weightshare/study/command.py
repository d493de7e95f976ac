"""What `weightshare study` does: run, print the table, say where the report is."""

import hashlib
import json
import re
import sys
from pathlib import Path

from lightning_fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from ..views.escape import visible
from ._run import run
from .records import REPORT
from .report.table import as_table
from .spec import StudySpec
from .terminal import Terminal

INTERRUPTED = 130


def default_folder(spec: StudySpec) -> Path:
    """A folder for this spec, the same each time, so that the same command goes on where it stopped.

    >>> default_folder(StudySpec("npz:some/mnist.npz")).name[:12]
    'study-mnist-'
    """
    kind, _, place = spec.data.partition(":")
    name = re.sub(r"[^A-Za-z0-9_]+", "-", Path(place).stem if place else kind).strip("-")
    text = json.dumps(spec.to_dict(), sort_keys=True).encode()
    return Path(f"study-{name[:40]}-{hashlib.blake2b(text, digest_size=4).hexdigest()}")


def study(spec: StudySpec) -> int:
    """Run a study whose folder is `spec.out`; the exit code."""
    try:
        with Terminal() as terminal:
            result = run(spec, terminal.update)
    except KeyboardInterrupt:
        kept = f"Finished trials are kept in {visible(str(spec.out))}" if spec.out else "Nothing is kept"
        print(f"\nStopped. {kept}; the same command goes on from there.", file=sys.stderr)
        return INTERRUPTED
    if not rank_zero_only.rank:  # with several devices every process gets here
        if sys.stdout.isatty():
            console = Console()
            console.print(as_table(result, console.width))
        else:
            print(result)
        if result.out is not None:
            print(f"What this shows, in words and pictures: {visible(str(result.out / REPORT))}")
    return 0
